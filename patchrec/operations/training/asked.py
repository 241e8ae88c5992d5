"""What a command that fits was asked for: the same for every seed, until a seed settles it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from patchrec.errors import UsageError
from patchrec.operations.training.new_run import (
    NewRun,
    RunSettings,
    new_baseline,
    new_finetuning,
    new_pretraining,
)
from patchrec.plugins import find_kind, is_builtin_kind
from patchrec.reporting import Reporter
from patchrec.store import Store

Command = Literal["pretrain", "finetune", "baseline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What `pretrain`, `finetune` or `baseline` was asked for.

    Attributes:
        command: Which of them.
        name: Of the baseline.
        options: Of the baseline, of the strategy, or of the pre-training.
        strategy, head, head_options: Of a fine-tuning.
        start: Run that a fine-tuning starts from, or a group of seeds: then each seed starts from the run of its own;
            "none": the backbone.
        settings: The rest, without a seed.
    """

    command: Command
    name: str | None = None
    options: dict[str, Any] | None = None
    strategy: str | None = None
    head: str | None = None
    head_options: dict[str, Any] | None = None
    start: str | None = None
    settings: RunSettings = field(default_factory=RunSettings)

    def settle(self, store: Store, seed: int, report: Reporter) -> NewRun:
        """The run of a seed, before it begins.

        Raises:
            NotFoundError: No such strategy, kind, data set, run or backbone. UsageError: Settings that do not fit.
        """
        settings = cast(RunSettings, {**self.settings, "seed": seed})
        if self.command == "pretrain":
            return new_pretraining(store, self.options, settings, report)
        if self.command == "baseline":
            if self.name is None:
                raise UsageError("which baseline? name one, or resume a run")
            return new_baseline(store, self.name, self.options, settings, report)
        start = self._start(store, seed)
        return new_finetuning(
            store, self.strategy, self.options, start, settings, report, head=self.head, head_options=self.head_options
        )

    def _start(self, store: Store, seed: int) -> str | None:
        """The run that a seed starts from."""
        if self.start in (None, "none") or (group := store.seed_groups.find(str(self.start))) is None:
            return self.start
        run = group.of_seed(seed)
        if run is None:
            raise UsageError(
                f"group {group.name} has no run of seed {seed} to start from (it has {numbers(group.seeds)}); take "
                "its seeds, or name one run"
            )
        return run.name


def draws(new: NewRun) -> bool:
    """Whether a seed decides anything: a table of counts is the same for all."""
    return new.config.training is not None or not is_builtin_kind(find_kind(new.config.kind.name).name)


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Give seeds back if they are some.

    Raises:
        UsageError: There is none, one is no whole number from 0 on, or one is there twice.
    """
    wrong = [seed for seed in seeds if type(seed) is not int or not 0 <= seed < 2**32]
    if wrong or not seeds:
        raise UsageError(f"seeds are whole numbers from 0 on, such as 0,1,2; got {wrong[0] if wrong else 'none'!r}")
    twice = [seed for number, seed in enumerate(seeds) if seed in seeds[:number]]
    if twice:
        raise UsageError(f"seed {twice[0]} is given twice, and would give the same run twice; drop one")
    return list(seeds)


def numbers(seeds: list[int]) -> str:
    """Seeds as they are typed: "0,1,2"."""
    return ",".join(map(str, seeds))
