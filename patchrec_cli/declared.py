"""Options that several commands have, declared once: a command takes them as `**options`, and Typer sees each."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, get_args


def takes(
    options: Mapping[str, Any], first: Collection[str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let Typer see options where a command takes `**options`.

    Args:
        options: Annotation of each, by the name of its parameter; a switch is off, and all else None, where not given.
        first: Parameters of the command that stand before them; None: all do.
    """

    def extended(command: Callable[..., None]) -> Callable[..., None]:
        own = dict(inspect.signature(command).parameters)
        (catch_all,) = [name for name, found in own.items() if found.kind is inspect.Parameter.VAR_KEYWORD]
        del own[catch_all]
        shared = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if get_args(kind)[0] is bool else None,
                annotation=kind,
            )
            for name, kind in options.items()
        ]
        before = [parameter for name, parameter in own.items() if first is None or name in first]
        parameters = [*before, *shared, *(parameter for parameter in own.values() if parameter not in before)]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return extended
