"""A report as one HTML file: no script, no request, every text escaped, and a policy that would stop both.

The policy allows one style sheet, by its hash, and nothing else: whatever slipped through would neither run nor load.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from patchrec.drawing.colours import CHART_FORMS, DARK, LIGHT, chart_rules
from patchrec.drawing.text import possible

TEMPLATES = Path(__file__).parent / "templates"


def page(content: Mapping[str, Any]) -> str:
    """Fill the report's template.

    Args:
        content: What `patchrec.operations.report` gathers; charts in it are `Markup`, all else is text.
    """
    style = style_sheet()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return _environment().get_template("report.html.j2").render(policy=policy, style=Markup(style), **content)  # noqa: S704


@cache
def style_sheet() -> str:
    """The page's style sheet: forms, then colours for light, for dark screens and for paper."""
    forms = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    light = _variables(LIGHT) + chart_rules(LIGHT)
    dark = _variables(DARK) + chart_rules(DARK)
    return f"{light}{CHART_FORMS}{forms}@media screen and (prefers-color-scheme:dark){{{dark}}}\n"


def _variables(theme: Any) -> str:
    runs = "".join(f".key.c{number}{{background:{colour}}}" for number, colour in enumerate(theme.runs))
    named = {"ground": theme.ground, "ink": theme.ink, "quiet": theme.quiet, "grid": theme.grid, "base": theme.base}
    named |= theme.page
    return ":root{" + "".join(f"--{name}:{value};" for name, value in named.items()) + "}" + runs


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_final,
    )
    environment.filters |= {
        "amount": amount,
        "percent": percent,
        "milliseconds": milliseconds,
        "decimals": decimals,
        "interval": interval,
    }
    return environment


def _final(value: Any) -> Any:
    """What an expression of the template shows."""
    return value if isinstance(value, Markup) else "" if value is None else possible(value)


def interval(difference: Mapping[str, Any]) -> dict[str, Any]:
    """A paired difference as a value with its interval; ends that are no numbers are none."""
    low, high = difference["low"], difference["high"]
    known = isfinite(low) and isfinite(high)
    return {"value": difference["difference"], "low": low if known else None, "high": high if known else None}


def decimals(value: float | None, number: int = 3) -> str:
    """A number with so many decimals; a dash for none. A minus sign is one, not a hyphen."""
    return "–" if value is None else f"{value:,.{number}f}".replace("-", "−")


def percent(probability: float | None) -> str:
    """A probability: "12.4 %", "0.03 %", "< 0.01 %"."""
    if probability is None:
        return ""
    if probability < 1e-4:
        return "< 0.01 %"
    return f"{probability:.1%}".replace("%", " %") if probability >= 0.01 else f"{probability:.2%}".replace("%", " %")


def milliseconds(seconds: float | None) -> str:
    """Seconds as milliseconds."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:,.0f}" if seconds >= 0.01 else f"{seconds * 1000:.2g}"


def amount(value: float | None) -> str:
    """A large number in words: "1.2 G", "340 M", "38"."""
    if value is None:
        return "–"
    for size, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g}"
