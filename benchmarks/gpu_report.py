"""What a GPU run found, as tables: Markdown for docs/results.md, printed as it is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

METRICS = (("hr@10", "item"), ("ndcg@10", "item"), ("mrr", "item"), ("log_prob", "title"))
MFU = 0.5  # with the Llama-3.2-1B shape in bfloat16


def markdown(found: Mapping[str, Any]) -> Iterator[str]:
    """The whole report, a line at a time.

    Args:
        found: What `summary.json` holds.
    """
    yield from _environment(found)
    if found.get("tests"):
        tests = found["tests"]
        yield from ("", f"GPU tests: {tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped.")
        yield from (f"- failed: {name}" for name in tests["failures"])
    if found.get("throughput"):
        yield from _throughput(found["throughput"])
    if found.get("training"):
        yield from _training(found["training"])
    yield from ("", "Complete." if found["complete"] else f"Not complete; left: {', '.join(found['left'])}.")


def _environment(found: Mapping[str, Any]) -> Iterator[str]:
    machine = found.get("environment") or {}
    versions = machine.get("versions", {})
    yield f"### `benchmarks.gpu` on {found['settings']['device']}"
    yield ""
    yield f"`{found['command']}`, seed {' '.join(map(str, found['settings']['seeds']))}"
    yield ""
    gpu = machine.get("device") or {}
    yield (
        f"{gpu.get('name', 'no device')}, driver {gpu.get('driver') or '-'}, CUDA {gpu.get('cuda') or '-'}, "
        f"torch {versions.get('torch', '-')}, transformers {versions.get('transformers', '-')}, "
        f"{gpu.get('dtype', '-')}."
    )


def _throughput(found: Mapping[str, Any]) -> Iterator[str]:
    rate = found["rates"]
    sheet = "unknown" if rate["data_sheet"] is None else f"{rate['data_sheet'] / 1e12:,.0f}"
    yield from ("", f"One large product: {rate['measured'] / 1e12:,.3g} TFLOP/s measured, {sheet} by the data sheet.")
    done = [row for row in found["rows"] if row["kind"] == "training"]
    table = [
        [
            row["model"],
            row["workload"],
            row["variant"],
            row.get("attention", "-"),
            f"{row['max_nodes']:,}",
            *_speed(row),
        ]
        for row in sorted(done, key=lambda row: (row["model"], row["workload"], row["max_nodes"]))
    ]
    header = [
        "model",
        "training on",
        "variant",
        "attention",
        "max_nodes",
        "tokens/s",
        "targets/s",
        "peak GB",
        "MFU",
        "of sheet",
    ]
    yield from _table(header, table)
    best = max((row["mfu_measured"] for row in done if row.get("mfu_measured")), default=None)
    if best is not None:
        yield from ("", f"Best share of the measured product rate: {best:.0%} (target {MFU:.0%}).")
    ranking = [
        [row["model"], row["dtype"], what, *(_seconds(row, what, key) for key in ("prefill", "ranking"))]
        for row in found["rows"]
        if row["kind"] == "ranking"
        for what in ("vanilla", "pft-s")
    ]
    yield from _table(["model", "dtype", "prompts", "prefill ms/user", "ranking ms/user"], ranking)


def _speed(row: Mapping[str, Any]) -> list[str]:
    if "error" in row:
        return [row["error"], "", "", "", ""]
    shares = ["-" if row[key] is None else f"{row[key]:.0%}" for key in ("mfu_measured", "mfu_data_sheet")]
    peak = "-" if row["peak_gb"] is None else f"{row['peak_gb']:.1f}"
    return [f"{row['tokens_per_second']:,.0f}", f"{row['targets_per_second']:,.0f}", peak, *shares]


def _seconds(row: Mapping[str, Any], what: str, key: str) -> str:
    return row["error"] if "error" in row else f"{1000 * row[what][f'{key}_seconds_per_user']:,.2f}"


def _training(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    evaluated = [row for row in found if "evaluation" in row]
    if evaluated:
        first = evaluated[0]["evaluation"]
        where = (
            f"{first['num_targets']:,} {first['split']} targets of {first['num_users']:,} users of {first['dataset']}"
        )
        yield from ("", f"{where}; 95 % intervals over users.")
    header = ["row", "loss", "training s", "tokens/s", *(name for name, _ in METRICS), "eval ms/target"]
    yield from _table(header, [_trained(row) for row in found])


def _trained(row: Mapping[str, Any]) -> list[str]:
    summary = row.get("summary") or {}
    trained = ["-"] * 3
    if summary.get("seconds"):
        trained = [
            f"{summary['loss']:.3f}",
            f"{summary['seconds']:,.0f}",
            f"{summary['tokens'] / summary['seconds']:,.0f}",
        ]
    evaluation = row.get("evaluation")
    if evaluation is None:
        return [row["row"], *trained, *["-"] * (len(METRICS) + 1)]
    values = [_interval(evaluation["metrics"], name, level) for name, level in METRICS]
    return [row["row"], *trained, *values, f"{1000 * evaluation['cost']['seconds_per_target']:,.1f}"]


def _interval(metrics: Sequence[Mapping[str, Any]], name: str, level: str) -> str:
    """A metric with its interval: over items with seen ones dropped, the log-probability of titles."""
    for metric in metrics:
        if (metric["name"], metric["level"]) == (name, level) and metric["seen"] == _view(name):
            if metric["value"] is None:
                break
            bounds = "" if metric["low"] is None else f" [{metric['low']:.3f}, {metric['high']:.3f}]"
            return f"{metric['value']:.3f}{bounds}"
    return "-"


def _view(name: str) -> str:
    return "kept" if name == "log_prob" else "dropped"


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    if not lines:
        return
    yield ""
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * len(header)}"
    yield from (f"| {' | '.join(line)} |" for line in lines)
