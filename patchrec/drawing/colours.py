"""Colours of charts and pages, for light and dark, and the rules that give them to the classes of `svg.py`.

A run's colour and shape go by its number. Neighbours differ in lightness too, so that they stay apart in grey and for
readers who do not tell red from green.
"""

from dataclasses import dataclass

FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, Inter, 'Noto Sans', 'Liberation Sans', 'DejaVu Sans', Arial, "
    "Helvetica, sans-serif"
)


@dataclass(frozen=True, slots=True)
class Theme:
    """One set of colours.

    Attributes:
        ground: Behind all. ink: Text. quiet: Lesser text. grid, base: Lines.
        runs: One for each number of a run.
        page: Colours of the page by name: its own ground, and how each grain of a history is drawn.
    """

    ground: str
    ink: str
    quiet: str
    grid: str
    base: str
    runs: tuple[str, ...]
    page: dict[str, str]


LIGHT = Theme(
    ground="#ffffff",
    ink="#1b1f2a",
    quiet="#5d6678",
    grid="#e8ebf1",
    base="#c6ccd8",
    runs=("#2563d9", "#e06a00", "#0b8a6a", "#c02668", "#7448d6", "#9a7400", "#0e8fa8", "#70788a"),
    page={
        "page": "#f3f5f9",
        "session": "#6d4bd1",
        "session-ground": "#ece7fb",
        "item": "#2f7fd0",
        "text": "#0b6b4f",
        "text-ground": "#e2f4ec",
        "text-edge": "#a9dcc6",
        "next": "#b45309",
        "next-ground": "#fdf0dc",
        "bar": "#dfe7f7",
    },
)
DARK = Theme(
    ground="#171b24",
    ink="#e9ecf3",
    quiet="#a0a9bb",
    grid="#272d3a",
    base="#434c5e",
    runs=("#7aa9ff", "#ffa552", "#4bd3a6", "#ff85b0", "#b79cff", "#e5c34d", "#58cfe6", "#b2bac9"),
    page={
        "page": "#0e1117",
        "session": "#a68bff",
        "session-ground": "#2b2350",
        "item": "#5aa9f5",
        "text": "#8fe3c3",
        "text-ground": "#12352b",
        "text-edge": "#1f5a48",
        "next": "#ffc46b",
        "next-ground": "#3d2c10",
        "bar": "#25334d",
    },
)


def chart_rules(theme: Theme) -> str:
    """Colours of everything that a chart draws."""
    rules = [
        f".ground{{fill:{theme.ground}}}",
        f".title,.label{{fill:{theme.ink}}}.name{{stroke:{theme.ground}}}",
        f".axis,.tick,.note{{fill:{theme.quiet}}}",
        f".grid{{stroke:{theme.grid}}}.base,.mark{{stroke:{theme.base}}}",
        f".zero{{stroke:{theme.quiet}}}.front{{stroke:{theme.quiet}}}",
    ]
    for number, colour in enumerate(theme.runs):
        rules.append(f".c{number} .line,.c{number} .whisker,.c{number} .level{{stroke:{colour}}}")
        rules.append(f".c{number} .dot{{fill:{colour};stroke:{theme.ground}}}.c{number} .name{{fill:{colour}}}")
    return "".join(rules)


CHART_FORMS = (
    f"text{{font-family:{FONT};font-size:13px}}"
    ".title{font-size:18px;font-weight:700}.tick{font-size:12px}.note{font-size:12px}.axis{font-size:12.5px}"
    ".name{font-weight:600;paint-order:stroke;stroke-width:4px;stroke-linejoin:round}"
    ".line{fill:none;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}"
    ".whisker{stroke-width:2;stroke-opacity:.55;stroke-linecap:round}.dot{stroke-width:1.2}"
    ".level{stroke-width:1.6;stroke-dasharray:2 5;stroke-linecap:round}"
    ".front{fill:none;stroke-width:1.4;stroke-dasharray:6 5}.zero{stroke-width:1.4}"
)
"""Sizes and strokes of charts, the same in all themes."""


def file_style(theme: Theme = LIGHT) -> str:
    """The style sheet of a chart in a file of its own."""
    return CHART_FORMS + chart_rules(theme)
