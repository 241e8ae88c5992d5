"""What `pip install` of a wheel gives: built from the tree and from the sdist, run apart from the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples" / "shop"

pytestmark = pytest.mark.real


def ran(words, **more) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist and the wheel."""
    pytest.importorskip("hatchling", reason="building needs hatchling: pip install -e '.[test]'")
    out = tmp_path_factory.mktemp("built")
    ran([sys.executable, "-m", "hatchling", "build", "-d", out], cwd=ROOT)
    return out


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory) -> Path:
    """A virtual environment with the wheel; what it depends on comes from this one."""
    folder = tmp_path_factory.mktemp("package") / "venv"
    ran([sys.executable, "-m", "venv", "--without-pip", folder])
    site = Path(
        ran([folder / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    )
    # After its own packages. An editable install of the checkout is a .pth file there, and counts in site folders only
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    (wheel,) = built.glob("*.whl")
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    ran([sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", *options, wheel])
    return folder


def test_wheel_and_sdist_hold_the_package_and_its_licence(built):
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"patchrec", "patchrec_cli", "patchrec_strategies"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "patchrec/py.typed" in names
    with tarfile.open(sdist) as packed:
        held = {name.partition("/")[2] for name in packed.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "constraints.txt", "mkdocs.yml"} <= held


def test_the_sdist_builds_the_same_wheel(built, tmp_path):
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    ran([sys.executable, "-m", "pip", "wheel", *options, "-w", tmp_path, sdist])
    (again,) = tmp_path.glob("*.whl")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_the_installed_program_goes_from_files_to_recommendations(environment, tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PATCHREC"))}
    more = {"env": kept | {"PATCHREC_HOME": str(tmp_path / "home")}, "cwd": tmp_path}

    def patchrec(*words) -> str:
        return ran([environment / "bin" / "patchrec", *words], **more)

    where = ran([environment / "bin" / "python", "-c", "import patchrec; print(patchrec.__file__)"], **more)
    assert Path(where.strip()).is_relative_to(environment)
    assert patchrec("--version").strip()
    checks = {check["name"]: check["ok"] for check in json.loads(patchrec("doctor", "--json"))["checks"]}
    assert checks["torch"]
    assert checks["store"]
    names = {one["name"] for one in json.loads(patchrec("strategies", "ls", "--json"))["strategies"]}
    assert {"vanilla", "pft-s", "budget"} <= names
    patchrec("data", "add", "shop", SHOP / "orders.csv", SHOP / "products.csv", "-q")
    patchrec("baseline", "popularity", "--data", "shop", "-q")
    found = json.loads(patchrec("recommend", "--data", "shop", "--user", "Ada", "--k", "3", "--json"))
    assert found
