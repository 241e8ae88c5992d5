import json
import subprocess
import sys

from patchrec import plugins
from patchrec.config import StrategyConfig
from patchrec.layout import Grain, Layout
from patchrec.testing import make_history

LIST_AND_PLAN = """
import json
from patchrec import plugins
from patchrec.config import StrategyConfig
from patchrec.testing import make_history
layout = plugins.plan_for(StrategyConfig(name="recency", options={"M": 5})).plan(make_history(12))
print(json.dumps({
    "strategies": list(plugins.strategies()),
    "problems": [str(problem) for problem in plugins.problems()],
    "package": [(plugin.package, plugin.version) for plugin in plugins.plugins() if plugin.name == "recency"],
    "spans": [(span.start, span.stop, span.grain) for span in layout.spans],
}))
"""


def test_another_process_lists_the_installed_example_and_plans_with_it(recency_environment, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIST_AND_PLAN],
        capture_output=True,
        text=True,
        check=True,
        env=recency_environment,
        cwd=tmp_path,
    )
    found = json.loads(done.stdout)
    assert "recency" in found["strategies"]
    assert found["problems"] == []
    assert found["package"] == [["patchrec-recency", "0.1.0"]]
    assert found["spans"] == [[0, 1, "session"], [1, 5, "session"], [5, 7, "session"], [7, 12, "text"]]


def test_no_plugins_hides_the_installed_example(recency_environment, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from patchrec import plugins; print('recency' in plugins.strategies())"],
        capture_output=True,
        text=True,
        check=True,
        env={**recency_environment, plugins.ENVIRONMENT: ""},
        cwd=tmp_path,
    )
    assert done.stdout == "False\n"


def test_the_installed_example_loads_into_this_process(recency_plugin):
    planner = plugins.plan_for(StrategyConfig(name="recency", options={"M": 2, "growth": 3}))
    assert planner.label == "recency M=2 growth=3"
    assert planner.plan(make_history(6)) == Layout.of(
        [(0, 1, Grain.SESSION), (1, 4, Grain.SESSION), (4, 6, Grain.TEXT)]
    )


def test_the_tests_of_the_example_pass(recency_source, recency_environment):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        capture_output=True,
        text=True,
        check=False,
        env={**recency_environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=recency_source,
    )
    assert done.returncode == 0, done.stdout + done.stderr
