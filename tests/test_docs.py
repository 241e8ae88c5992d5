"""The documentation says what the program does."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from patchrec import errors, hookspecs
from patchrec_cli.app import app
from patchrec_cli.reference import JSON_KEYS, contexts, reference

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = {context.command_path: context for context in contexts(get_command(app), "patchrec")}


def test_the_command_reference_is_up_to_date():
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference(), "run `make docs`"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_its_heading(path):
    assert f"\n## `{path}`\n" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_every_exit_code_is_documented():
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for kind in errors.PatchrecError.__subclasses__():
        assert f"| {kind.exit_code} |" in page


def test_every_command_with_json_has_its_keys_documented():
    with_json = {
        path.removeprefix("patchrec ")
        for path, context in COMMANDS.items()
        if any("--json" in param.opts for param in context.command.get_params(context))
    }
    assert with_json == set(JSON_KEYS)


def test_every_hook_is_documented():
    pages = ("writing-a-strategy.md", "writing-a-recommender.md")
    page = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in pages)
    for hook in vars(hookspecs):
        if hook.startswith("patchrec_"):
            assert hook in page


def shown_commands() -> list[tuple[str, str]]:
    """Every command line that a page shows after a `$`, in a block for a shell, or inside single backticks."""
    found = []
    for page in PAGES:
        if page.name == "cli.md":
            continue
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
        lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
        scripts = re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL)
        lines += [line for script in scripts for line in script.replace("\\\n", " ").splitlines()]
        lines += re.findall(r"`(patchrec [^`\n]+)`", text)
        for line in lines:
            # "a && b" are two commands; what follows a pipe is not ours
            parts = (part.strip() for part in re.split(r"&&|;", line.partition("|")[0]))
            found += [(page.name, part) for part in parts if part.startswith("patchrec ")]
    return found


@pytest.mark.parametrize(("page", "line"), shown_commands())
def test_pages_show_only_commands_and_options_that_exist(page, line):
    words = shlex.split(line, comments=True)
    path = words[0]
    for word in words[1:]:
        if f"{path} {word}" not in COMMANDS:
            break
        path += f" {word}"
    context = COMMANDS[path]
    assert path != "patchrec" or words[1].startswith("-"), f"{page}: no such command: {line}"
    if hasattr(context.command, "commands"):
        assert len(words) == len(path.split()) or path == "patchrec", f"{page}: no such command: {line}"
    params = [*context.command.get_params(context), *COMMANDS["patchrec"].command.params]
    known = {flag for param in params for flag in (*param.opts, *param.secondary_opts)}
    for word in words[len(path.split()) :]:
        if word.startswith("-"):
            assert word.partition("=")[0] in known | {"--help", "-h"}, f"{page}: no such option: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
