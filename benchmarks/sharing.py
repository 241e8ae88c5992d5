"""Two evaluations on one machine at once against the same two one after the other.

python -m benchmarks.sharing RUN [--limit N] [--home DIR] [--active]

At once they should take as long as one after the other; waiting threads that spin (`--active`, OpenMP's default) make
it many times as long. The evaluations are added to the run's.
"""

import argparse
import os
import subprocess
import sys
from time import perf_counter

from benchmarks.prompts import tell

AT_LEAST = 0.8  # of the speed of one after the other


def evaluations(run: str, limit: int, home: str | None, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of two evaluations one after the other, and at once; one before them is not timed."""
    where = [] if home is None else ["--home", home]
    command = [sys.executable, "-m", "patchrec_cli", *where, "eval", run, "--limit", str(limit), "-q"]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def ended(*processes: subprocess.Popen[bytes]) -> None:
        if any(process.wait() for process in processes):
            raise SystemExit("an evaluation failed; see above")

    ended(start())
    begun = perf_counter()
    ended(start())
    ended(start())
    after = perf_counter()
    ended(start(), start())
    return after - begun, perf_counter() - after


def main() -> None:
    """Measure and say whether the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--home")
    parser.add_argument("--active", action="store_true", help="let waiting threads spin")
    given = parser.parse_args()
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    if given.active:
        environment["OMP_WAIT_POLICY"] = "ACTIVE"
    one_by_one, at_once = evaluations(given.run, given.limit, given.home, environment)
    ratio = one_by_one / at_once
    tell(f"one after the other {one_by_one:.1f} s, at once {at_once:.1f} s: {ratio:.2f} of the speed")
    tell(f"at least {AT_LEAST}: {'met' if ratio >= AT_LEAST else 'MISSED'}; other programs that run beside count in")


if __name__ == "__main__":
    main()
