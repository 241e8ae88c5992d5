"""The page's files, and the policy that they are sent with: nothing is loaded from elsewhere, no text becomes code."""

from functools import cache
from pathlib import Path

from patchrec.drawing.page import style_sheet

_FOLDER = Path(__file__).parent
_SCRIPTS = ("page", "asking", "completing", "drawing", "tabs", "two")
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in _SCRIPTS},
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""What is sent at each path: the file and its type."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@cache
def content(path: str) -> str:
    """What is sent at a path; the style sheet is that of reports, with the page's own rules after it."""
    name, _ = FILES[path]
    text = (_FOLDER / name).read_text(encoding="utf-8")
    return style_sheet() + text if name == "page.css" else text
