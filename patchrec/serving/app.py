"""What is answered where: HTTP in front of the verbs. Knows no process, no port and no model.

Errors are one line, `{"error": ...}`, in the words of the command line.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from math import isfinite
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from patchrec import __version__
from patchrec.errors import (
    CorruptError,
    InputError,
    NotFoundError,
    OutOfResourcesError,
    PatchrecError,
    StoreBusyError,
    UsageError,
)
from patchrec.operations.explain import LeftOut
from patchrec.operations.filters import Filters
from patchrec.operations.recommend import answer
from patchrec.recommender import Ranking
from patchrec.serving.batching import Batcher, BusyError, Job, StoppedError
from patchrec.serving.bodies import (
    ErrorAnswer,
    Events,
    EventsAnswer,
    ItemAnswer,
    NewItem,
    Recommend,
    RecommendAnswer,
    Reload,
    RunAnswer,
    faults,
)
from patchrec.serving.browsing import add_browsing
from patchrec.serving.limits import MAX_BODY, Limits, holds_token
from patchrec.serving.metrics import Metrics
from patchrec.serving.served import Served
from patchrec.serving.watching import about, add_watching

STATUS: tuple[tuple[type[PatchrecError], int], ...] = (
    (NotFoundError, 404),
    (UsageError, 400),
    (InputError, 400),
    (StoreBusyError, 503),
    (OutOfResourcesError, 503),
    (CorruptError, 500),
)
"""What the errors of operations are over HTTP; 500 for any other."""
PATHS = (
    "/", "/recommend", "/readings", "/items", "/users", "/interactions", "/reload", "/run", "/runs", "/health",
    "/ready", "/metrics",
)  # fmt: skip
OF_FASTAPI = ("Not Found", "Method Not Allowed", "There was an error parsing the body")
"""What FastAPI says itself; we say it in other words."""
RETRY = 1  # seconds, where nobody knows better
Refusals = dict[int | str, dict[str, Any]]


class Json(JSONResponse):
    """JSON without what JSON does not have: numbers that are none are null, other letters are escaped."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return json.dumps(_finite(content), allow_nan=False, separators=(",", ":")).encode()


def make_app(
    served: Served,
    batcher: Batcher,
    *,
    token: str | None = None,
    admin_token: str | None = None,
    max_body: int = MAX_BODY,
) -> FastAPI:
    """The app of a server.

    Args:
        served: What answers.
        batcher: Runs the model; it is closed when the app ends, once it has finished.
        token: Asked of every request (`patchrec.serving.limits`); None asks for none.
        admin_token: Asked of what puts another run in service; None refuses that.
        max_body: Bytes of a body.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(batcher.close)

    app = FastAPI(
        title="patchrec",
        version=__version__,
        summary="Recommendations of runs that are kept warm.",
        default_response_class=Json,
        lifespan=lifespan,
    )
    app.add_middleware(Limits, metrics=metrics, paths=PATHS, token=token, max_body=max_body)
    _handle_errors(app)
    _add_asking(app, served, batcher)
    _add_changing(app, served, admin_token)
    add_watching(app, served, batcher, metrics, Json)
    add_browsing(app, served, Json)
    return app


def _add_asking(app: FastAPI, served: Served, batcher: Batcher) -> None:
    async def ranked(job: Job) -> list[Ranking]:
        return await asyncio.wrap_future(batcher.submit(job))

    @app.post("/recommend", response_model=RecommendAnswer, responses=_refusals(400, 404, 413, 422, 503))
    async def recommend(asked: Recommend) -> Any:
        """The best items for a user, or after a history."""
        now = served.of(asked.run)
        filters = Filters(asked.where, tuple(asked.allow), tuple(asked.deny), asked.keep_seen)
        question = await run_in_threadpool(
            now.question, user=asked.user, history=asked.history, filters=filters, unknown=asked.unknown
        )
        whole = question.answering, question.query, asked.k, question.filtered.allowed
        found = now.answers.find(*whole)
        if found is None:
            [found] = await ranked(Job(question.answering, [question.query], asked.k, question.filtered.allowed))
            now.answers.add(*whole, found)
        explanation = None
        if asked.explain:
            catalog = now.loaded.dataset.catalog
            left_out = LeftOut.of(question.answering, question.query, found, len(catalog))
            without: list[Ranking] = []
            if left_out.queries:
                job = Job(left_out.recommender, left_out.queries, len(left_out.items), left_out.allowed)
                without = await ranked(job)
            explanation = left_out.explained(catalog, without)
        return Json(asdict(answer(now.loaded, question, asked.k, found, explanation)))


def _add_changing(app: FastAPI, served: Served, admin_token: str | None) -> None:
    @app.post("/items", response_model=ItemAnswer, status_code=201, responses=_refusals(400, 413, 422, 503))
    async def items(new: NewItem) -> Any:
        """Put an item at the end of the catalog; the next request can rank it."""
        found = await run_in_threadpool(served.add_item, new.item_id, new.title, new.metadata)
        added = found["items"][0]
        kept = {key: added[key] for key in ("item_id", "title", "metadata")}
        return Json({"dataset": found["dataset"], **kept, "num_items": found["num_items"]}, 201)

    @app.post(
        "/interactions", response_model=EventsAnswer, status_code=201, responses=_refusals(400, 404, 413, 422, 503)
    )
    async def interactions(came: Events) -> Any:
        """Append what users did: all of it or nothing; the next request knows it."""
        events = [(event.user, event.item, event.timestamp) for event in came.interactions]
        found = await run_in_threadpool(served.append, events)
        name = found["dataset"]["name"]
        return Json({"dataset": name, "version": found["version"], "appended": found["appended"]}, 201)

    @app.post("/reload", response_model=RunAnswer, responses=_refusals(400, 401, 403, 404, 422))
    async def reload(asked: Reload | None = None, authorization: Annotated[str, Header()] = "") -> Any:
        """Put a run in service as the store has it by now, or another in its place; no request is lost meanwhile."""
        if admin_token is None:
            raise HTTPException(403, "reloading is off; start the server with PATCHREC_ADMIN_TOKEN set")
        if not holds_token(authorization.encode("latin-1"), admin_token):
            raise HTTPException(401, "the admin token is required: send it as Authorization: Bearer TOKEN")
        asked = asked or Reload()
        return Json(about(await run_in_threadpool(served.reload, asked.run, asked.replaces)))


def _refusals(*statuses: int) -> Refusals:
    """The errors of a path, for the schema."""
    return {status: {"model": ErrorAnswer} for status in statuses}


def _handle_errors(app: FastAPI) -> None:
    def handles(kind: type[Exception]) -> Callable[[Any], Any]:
        def add(handler: Callable[[Any], tuple[int, str, int | None]]) -> Any:
            async def handle(_: Request, error: Exception) -> Json:
                status, message, after = handler(error)
                headers = {"Retry-After": str(after)} if after else None
                return Json({"error": " ".join(message.split())}, status, headers)

            app.add_exception_handler(kind, handle)
            return handler

        return add

    @handles(PatchrecError)
    def _(error: PatchrecError) -> tuple[int, str, int | None]:
        status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
        return status, str(error), RETRY if status == 503 else None

    @handles(RequestValidationError)
    def _(error: RequestValidationError) -> tuple[int, str, int | None]:
        found = error.errors()
        return 400 if found and found[0]["type"] == "json_invalid" else 422, faults(found), None

    @handles(HTTPException)
    def _(error: HTTPException) -> tuple[int, str, int | None]:
        message = {
            400: "the body is no JSON in UTF-8, or is nested too deeply",  # what remains once other faults are told
            404: "no such path; see /openapi.json for those that there are",
            405: "this path is asked in another way",
        }
        known = error.detail if error.detail not in OF_FASTAPI else None
        return error.status_code, known or message.get(error.status_code, str(error.detail)), None

    @handles(BusyError)
    def _(error: BusyError) -> tuple[int, str, int | None]:
        return 503, str(error), error.after

    @handles(StoppedError)
    def _(_: StoppedError) -> tuple[int, str, int | None]:
        return 503, "the server is stopping", RETRY

    @handles(Exception)
    def _(_: Exception) -> tuple[int, str, int | None]:
        return 500, "an error of the server; its log says more", None


def _finite(content: Any) -> Any:
    """The same with null for what is no finite number."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content
