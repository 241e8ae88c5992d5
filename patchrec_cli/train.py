"""`patchrec pretrain`, `patchrec finetune` and `patchrec baseline`."""

from typing import Annotated, Any, Literal

import typer

from patchrec.errors import UsageError
from patchrec_cli.display import Output, is_first_process, plain, print_fields
from patchrec_cli.marks import Name, Note, Tags, marks_of
from patchrec_cli.named_options import BASELINES, HEADS, STRATEGIES, option_values
from patchrec_cli.numbers import count, duration, gigabytes, value
from patchrec_cli.parameters import Json, Quiet, home_of
from patchrec_cli.seeds import Seeds, fit_group, read_seeds
from patchrec_cli.training_options import BASELINE_SETTINGS, TRAINING, takes_settings

Resume = Annotated[
    str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run, or a group of seeds, that was stopped.")
]
Force = Annotated[
    bool, typer.Option("--force", help="With --resume: go on although data, tokenizer or versions changed since.")
]
Schedule = Annotated[
    Literal["linear", "none"] | None,
    typer.Option(
        "--schedule",
        help="How p grows; none: it stays 0, as by accident in the published scripts; default: linear.",
        rich_help_panel=TRAINING,
    ),
]
Into = Annotated[
    Literal["patch", "nothing"] | None,
    typer.Option(
        "--into",
        help="What an item becomes: its patch, or nothing, the paper's ablation; default: patch.",
        rich_help_panel=TRAINING,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what the run would take: tokens, steps, memory, time.")
]


@takes_settings()
def pretrain(
    ctx: typer.Context,
    *,
    schedule: Schedule = None,
    into: Into = None,
    resume: Resume = None,
    force: Force = False,
    seeds: Seeds = None,
    dry_run: DryRun = False,
    run_name: Name = None,
    note: Note = None,
    tags: Tags = None,
    json: Json = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Teach a backbone to read patches (stage 1).

    Every target is seen twice: with its history as text, and with each item compressed with a probability p that grows
    from 0 to 1.

    Examples:
        patchrec pretrain --data ml-100k --backbone smollm2-135m --max-steps 200
        patchrec pretrain --epochs 3 --validate-every 50
        patchrec pretrain --dry-run
    """
    output = Output(json, quiet)
    options = {"schedule": schedule, "into": into}
    marks = marks_of(run_name, note, tags)
    common = {"home": home_of(ctx), "report": output.reporter, "options": options, "marks": marks, **settings}
    if dry_run:
        refuse_resume(resume, force)
        show_dry_run("pretrain", output, seeds, **common)
        return
    of_group = {"options": options, "settings": settings}
    if fit_group("pretrain", seeds, resume, force, home_of(ctx), output, marks, **of_group):
        return
    from patchrec.operations.training import train

    result = train.pretrain(resume=resume, force=force, **common)
    if not is_first_process():
        return
    show_run(plain(result), output)
    output.next_step(f"patchrec finetune --strategy pft-s --L 5 --from {result.run} --data {result.dataset}")


@takes_settings()
def finetune(
    ctx: typer.Context,
    *,
    strategy: Annotated[
        str | None, typer.Option("--strategy", metavar="NAME", help="Strategy; see `patchrec strategies ls`.")
    ] = None,
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="NAME", help="What answers: title, item, both or llamarec; default: title."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="RUN", help='Start from this run; default: the newest pre-trained; "none": the backbone.'
        ),
    ] = None,
    resume: Resume = None,
    force: Force = False,
    seeds: Seeds = None,
    dry_run: DryRun = False,
    run_name: Name = None,
    note: Note = None,
    tags: Tags = None,
    json: Json = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Train a run or backbone to recommend with a strategy (stage 2).

    Examples:
        patchrec finetune --strategy pft-s --L 5
        patchrec finetune --strategy pft-i --M 5 --from none
        patchrec finetune --strategy item-mean --head item --from none
        patchrec finetune --strategy pft-s --seeds 0,1,2
        patchrec finetune --strategy pft-s --dry-run
    """
    options = option_values(ctx, STRATEGIES, strategy)
    head_options = option_values(ctx, HEADS, head)
    output = Output(json, quiet)
    chosen = {"strategy": strategy, "options": options, "head": head, "head_options": head_options, "start": start}
    marks = marks_of(run_name, note, tags)
    common = {"home": home_of(ctx), "report": output.reporter, "marks": marks, **chosen, **settings}
    if dry_run:
        refuse_resume(resume, force)
        show_dry_run("finetune", output, seeds, **common)
        return
    if fit_group("finetune", seeds, resume, force, home_of(ctx), output, marks, settings=settings, **chosen):
        return
    from patchrec.operations.training import train

    result = plain(train.finetune(resume=resume, force=force, **common))
    if not is_first_process():
        return
    show_run(result, output)
    output.next_step(f"patchrec eval {result['run']}", f"patchrec recommend --user ID --run {result['run']}")


@takes_settings(BASELINE_SETTINGS)
def baseline(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="What to fit, such as sasrec, item-knn or popularity; --resume knows it."),
    ] = None,
    *,
    resume: Resume = None,
    force: Force = False,
    seeds: Seeds = None,
    run_name: Name = None,
    note: Note = None,
    tags: Tags = None,
    json: Json = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Fit a recommender that is asked without a prompt.

    Its run is evaluated, compared and asked like any other. Some begin with the weights of a model (--backbone).

    Examples:
        patchrec baseline popularity
        patchrec baseline item-knn
        patchrec baseline sasrec --seeds 0,1,2
    """
    if name is None and resume is None:
        raise UsageError(f"which baseline? choices: {', '.join(sorted(BASELINES.members()))}; name one")
    options = option_values(ctx, BASELINES, name)
    output = Output(json, quiet)
    marks = marks_of(run_name, note, tags)
    of_group = {"name": name, "options": options, "settings": settings}
    if fit_group("baseline", seeds, resume, force, home_of(ctx), output, marks, **of_group):
        return
    from patchrec.operations.training import train

    result = train.baseline(
        name,
        options=options,
        resume=resume,
        force=force,
        marks=marks,
        home=home_of(ctx),
        report=output.reporter,
        **settings,
    )
    if not is_first_process():
        return
    show_run(plain(result), output)
    output.next_step(f"patchrec eval {result.run}", f"patchrec recommend --user ID --run {result.run}")


def refuse_resume(resume: str | None, force: bool) -> None:
    """A dry run is of a new run.

    Raises:
        UsageError: --resume or --force was given.
    """
    if resume is not None or force:
        raise UsageError("--dry-run is for a new run; drop --resume and --force (`patchrec runs show RUN` says more)")


def show_run(result: dict[str, Any], output: Output) -> None:
    """Print what a training run came to."""
    if output.emit(result, [result["run"]]):
        return
    best, unit = result["best_step"], "token" if result["kind"] == "title" else "target"
    print_fields(
        {
            "run": result["run"],
            "label": result["label"],
            "steps": count(result["steps"]),
            "loss": None if result["loss"] is None else f"{value(result['loss'])} nats a {unit}",
            "validation": best and f"{value(result['validation_loss'])} nats a {unit} after step {count(best)}, kept",
            "time": duration(result["seconds"]),
            "folder": result["folder"],
        }
    )


def show_dry_run(stage: Any, output: Output, seeds: str | None = None, **settings: Any) -> None:
    """Estimate a run, or the first of several seeds, and print what it would take."""
    from patchrec.operations.training.dry_run import dry_run

    if not is_first_process():
        return
    if seeds is not None:
        several = read_seeds(seeds)
        settings["seed"] = several[0]
        output.reporter.note(f"each of the {count(len(several))} seeds takes as much, one after the other")
    found = plain(dry_run(stage, **settings))
    if output.emit(found, [found["tokens"]]):
        return
    print_fields(dry_run_fields(found))
    output.next_step("the same command without --dry-run")


def dry_run_fields(found: dict[str, Any]) -> dict[str, object]:
    """The fields of a dry run as people read them."""
    exact = found["counted_steps"] == found["steps"]
    basis = "exact" if exact else f"an estimate from {count(found['counted_steps'])} steps"
    parts = [f"{gigabytes(size)} {name}" for name, size in found["memory"].items() if name != "total"]
    share = f", of which {count(found['trained_parameters'])} are trained"
    checks = f"{count(found['validations'])} times {count(found['validation_tokens'])} tokens, forward only"
    return {
        "run": f"{found['stage']}, {found['label']} (nothing is stored)",
        "data": found["dataset"],
        "backbone": found["backbone"],
        "start": found["parent"],
        "steps": f"{count(found['steps'])} with {count(found['targets'])} targets",
        "tokens": f"{count(found['tokens'])}, {found['tokens'] / found['targets']:,.1f} a target ({basis})",
        "validation": checks if found["validations"] else None,
        "weights": count(found["parameters"])
        + (share if found["trained_parameters"] < found["parameters"] else ", all trained"),
        "memory": f"about {gigabytes(found['memory']['total'])}: {', '.join(parts)}",
        "free": gigabytes(found["free_memory"]),
        "time": f"about {duration(found['seconds'])}" if found["seconds"] is not None else "does not fit in memory",
    }
