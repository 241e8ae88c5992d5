"""The example report and the script that makes it."""

import base64
import hashlib
import random
import re
import runpy
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "report"


def test_the_shop_is_made_up_the_same_every_time():
    made = runpy.run_path(str(EXAMPLE / "make.py"))
    orders = made["orders"](random.Random(7))
    assert orders == made["orders"](random.Random(7))
    assert len({user for user, _, _ in orders}) == made["USERS"]
    assert {item for _, item, _ in orders} <= {item for item, _ in made["products"]()}


def test_the_committed_page_is_whole_and_small_and_allows_its_own_style_sheet():
    text = (EXAMPLE / "report.html").read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src &#39;sha256-{digest}&#39;" in text
    assert text.rstrip().endswith("</html>")
    assert len(text) < 300_000
    assert (EXAMPLE.parents[1] / "docs" / "report.png").stat().st_size < 300_000
