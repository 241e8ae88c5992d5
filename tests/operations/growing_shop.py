"""What the tests of growing data run in processes of their own: `python growing_shop.py TASK HOME FILE`."""

import sys
from pathlib import Path

from patchrec.errors import PatchrecError
from patchrec.operations.growing import append_interactions


def append(home: Path, file: Path) -> int:
    """Append a file once it is told to."""
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        append_interactions("shop", interactions=[file], home=home)
    except PatchrecError as error:
        print(error, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    task, folder, file = sys.argv[1:]
    sys.exit({"append": append}[task](Path(folder), Path(file)))
