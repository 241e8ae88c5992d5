"""The page at `/`, and what it asks besides recommendations: completions, and how a history is read."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from patchrec.operations.filters import NO_FILTERS
from patchrec.operations.readings import readings
from patchrec.serving.bodies import MAX_HISTORY, Answer, Body, ErrorAnswer, ServedRun, Text
from patchrec.serving.completion import complete, complete_items
from patchrec.serving.page import FILES, HEADERS, content
from patchrec.serving.served import Served

MAX_COMPLETIONS = 100
Typed = Annotated[str, Query(max_length=200, description="What was typed; nothing gives the first ones.")]
Limit = Annotated[int, Query(ge=1, le=MAX_COMPLETIONS, description="How many at most.")]


class Read(Body):
    """Whose history is read."""

    model_config = ConfigDict(title="Read", json_schema_extra={"examples": [{"user": "42"}]})

    user: Text | None = Field(None, description="User id of the data set.")
    history: list[Text] | None = Field(
        None, max_length=MAX_HISTORY, description="Titles or item ids, oldest first; instead of a user."
    )
    run: ServedRun = None


class NamedItem(Answer):
    """An item."""

    item_id: str
    title: str


class ItemsAnswer(Answer):
    """Items whose title may be meant, the best first."""

    items: list[NamedItem]


class UsersAnswer(Answer):
    """Users whose id may be meant, the best first."""

    users: list[str]


class SpanAnswer(Answer):
    """Positions `start <= position < stop` of the history at one grain: text, item, session or dropped."""

    start: int
    stop: int
    grain: str


class ReadingAnswer(Answer):
    """What a model reads under one strategy; `problem` says why there is no layout."""

    strategy: str
    label: str
    is_own: bool
    num_units: int
    spans: list[SpanAnswer]
    problem: str | None


class ReadAnswer(Answer):
    """A history, cut to the run's window (`older` items are before it), as each strategy lays it out."""

    user: str | None
    older: int
    history: list[NamedItem]
    readings: list[ReadingAnswer]


def add_browsing(app: FastAPI, served: Served, json: type[JSONResponse]) -> None:
    """Add the page, and what it asks.

    Args:
        app: Where to.
        served: What answers.
        json: How answers are written.
    """
    for path in FILES:
        _add_file(app, path)
    refusals: dict[int | str, dict[str, Any]] = {status: {"model": ErrorAnswer} for status in (400, 404, 413, 422)}

    @app.get("/items", response_model=ItemsAnswer, responses={422: refusals[422]})
    def items(q: Typed = "", limit: Limit = 10) -> Any:
        """Items by a part of their title, or by their id."""
        catalog = served.now.loaded.dataset.catalog
        found = complete_items(catalog, q, limit)
        return json({"items": [{"item_id": catalog.item_ids[item], "title": catalog.titles[item]} for item in found]})

    @app.get("/users", response_model=UsersAnswer, responses={422: refusals[422]})
    def users(q: Typed = "", limit: Limit = 10) -> Any:
        """Users by a part of their id."""
        return json({"users": complete(served.now.loaded.dataset.sequences.user_ids, q, limit)})

    @app.post("/readings", response_model=ReadAnswer, responses=refusals)
    async def read(asked: Read) -> Any:
        """What a run reads of a history, and what it would read under other strategies."""
        return json(await run_in_threadpool(_read, served, asked))


def _add_file(app: FastAPI, path: str) -> None:
    @app.get(path, include_in_schema=False)
    def file() -> Response:
        return Response(content(path), media_type=FILES[path][1], headers=HEADERS)


def _read(served: Served, asked: Read) -> dict[str, Any]:
    now = served.of(asked.run)
    found = now.question(user=asked.user, history=asked.history, filters=NO_FILTERS, unknown="error")
    history, catalog = found.query.history, now.loaded.dataset.catalog
    return {
        "user": asked.user,
        "older": history.start,
        "history": [
            {"item_id": catalog.item_ids[item], "title": catalog.titles[item]} for item in history.items.tolist()
        ],
        "readings": [asdict(one) for one in readings(now.loaded.run, history)] if len(history) else [],
    }
