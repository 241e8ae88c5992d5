"""Charts as PNG, through resvg: the same picture as the SVG, and the same on every machine with the same fonts."""

from patchrec.drawing.colours import FONT
from patchrec.drawing.extra import needed
from patchrec.errors import UsageError

ZOOM = 2.0  # pixels for each unit of the picture: sharp on dense screens and on paper


def png(svg: str) -> bytes:
    """Render an SVG document.

    Raises:
        UsageError: resvg is not installed, or the machine has no font to write with.
    """
    render = needed("resvg_py", "PNG").svg_to_bytes
    empty, letter = (f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">{text}</svg>' for text in TRIAL)
    if render(svg_string=empty) == render(svg_string=letter):
        raise UsageError(
            "no font is installed, so a PNG would have no text: install one, such as the Debian package "
            "fonts-dejavu-core, or write .svg"
        )
    drawn: bytes = render(svg_string=svg, zoom=ZOOM)
    return drawn


TRIAL = ("", f'<text x="4" y="30" font-size="30" font-family="{FONT}">M</text>')
