"""Packages that only pictures need, and what is said where one is missing."""

from importlib import import_module
from typing import Any

from patchrec.errors import UsageError


def needed(module: str, purpose: str) -> Any:
    """Import a module of the extra `report`.

    Raises:
        UsageError: It is not there; the message says how it comes.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.replace("_", "-")
        raise UsageError(f'{purpose} needs the package {name}: pip install "patchrec[report]"') from error
