"""What the site has beside the pages of docs/: the README as its home, the changelog, and files that pages link to.

mkdocs calls `on_files` and `on_page_markdown`. On the site, a link to a folder of the repository is its text alone.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add what stands outside docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    outside = {target for file in files.documentation_pages() for target in _targets(file.src_uri, file.content_string)}
    for target in sorted(outside):
        if (ROOT / target).is_file() and target not in PAGES and not target.startswith("docs/"):
            files.append(File.generated(config, target, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as the site has them."""

    def rewritten(match: re.Match[str]) -> str:
        image, text, link, anchor = match.groups()
        target = _in_repository(page.file.src_uri, link)
        if target is None:
            return match[0]
        if (ROOT / target).is_dir():
            return text
        on_site = PAGES.get(target, target.removeprefix("docs/"))
        start = posixpath.dirname(page.file.src_uri) or "."
        return f"{image}[{text}]({posixpath.relpath(on_site, start)}{anchor or ''})"

    return LINK.sub(rewritten, markdown)


def _targets(page: str, markdown: str) -> set[str]:
    found = (_in_repository(page, link) for _, _, link, _ in LINK.findall(markdown))
    return {target for target in found if target is not None}


def _in_repository(page: str, link: str) -> str | None:
    """Where a link leads, from the repository's root; None where it is not to a file of it."""
    if re.match(r"[a-z]+:", link):
        return None
    folder = "" if page in PAGES.values() else "docs"
    target = posixpath.normpath(posixpath.join(folder, link))
    return target if (ROOT / target).exists() else None
