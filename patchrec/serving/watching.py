"""What tells about the server: its runs, whether it is there, and what was counted."""

from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from patchrec.serving.batching import Batcher
from patchrec.serving.bodies import ErrorAnswer, RunAnswer, RunsAnswer, StatusAnswer
from patchrec.serving.metrics import CONTENT_TYPE, Gauges, Metrics
from patchrec.serving.served import InService, Served

_OF_RUNS = {
    "answers_asked": "Rankings asked for, since the run was loaded.",
    "answers_found": "Of these, those that were kept.",
    "prefix_bytes": "Keys and values of prompts that are kept.",
    "prefix_positions_asked": "Positions of prompts, since the run was loaded.",
    "prefix_positions_found": "Of these, those that were kept.",
}


def add_watching(app: FastAPI, served: Served, batcher: Batcher, metrics: Metrics, json: type[JSONResponse]) -> None:
    """Add what is asked about the server.

    Args:
        app: Where to.
        served: What answers.
        batcher: Runs the models.
        metrics: What was counted.
        json: How answers are written.
    """

    @app.get("/run", response_model=RunAnswer)
    async def run() -> Any:
        """Which run answers where none is named, over which data."""
        return json(about(served.now))

    @app.get("/runs", response_model=RunsAnswer)
    async def runs() -> Any:
        """All runs in service; the first answers where none is named."""
        return json({"runs": [_listed(one) for one in served.runs]})

    @app.get("/health", response_model=StatusAnswer)
    async def health() -> Any:
        """Whether the process is alive."""
        return json({"status": "ok"})

    @app.get("/ready", response_model=StatusAnswer, responses={503: {"model": ErrorAnswer}})
    async def ready() -> Any:
        """Whether requests are answered: not any more once the server is stopping."""
        if batcher.is_closed or getattr(app.state, "stopping", False):
            raise HTTPException(503, "the server is stopping")
        return json({"status": "ready"})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def text() -> PlainTextResponse:
        """What was counted, in Prometheus' text form."""
        return PlainTextResponse(metrics.text(_gauges(served, batcher)), media_type=CONTENT_TYPE)


def about(one: InService) -> dict[str, Any]:
    """A run in service, and how much data it is over."""
    loaded, dataset = one.loaded, one.loaded.dataset
    return {
        "run": loaded.run.name,
        "label": loaded.run.label,
        "dataset": dataset.name,
        "items": len(dataset.catalog),
        "users": len(dataset.sequences),
        "interactions": len(dataset.sequences.items),
    }


def _listed(one: InService) -> dict[str, Any]:
    run = one.loaded.run
    strategies = run.config.strategies
    return {
        "run": run.name,
        "label": run.label,
        "kind": run.kind,
        "strategy": strategies[-1].name if strategies else None,
        "dataset": one.loaded.dataset.name,
        "loaded_at": one.loaded_at,
    }


def _gauges(served: Served, batcher: Batcher) -> Gauges:
    of_runs = {one.loaded.run.name: _counts(one) for one in served.runs}
    found: dict[str, tuple[str, str, float | dict[str, float]]] = {
        "patchrec_queue_length": ("gauge", "Requests that wait for the model.", batcher.waiting),
        "patchrec_batches_total": ("counter", "Calls of the model.", batcher.batches),
        "patchrec_jobs_total": ("counter", "Requests that these calls answered.", batcher.jobs),
        "patchrec_model_seconds_total": ("counter", "Time of these calls.", batcher.seconds),
        "patchrec_reloads_total": ("counter", "Runs put in another's place.", served.reloads),
    }
    for name, words in _OF_RUNS.items():
        each = {run: counts[name] for run, counts in of_runs.items() if name in counts}
        if each:
            found[f"patchrec_{name}"] = ("gauge", words, sum(each.values()))
            found[f"patchrec_run_{name}"] = ("gauge", words, each)
    return found


def _counts(one: InService) -> dict[str, float]:
    found: dict[str, float] = {"answers_asked": one.answers.asked, "answers_found": one.answers.found}
    prefixes = getattr(one.loaded.recommender, "prefixes", None)
    if prefixes is not None:
        found |= {
            "prefix_bytes": prefixes.num_bytes,
            "prefix_positions_asked": prefixes.asked,
            "prefix_positions_found": prefixes.found,
        }
    return found
