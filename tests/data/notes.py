"""A reporter that keeps what was told."""

from patchrec.reporting import SILENT


class Notes:
    """Notes and picks, in order."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def picked(self, what: str, value: str, why: str) -> None:
        self.notes.append(f"{what}: {value} ({why})")

    task = SILENT.task
