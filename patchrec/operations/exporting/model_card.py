"""The model card of an exported run: what the store knows of it as the `README.md` that the Hugging Face hub shows.

It holds counts, settings and metrics, and no row of the data: no title, no user, no item id.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrec import plugins
from patchrec.evaluation.rows import LOG_PROB, VIEWS
from patchrec.evaluation.significance import few_users_note
from patchrec.model.pull import KNOWN
from patchrec.store.evaluations import Evaluation, MetricRow
from patchrec.store.runs import Run

# Licences by the identifiers of the hub's model cards.
_HUB_LICENCES = {"Apache-2.0": "apache-2.0", "Llama 3.2 (gated)": "llama3.2"}
_LLAMA = (
    "Built with Llama. Llama 3.2 is licensed under the Llama 3.2 Community License, Copyright © Meta Platforms, Inc. "
    'All Rights Reserved. Whoever passes this model on gives it a name that begins with "Llama", and adds a copy of '
    "that licence."
)

USAGE = '''\
import json
import re
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

FOLDER = Path(".")  # this folder; huggingface_hub.snapshot_download("OWNER/NAME") fetches one from the hub
model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
prompt = json.loads((FOLDER / "patchrec.json").read_text(encoding="utf-8"))["prompt"]


def tokens(title):
    """A title is text, never markup, and one line; the model sees its first tokens."""
    line = re.sub(r"[\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029]+", " ", title)
    ids = tokenizer(line, add_special_tokens=False, split_special_tokens=True).input_ids
    return ids[: prompt["max_title_tokens"]]


def embed(ids):
    return model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long))


def unit(grain, titles):
    """A text is its tokens; an item patch is their mean; a session patch is the mean of item patches."""
    if grain == "text":
        return embed(tokens(titles[0]))
    return torch.stack([embed(tokens(title)).mean(0) for title in titles]).mean(0)[None]


@torch.no_grad()
def score(history, title):
    """log P(title | history) in nats; patchrec calls this score `joint`."""
    parts = [embed(prompt["head"])]
    for grain, titles in history:
        parts.append(unit(grain, titles))
        if grain == "text" or prompt["after_patches"]:
            parts.append(embed([prompt["separator"]]))
    answer = [*tokens(title), prompt["end"]]
    parts += [embed(prompt["tail"]), embed(answer[:-1])]
    logits = model(inputs_embeds=torch.cat(parts)[None]).logits[0, -len(answer) :].float()
    return float(logits.log_softmax(-1)[range(len(answer)), answer].sum())


history = [("session", ["The oldest title", "The next one"]), ("item", ["A title"]), ("text", ["The newest title"])]
print(score(history, "A title to score"))
'''


_LANGUAGE_LIMITS = (
    "It knows an item by its title first: items of one title can have one score, and a title says little of what is "
    "new or local.",
    "It answers this prompt only, and is no longer meant to chat.",
    "Scores are for float32; in bfloat16 titles can tie that do not.",
)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card is filled from.

    Attributes:
        runs: The exported run, then the one that it started from, and so on.
        dataset: As `Datasets.show` gives it.
        evaluations: The newest of each split, with its metrics.
    """

    runs: Sequence[Run]
    dataset: dict[str, Any]
    evaluations: Sequence[tuple[Evaluation, Sequence[MetricRow]]]

    @property
    def lora_ranks(self) -> list[int]:
        """Rank of the adapters of each run that was trained with them."""
        found = [run.config.training.lora_rank for run in self.runs if run.config.training is not None]
        return [rank for rank in found if rank is not None]


def model_card(facts: CardFacts) -> str:
    """Write the whole card: front matter for the hub, then Markdown."""
    sections = [
        ("", _what(facts)),
        ("How to use it", _use(facts.runs[0])),
        ("Training data and split", _data(facts.dataset)),
        ("Strategy and prompt", _strategy(facts.runs[0])),
        ("Metrics", _metrics(facts)),
        ("Costs", _costs(facts)),
        ("Versions", _table(["library", "version"], [list(pair) for pair in facts.runs[0].versions.items()])),
        ("Limits", _limits(facts)),
    ]
    body = "\n\n".join(f"## {heading}\n\n{text}" if heading else text for heading, text in sections)
    return f"---\n{_front_matter(facts)}\n---\n\n{body}\n"


def hub_backbone(name: str) -> str | None:
    """Id of a backbone on the hub; None for a folder, or one that is made here."""
    if name in KNOWN:
        return KNOWN[name].hub
    return name if name.count("/") == 1 and not name.startswith(("/", ".", "~")) else None


def shown_backbone(name: str) -> str:
    """A backbone's name for others to read: of a folder its last part, since paths are nobody else's business."""
    return name if name in KNOWN or hub_backbone(name) else Path(name).name


def _licence(backbone: str) -> str:
    if backbone in KNOWN:
        return KNOWN[backbone].licence
    return f"see the page of {backbone}" if hub_backbone(backbone) else "that of the model it was made from"


def _front_matter(facts: CardFacts) -> str:
    from huggingface_hub import ModelCardData

    backbone = facts.runs[0].backbone
    licence = None if backbone is None else _HUB_LICENCES.get(_licence(backbone))
    data = ModelCardData(
        library_name="transformers" if facts.runs[0].config.language_model else "patchrec",
        license=licence or "other",
        license_name=None if licence else "see-the-data" if backbone is None else "see-the-base-model",
        base_model=None if backbone is None else hub_backbone(backbone),
        datasets=[facts.dataset["name"]],
        tags=["patchrec", "sequential-recommendation", "recommender-system"] + ["lora"] * bool(facts.lora_ranks),
    )
    return str(data.to_yaml()).strip()


def _what(facts: CardFacts) -> str:
    run = facts.runs[0]
    if run.config.language_model is None:
        return _what_baseline(facts)
    backbone = str(run.backbone)
    ranks = sorted(set(facts.lora_ranks))
    how = "nothing trained" if run.config.training is None else "all weights trained"
    if ranks:
        how = f"LoRA adapters of rank {' and '.join(map(str, ranks))} trained and merged"
    lines = [
        f"# {run.name}: {_plain(run.label)} on {facts.dataset['name']}",
        "",
        f"A language model that recommends the next {_plain(facts.dataset['noun'])}: it reads the titles a user has "
        f"{_plain(facts.dataset['verb'])}, laid out by the strategy below, and gives every title of a catalog a "
        f"probability. It is `{_plain(shown_backbone(backbone))}` with {how}, made by patchrec, an implementation of "
        "PatchRec (SIGIR 2025).",
    ]
    if run.status != "done":
        lines += ["", f"This run is not finished (it is {run.status}): these are the weights of a checkpoint."]
    lines += ["", f"Licence of the base model: {_plain(_licence(backbone))}."]
    if _HUB_LICENCES.get(_licence(backbone)) == "llama3.2":
        lines += ["", _LLAMA]
    return "\n".join(lines)


def _what_baseline(facts: CardFacts) -> str:
    run = facts.runs[0]
    known = plugins.recommenders().get(run.kind)
    source = f" After {_plain(known.source)}." if known and known.source else ""
    summary = f" ({_plain(known.summary)})" if known else ""
    return (
        f"# {run.name}: {_plain(run.label)} on {facts.dataset['name']}\n\n"
        f"A recommender of the next {_plain(facts.dataset['noun'])} without a language model: `{run.kind}`{summary}, "
        f"made by patchrec.{source}"
    )


def _use(run: Run) -> str:
    if run.config.language_model is None:
        return (
            "Its tensors are in a safetensors file; their rows are the items of `item_ids` in `patchrec.json`, in that "
            f"order. `patchrec recommend --run {run.name}` ranks with the run it was exported from."
        )
    if run.kind == "item":
        return (
            "The language model is a plain Hugging Face model; `items.safetensors` holds the item head and the items' "
            "input vectors, whose rows are the items of `item_ids` in `patchrec.json`, in that order. A prompt is the "
            "token ids there around a history's units; the hidden state at its last position, times the head's table, "
            f"gives the logits of all items. `patchrec recommend --run {run.name}` does that."
        )
    if run.score == "letters":
        read = ", ".join(f"`{part.run}`" for part in run.config.parts)
        return (
            "The language model is a plain Hugging Face model, and ranks what another run retrieves. A prompt is the "
            "token ids in `patchrec.json`: `head`, a history's units, `tail`, for each candidate its letter, `mark`, "
            "its title and `separator`, and `rest`; the logits of `letters` at its last position rank the candidates. "
            f"`patchrec recommend --run {run.name}` does that, with run {read}, which is exported on its own."
        )
    return (
        "Any program that runs Hugging Face models can compute its scores. This one gives the log-probability of a "
        "title after a history:\n\n"
        f"```python\n{USAGE}```\n\n"
        "A history is a list of units, oldest first. Which titles are text, item patches or session patches is what "
        f"the strategy plans; `patchrec strategies preview --run {run.name} --user ID` shows it for a user. "
        f"`patchrec recommend` ranks a whole catalog at once; this run ranks by the score `{run.score}`"
        + (" (each step of a title normalised over the titles that go on so)." if run.score == "catalog" else ".")
        + " Two tokens, `<|item_patch|>` and `<|session_patch|>`, mark patches where a prompt is shown as text; they "
        "are never inputs."
    )


def _data(dataset: dict[str, Any]) -> str:
    summary = dataset["summary"]
    split = ", ".join(f"{key} {value}" for key, value in dataset["split"].items() if not isinstance(value, dict))
    rows = [
        [name, f"{counts['interactions']:,}", f"{counts['targets']:,}", f"{counts['users']:,}"]
        for name, counts in summary["splits"].items()
    ]
    return (
        f"`{dataset['name']}`: {summary['users']:,} users, {summary['items']:,} items, "
        f"{summary['interactions']:,} interactions. Split: {_plain(split)}.\n\n"
        f"Licence of the data: {_plain(dataset['licence'])}\n\n"
        + _table(["split", "interactions", "targets", "users with targets"], rows)
    )


def _strategy(run: Run) -> str:
    prompt, history, lines = run.config.prompt, run.config.history, []
    if prompt is None:
        return f"No prompt; the newest {history.K} items at most, `{history.windows}` windows."
    for chosen in run.config.strategies:
        known = plugins.strategies().get(chosen.name)
        label = known.bind(chosen.options).label if known else chosen.name
        lines.append(f"- `{_plain(label)}`: {_plain(known.summary)}" if known else f"- `{_plain(label)}`")
    lines.append(
        f"- prompt `{prompt.form}`, the newest {history.K} items at most, `{history.windows}` windows; its tokens are "
        "in `patchrec.json`"
    )
    return "\n".join(lines)


def _metrics(facts: CardFacts) -> str:
    if not facts.evaluations:
        return f"Not evaluated yet (`patchrec eval {facts.runs[0].name}` does)."
    parts = [
        "Every target ranks the whole catalog. Means over targets with 95 % intervals (bootstrap over users). `items` "
        "counts a hit by item id, `titles` by title, under whatever id. `dropped`: items that the user had before are "
        "taken out of the ranking; `kept`: they compete. With r the rank of the target, `hr@k` is 1 where r <= k, "
        f"`ndcg@k` is 1 / log2(1 + r) there, `mrr` is 1 / r; `{LOG_PROB}` is the log-probability of the target's title "
        "in nats.",
    ]
    for evaluation, metrics in facts.evaluations:
        limit = evaluation.config.get("limit")
        sampled = f", a sample of at most {limit:,}" if limit is not None else ""
        if users := evaluation.config.get("users_with"):
            sampled += f", users with {users} items"
        if evaluation.exact_to is not None:
            sampled += f", ranks up to {evaluation.exact_to:,}"
        parts.append(
            f"**{evaluation.split}**: {evaluation.num_targets:,} targets of {evaluation.num_users:,} users{sampled}; "
            f"score `{evaluation.score}`; {evaluation.created_at[:10]}."
        )
        parts.append(_metric_table(metrics, "all"))
        if any(row.slice == "cold" for row in metrics):
            parts.append(
                f"Of these, {evaluation.cost['cold_targets']:,} targets of {evaluation.cost['cold_users']:,} users "
                "whose item nobody had in training:"
            )
            parts.append(_metric_table(metrics, "cold"))
    return "\n\n".join(parts)


def _metric_table(metrics: Sequence[MetricRow], targets: str) -> str:
    cells = {(row.name, row.level, row.seen): _value(row) for row in metrics if row.slice == targets}
    names = list(dict.fromkeys(name for name, _, _ in cells))
    rows = [[f"`{name}`", *(cells.get((name, level, seen), "") for level, seen in VIEWS)] for name in names]
    return _table(["metric", *(f"{level}s, {seen}" for level, seen in VIEWS)], rows)


def _value(row: MetricRow) -> str:
    if row.value is None:
        return "-"
    if row.low is None or row.high is None:
        return f"{row.value:.4f}"
    return f"{row.value:.4f} [{row.low:.4f}, {row.high:.4f}]"


def _costs(facts: CardFacts) -> str:
    rows = []
    for run in reversed(facts.runs):
        training, summary = run.config.training, run.summary or {}
        if training is None:
            continue
        made = f"batch {training.batch_size}, learning rate {training.learning_rate:g}, {training.dtype}"
        if training.lora_rank is not None:
            made += f", LoRA rank {training.lora_rank}"
        done = [f"{summary[key]:,.0f}" if key in summary else "-" for key in ("steps", "targets", "tokens", "seconds")]
        rows.append([run.stage, f"`{run.name}`", *done, made])
    head = ["stage", "run", "steps", "targets", "tokens forwarded", "seconds", "settings"]
    parts = [_table(head, rows)] if rows else ["Nothing was trained."]
    for evaluation, _ in facts.evaluations:
        cost = evaluation.cost
        ratios = [
            f"{name} {cost[f'compression_{name}']:.2f}"
            for name in ("paper", "history", "prompt")
            if cost.get(f"compression_{name}") is not None
        ]
        parts.append(
            f"Ranking on {evaluation.split}: {cost['tokens_per_target']:,.1f} tokens and "
            f"{cost['seconds_per_target']:.3f} s for a target"
            + (f"; compression of its prompt (full text over this): {', '.join(ratios)}." if ratios else ".")
        )
    return "\n\n".join(parts)


def _limits(facts: CardFacts) -> str:
    users = facts.dataset["summary"]["users"]
    lines = [
        f"It learned from {users:,} users of one data set, with the tastes and gaps of these users; popular items are "
        "recommended more than rare ones.",
        *(_LANGUAGE_LIMITS if facts.runs[0].config.language_model else ("It knows no item that came after it.",)),
        "Metrics on logged choices say how often the logged item is found, not how good a recommendation is.",
        "Use is bound by the licences of the data and of the base model, where there is one.",
    ]
    few = min((evaluation.num_users for evaluation, _ in facts.evaluations), default=None)
    note = few_users_note(few) if few is not None else None
    return "\n".join(f"- {line}" for line in [*lines, *([f"{note}."] if note else [])])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: object) -> str:
    """Text from data or people on one line, without a meaning in Markdown tables or HTML."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+", " ", str(text)).strip()
    for mark, harmless in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "'")):
        line = line.replace(mark, harmless)
    return line
