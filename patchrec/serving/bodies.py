"""What may be asked and what is answered, with the limits of each: closed models that are the OpenAPI schema, too."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_K = 1000
MAX_HISTORY = 5000
MAX_NAMES = 5000
MAX_EVENTS = 1000
Text = Annotated[str, Field(min_length=1, max_length=2000)]
LARGEST_TIME = 253_402_300_799
ServedRun = Annotated[Text | None, Field(description="A served run; the first one where it is left out.")]


class Body(BaseModel):
    """A body of a request: unknown fields and other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Recommend(Body):
    """Who is recommended to, how many items, and what of the catalog."""

    model_config = ConfigDict(
        title="Recommend",
        json_schema_extra={"examples": [{"user": "42", "k": 5}, {"history": ["Toy Story", "Alien"], "k": 5}]},
    )

    user: Text | None = Field(None, description="User id of the data set.")
    history: list[Text] | None = Field(
        None, max_length=MAX_HISTORY, description="Titles or item ids, oldest first; instead of a user."
    )
    k: int = Field(10, ge=1, le=MAX_K, description="How many to recommend.")
    where: str | None = Field(None, min_length=1, max_length=10_000, description="A condition, such as `year >= 1990`.")
    allow: list[Text] = Field([], max_length=MAX_NAMES, description="Only these items: ids or titles.")
    deny: list[Text] = Field([], max_length=MAX_NAMES, description="None of these items: ids or titles.")
    keep_seen: bool = Field(False, description="Also rank what the user has had.")
    unknown: Literal["error", "popular"] = Field(
        "error", description="A user whom the data set does not have: 404, or what is popular."
    )
    explain: bool = Field(False, description="Tell which parts of the history carried each item.")
    run: ServedRun = None


class NewItem(Body):
    """An item for the end of the catalog."""

    model_config = ConfigDict(
        title="New item",
        json_schema_extra={"examples": [{"item_id": "9001", "title": "New Film", "metadata": {"year": "2026"}}]},
    )

    item_id: Text
    title: Text
    metadata: dict[Text, str] = Field(
        {}, max_length=100, description="As text; it takes the types that the catalog has."
    )


class Event(Body):
    """One interaction."""

    user: Text
    item: Text = Field(description="Item id.")
    timestamp: float | None = Field(
        None, ge=-LARGEST_TIME, le=LARGEST_TIME, description="Unix seconds; now where it is left out."
    )


class Events(Body):
    """What users did: all of it is appended, or nothing."""

    model_config = ConfigDict(
        title="Interactions", json_schema_extra={"examples": [{"interactions": [{"user": "42", "item": "50"}]}]}
    )

    interactions: list[Event] = Field(min_length=1, max_length=MAX_EVENTS)


class Reload(Body):
    """Which run is put in service, in whose place; by default the same one, as the store has it by now."""

    model_config = ConfigDict(
        title="Reload", json_schema_extra={"examples": [{"run": "pft-s-2"}, {"run": "pft-s-2", "replaces": "pft-s-1"}]}
    )

    run: Text | None = Field(None, description="A run of the store; that which it replaces where it is left out.")
    replaces: Text | None = Field(
        None, description="A served run; may be left out where one alone is served, or for a run that is."
    )


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class RankedAnswer(Answer):
    """One recommended item; a higher score is better."""

    rank: int
    item_id: str
    title: str
    score: float | None
    probability: float | None


class CarrierAnswer(Answer):
    """A part of the history, and what it did for each item of the ranking, in its order (nats)."""

    items: list[str]
    titles: list[str]
    changes: list[float | None]


class ExplanationAnswer(Answer):
    """What carried the ranking."""

    about: str
    parts: list[CarrierAnswer]


class RecommendAnswer(Answer):
    """The keys of `patchrec recommend --json`."""

    run: str
    label: str
    dataset: str
    user: str | None
    score: str
    history: list[str]
    history_length: int
    ranking: list[RankedAnswer]
    shortfall: str | None
    certificate: dict[str, Any] | None
    source: Literal["model", "empty history", "popularity"]
    explanation: ExplanationAnswer | None


class ItemAnswer(Answer):
    """The item that was added."""

    dataset: str
    item_id: str
    title: str
    metadata: dict[str, Any]
    num_items: int


class EventsAnswer(Answer):
    """What was appended: counts, and the version of the data set now."""

    dataset: str
    version: int
    appended: dict[str, int]


class RunAnswer(Answer):
    """A run in service, and how much data it is over."""

    run: str
    label: str
    dataset: str
    items: int
    users: int
    interactions: int


class ListedRun(Answer):
    """A run in service; `strategy` is null where its kind has none, `loaded_at` in UTC."""

    run: str
    label: str
    kind: str
    strategy: str | None
    dataset: str
    loaded_at: str


class RunsAnswer(Answer):
    """The runs in service; the first answers where none is named."""

    runs: list[ListedRun]


class StatusAnswer(Answer):
    """Whether the server is there."""

    status: Literal["ok", "ready"]


class ErrorAnswer(Answer):
    """What went wrong, in one line."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"error": "no user '43'; did you mean '42'?"}]})

    error: str


def faults(errors: Sequence[Any]) -> str:
    """Word what is wrong with a body, each fault under its field."""
    parts = []
    for fault in errors[:5]:
        place = [str(part) for part in fault["loc"] if part != "body"]
        message = str(fault["msg"]).removeprefix("Value error, ").replace(" after validation", "")
        message = message[:1].lower() + message[1:]
        field = ".".join(place)
        if fault["type"] == "json_invalid":
            parts.append(f"the body is no JSON: {fault.get('ctx', {}).get('error', message)}")
        elif fault["type"] == "extra_forbidden":
            parts.append(f"no field {field[:100]!r}; see /openapi.json for those that there are")
        elif fault["type"] == "missing":
            parts.append(f"{field} is required" if field else "a JSON body is required")
        elif not field and isinstance(fault.get("input"), bytes):
            parts.append("the body is not said to be JSON; send it with Content-Type: application/json")
        else:
            shown = repr(fault.get("input"))
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            parts.append(f"{field or 'the body'}={shown}: {message}")
    more = len(errors) - 5
    return "; ".join([*parts, *([f"and {more:,} more"] if more > 0 else [])])
