"""What is counted, in Prometheus' text form (version 0.0.4)."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of response times, seconds."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Gauges = Mapping[str, tuple[str, str, float | Mapping[str, float]]]
"""By name: `gauge` or `counter`, what it is, and its value, or one for each run."""


class Metrics:
    """Requests by path and status, and how long they took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, int], int] = defaultdict(int)
        self._times: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            path: One of the few that there are: every value makes a series of its own.
            status: Of the answer.
            seconds: Until its end.
        """
        with self._lock:
            self._requests[path, status] += 1
            self._seconds[path] += seconds
            times = self._times[path]
            times[next((place for place, most in enumerate(BUCKETS) if seconds <= most), len(BUCKETS))] += 1

    def text(self, gauges: Gauges) -> str:
        """Everything counted, with numbers of the moment beside it."""
        with self._lock:
            requests, seconds = dict(self._requests), dict(self._seconds)
            times = {path: list(counts) for path, counts in self._times.items()}
        lines = list(_head("patchrec_requests_total", "counter", "Requests answered."))
        for (path, status), number in sorted(requests.items()):
            lines.append(f"patchrec_requests_total{_labels(path=path, status=str(status))} {number}")
        name = "patchrec_request_seconds"
        lines += _head(name, "histogram", "Time to the end of the answer.")
        for path, counts in sorted(times.items()):
            total = 0
            for bound, number in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
                total += number
                lines.append(f"{name}_bucket{_labels(path=path, le=bound)} {total}")
            lines.append(f"{name}_sum{_labels(path=path)} {seconds[path]:.6f}")
            lines.append(f"{name}_count{_labels(path=path)} {total}")
        for name, (kind, about, value) in gauges.items():
            lines += _head(name, kind, about)
            each = {_labels(run=run): one for run, one in value.items()} if isinstance(value, Mapping) else {"": value}
            lines += [f"{name}{labels} {one:.12g}" for labels, one in each.items()]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, about: str) -> Iterable[str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"


def _labels(**labels: str) -> str:
    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{name}="{quoted(value)}"' for name, value in labels.items()) + "}"
