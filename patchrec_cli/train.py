"""`patchrec pretrain` and `patchrec finetune`."""

from typing import Annotated, Any

import typer

from patchrec_cli.display import Output, plain, print_fields
from patchrec_cli.numbers import count, duration, value
from patchrec_cli.parameters import Backbone, Data, HistoryLength, Json, PromptForm, Quiet, Windows, home_of
from patchrec_cli.strategy_options import option_values

TRAINING = "Training"
Epochs = Annotated[
    int | None, typer.Option("--epochs", metavar="N", min=1, help="Passes over the targets.", rich_help_panel=TRAINING)
]
MaxSteps = Annotated[
    int | None, typer.Option("--max-steps", metavar="N", min=1, help="Stop after N steps.", rich_help_panel=TRAINING)
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="N", min=1, help="Targets per step.", rich_help_panel=TRAINING)
]
LearningRate = Annotated[
    float | None, typer.Option("--learning-rate", help="Peak of the cosine schedule.", rich_help_panel=TRAINING)
]
LoraRank = Annotated[
    int | None,
    typer.Option(
        "--lora-rank",
        metavar="R",
        min=1,
        help="Train LoRA adapters of this rank, not all weights; needs patchrec[peft].",
        rich_help_panel=TRAINING,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Decides order, compression and starting weights of new parts.")]
Resume = Annotated[
    str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped, from its checkpoint.")
]
Force = Annotated[
    bool, typer.Option("--force", help="With --resume: go on although data, tokenizer or versions changed since.")
]


def pretrain(
    ctx: typer.Context,
    *,
    data: Data = None,
    backbone: Backbone = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    lora_rank: LoraRank = None,
    prompt: PromptForm = None,
    windows: Windows = None,
    history_length: HistoryLength = None,
    seed: Seed = 0,
    resume: Resume = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Teach a backbone to read patches (stage 1).

    Every target is seen twice: with its history as text, and with each item compressed with a probability that grows
    from 0 to 1.

    Examples:
        patchrec pretrain --data ml-100k --backbone smollm2-135m --max-steps 200
    """
    from patchrec.operations import train

    output = Output(json, quiet)
    result = train.pretrain(
        data=data,
        backbone=backbone,
        epochs=epochs,
        max_steps=max_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        lora_rank=lora_rank,
        prompt=prompt,
        windows=windows,
        K=history_length,
        seed=seed,
        resume=resume,
        force=force,
        home=home_of(ctx),
        report=output.reporter,
    )
    show_run(plain(result), output)
    output.next_step("patchrec finetune --strategy pft-s --L 5")


def finetune(
    ctx: typer.Context,
    *,
    strategy: Annotated[
        str | None, typer.Option("--strategy", metavar="NAME", help="Strategy; see `patchrec strategies ls`.")
    ] = None,
    data: Data = None,
    backbone: Backbone = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="RUN", help='Start from this run; default: the newest pre-trained; "none": the backbone.'
        ),
    ] = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    lora_rank: LoraRank = None,
    prompt: PromptForm = None,
    windows: Windows = None,
    history_length: HistoryLength = None,
    seed: Seed = 0,
    resume: Resume = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a run or backbone to recommend with a strategy (stage 2).

    Examples:
        patchrec finetune --strategy pft-s --L 5
        patchrec finetune --strategy pft-i --M 5 --from none
    """
    options = option_values(ctx, strategy)
    from patchrec.operations import train

    output = Output(json, quiet)
    result = train.finetune(
        strategy=strategy,
        options=options,
        data=data,
        backbone=backbone,
        start=start,
        epochs=epochs,
        max_steps=max_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        lora_rank=lora_rank,
        prompt=prompt,
        windows=windows,
        K=history_length,
        seed=seed,
        resume=resume,
        force=force,
        home=home_of(ctx),
        report=output.reporter,
    )
    shown = plain(result)
    show_run(shown, output)
    output.next_step(f"patchrec eval {shown['run']}", f"patchrec recommend --user ID --run {shown['run']}")


def show_run(result: dict[str, Any], output: Output) -> None:
    """Print what a training run came to."""
    if not output.emit(result, [result["run"]]):
        print_fields(
            {
                "run": result["run"],
                "label": result["label"],
                "steps": count(result["steps"]),
                "loss": f"{value(result['loss'])} nats a token",
                "time": duration(result["seconds"]),
                "folder": result["folder"],
            }
        )
