"""`patchrec env` and `patchrec doctor`: what the machine has, and whether it is sound."""

from typing import Any

import typer

from patchrec.errors import CheckFailedError
from patchrec_cli.display import Column, Output, print_fields, print_table
from patchrec_cli.parameters import Json, Quiet, home_of


def env(ctx: typer.Context, json: Json = False, quiet: Quiet = False) -> None:
    """Show versions, machine, store and plugins for a bug report."""
    from patchrec.operations import environment

    output = Output(json, quiet)
    shown = environment.environment(home=home_of(ctx))
    if not output.emit({"environment": shown}, [f"{key} {item}" for key, item in shown["versions"].items()]):
        print_fields(environment_fields(shown))


def doctor(ctx: typer.Context, json: Json = False, quiet: Quiet = False) -> None:
    """Check installation, store, plugins and catalogs.

    Exits with 1 when a check fails, and says what to do.
    """
    from patchrec.operations import environment

    output = Output(json, quiet)
    checks = environment.doctor(home=home_of(ctx))
    failed = [check["name"] for check in checks if not check["ok"]]
    if not output.emit({"ok": not failed, "checks": checks}, failed):
        columns = [Column("check", "name"), Column("", "mark"), Column("found", "detail"), Column("what to do", "fix")]
        print_table(columns, [check | {"mark": _mark(check)} for check in checks])
    if failed:
        raise CheckFailedError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}")


def _mark(check: dict[str, Any]) -> str:
    """A check in one word: what is sound but has something to know of it is a note."""
    if not check["ok"]:
        return "FAILED"
    return "note" if check["fix"] else "ok"


def environment_fields(shown: dict[str, Any]) -> dict[str, object]:
    """The environment as people read it."""
    return {
        "patchrec": shown["patchrec"],
        "python": shown["python"],
        "platform": shown["platform"],
        "processor": f"{shown['cpu']['name']}, {shown['cpu']['threads']} threads",
        "processor features": ", ".join(shown["cpu"]["features"]) or "none of those that matter here",
        "memory": None if shown["memory_gb"] is None else f"{shown['memory_gb']:.1f} GB",
        "gpu": shown["gpu"] or "none",
        "sqlite": f"{shown['sqlite']['version']} ({shown['sqlite']['module']}), journal {shown['sqlite']['journal']}",
        "home": shown["home"],
        "plugins": ", ".join(shown["plugins"]) or "none",
        "versions": ", ".join(f"{name} {version}" for name, version in shown["versions"].items()),
    }
