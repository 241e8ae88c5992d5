"""What the page at `/` is made of: its files and their policy, completions, and what is read of a history."""

from pathlib import Path

import pytest
from asking import Asker, running

from patchrec.serving.app import make_app
from patchrec.serving.batching import Batcher
from patchrec.serving.completion import complete
from patchrec.serving.page import FILES
from patchrec.serving.served import Served


@pytest.mark.parametrize("path", FILES)
def test_files_are_sent_with_the_policy_that_nothing_from_elsewhere_is_loaded(asker: Asker, path: str) -> None:
    status, text, headers = asker.ask("GET", path)
    assert status == 200
    assert text
    assert headers["content-type"] == FILES[path][1]
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_the_page_holds_no_script_no_style_and_no_address(asker: Asker) -> None:
    page = asker.ask("GET", "/")[1]
    scripts = {path: asker.ask("GET", path)[1] for path in FILES if path.endswith(".js")}
    assert len(scripts) > 1
    assert "<style" not in page
    assert " style=" not in page
    assert "http" not in page
    assert page.count("<script") == page.count('<script type="module" src="/page.js"></script>') == 1
    for markup in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"):
        assert [path for path, script in scripts.items() if markup in script] == []


def test_titles_are_completed_by_their_beginning_then_by_words_then_by_any_part() -> None:
    texts = ["Aliens", "The Alien", "Inalienable", "alien", "Heat"]
    assert complete(texts, " ALIEN", 10) == ["Aliens", "alien", "The Alien", "Inalienable"]
    assert complete(texts, "alien", 1) == ["Aliens"]
    assert complete(texts, "", 2) == ["Aliens", "The Alien"]
    assert complete(texts, ".*", 10) == []


def test_items_and_users_are_completed(asker: Asker) -> None:
    assert asker.ask("GET", "/items?q=c%20st")[1] == {"items": [{"item_id": "i02", "title": "c story"}]}
    assert [item["item_id"] for item in asker.ask("GET", "/items?q=i03")[1]["items"]] == ["i03"]
    assert len(asker.ask("GET", "/items?q=story&limit=7")[1]["items"]) == 7
    assert asker.ask("GET", "/users?q=U1")[1] == {"users": ["u1", "u10", "u11"]}
    for path in ("/items?limit=0", "/users?limit=101", f"/items?q={'a' * 201}"):
        status, found, _ = asker.ask("GET", path)
        assert (status, list(found)) == (422, ["error"])


def test_a_history_is_read_by_the_runs_strategy_first_and_by_all_others(asker: Asker) -> None:
    status, found = asker.post("/readings", {"user": "u3"})
    assert status == 200
    assert [item["item_id"] for item in found["history"]][:2] == ["i03", "i04"]
    assert len(found["history"]) == 14
    own = found["readings"][0]
    assert (own["strategy"], own["is_own"], own["problem"]) == ("pft-s", True, None)
    for one in found["readings"]:
        if one["problem"] is None:
            assert [span["start"] for span in one["spans"]][1:] == [span["stop"] for span in one["spans"]][:-1]
            assert one["spans"][-1]["stop"] == 14
    others = {one["strategy"]: one for one in found["readings"][1:]}
    assert "vanilla" in others
    assert own["num_units"] < others["vanilla"]["num_units"] == 14


def test_a_typed_history_is_read_and_none_is_read_as_nothing(asker: Asker) -> None:
    found = asker.post("/readings", {"history": ["a story", "id:i05"]})[1]
    assert [item["title"] for item in found["history"]] == ["a story", "f story"]
    assert found["readings"][0]["is_own"]
    assert asker.post("/readings", {"history": []})[1]["readings"] == []
    assert asker.post("/readings", {"user": "nobody"})[0] == 404
    assert asker.post("/readings", {})[0] == 400


def test_a_strategy_that_does_not_fit_says_why(asker: Asker) -> None:
    readings = asker.post("/readings", {"history": ["a story", "b story"]})[1]["readings"]
    problems = {one["strategy"]: one["problem"] for one in readings if one["problem"]}
    assert "session-by-time-window" in problems
    assert all(problem and "\n" not in problem for problem in problems.values())


def test_a_run_without_a_strategy_has_no_reading_of_its_own_and_the_page_needs_no_token(made: Path) -> None:
    with running(make_app(Served("popularity-1", home=made), Batcher(), token="sesame")) as asker:
        for path in FILES:
            assert asker.ask("GET", path)[0] == 200
        for path in ("/items", "/users"):
            assert asker.ask("GET", path)[0] == 401
        found = asker.post("/readings", {"user": "u3"}, Authorization="Bearer sesame")[1]
    assert not any(one["is_own"] for one in found["readings"])


@pytest.mark.parametrize("name", ["page.png", "page-two.png"])
def test_the_pictures_in_the_docs_are_small(name: str) -> None:
    picture = Path(__file__).resolve().parents[2] / "docs" / name
    assert picture.stat().st_size < 120_000
