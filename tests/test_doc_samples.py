"""Every Python sample of the pages runs: the blocks of a page in order, in one namespace, in a store with tiny data."""

import ast
import importlib.util
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from made_up_data import LETTERS, walk

from patchrec.data.histories import Dataset
from patchrec.operations.training.train import baseline, finetune
from patchrec.store import Store

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = frozenset({"recbole", "rectools", "pandas"})  # what samples of other programs import; those are compiled alone


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def imported(code: str) -> set[str]:
    """The packages that a sample imports."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


WITH_SAMPLES = [page for page in PAGES if blocks(page)]


def films() -> Dataset:
    """Films, and users of whom one is called 42."""
    titles = [f"Film {letter}" for letter in LETTERS]
    return walk(
        "films", titles, first_year=1985, item_id="k-{}", user_id="{}", first_user=40, held_out=1, noun="film",
        verb="watched",
    )  # fmt: skip


@pytest.fixture(scope="module")
def shown_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with what the pages speak of: a data set, `pft-s-1` and `popularity-1`."""
    home = tmp_path_factory.mktemp("samples") / "home"
    with Store.open(home) as store:
        store.datasets.add(films(), source="made up", licence="none", split={"rule": "leave-one-out"})
    baseline("popularity", data="films", home=home)
    finetune(
        strategy="pft-s", options={"L": 5}, start="none", backbone="tiny-random", max_steps=1, batch_size=4, home=home
    )
    return home


@pytest.fixture
def place(tmp_path: Path, shown_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with a copy of that store and the files that the pages name, to be in."""
    # run folders are noted relative to the store, so a copy is whole
    shutil.copytree(shown_store, tmp_path / "home")
    (tmp_path / "orders.csv").write_text(
        "customer;item_id;timestamp\n"
        + "".join(f"{u};{(u + s) % 6};{s * 86_400 + 900_000_000}\n" for u in range(4) for s in range(8)),
        encoding="utf-8",
    )
    (tmp_path / "today.csv").write_text("customer;item_id;timestamp\n0;5;950000000\n42;1;950000100\n", encoding="utf-8")
    (tmp_path / "products.csv").write_text(
        "item_id;title;year\n" + "".join(f"{n};Thing {n};{2000 + n}\n" for n in range(6)), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHREC_HOME", str(tmp_path / "home"))
    for example in (ROOT / "examples").iterdir():
        if (example / "pyproject.toml").exists():
            monkeypatch.syspath_prepend(str(example))
    return tmp_path


@pytest.mark.parametrize("page", WITH_SAMPLES, ids=lambda page: page.name)
def test_the_samples_of_a_page_run(page, place, monkeypatch):
    # a module, since classes of options look their annotations up in the module that they are of
    name = f"sample_{page.stem.replace('-', '_')}"
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, None))
    monkeypatch.setitem(sys.modules, name, module)
    for number, code in enumerate(blocks(page), start=1):
        program = compile(code, f"{page.name}, block {number}", "exec")
        if imported(code) & OTHERS:
            continue
        if "polars" in imported(code):
            pytest.importorskip("polars")
        exec(program, vars(module))


def test_the_example_of_the_python_interface_runs(tmp_path, capfd):
    pytest.importorskip("polars")
    main = runpy.run_path(str(ROOT / "examples" / "python_api.py"))["main"]
    found = main(tmp_path / "home")
    assert found["user_id"].to_list() == ["user 0", "user 0", "user 1", "user 1"]
    assert found["rank"].to_list() == [1, 2, 1, 2]
    assert "after Thing 3: ['Thing 4'" in capfd.readouterr().out
    assert (tmp_path / "home" / "store.db").exists()
