"""A third party's strategy, installed from its own package, goes through the whole job like a built-in."""

import json
from pathlib import Path

import warm

TRAIN = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from made_up_data import walkers
from patchrec.operations.evaluate import evaluate
from patchrec.operations.training.train import finetune
from patchrec.store import Store
home = Path(sys.argv[1])
with Store.open(home) as store:
    store.datasets.add(walkers(), source="made up", licence="none", split={"rule": "ratio"})
run = finetune(
    strategy="recency", options={"M": 2}, data="walkers", backbone="tiny-random", max_steps=2, batch_size=20, home=home
)
print(json.dumps([run.label, run.steps, evaluate(run.run, limit=4, home=home).num_targets]))
"""


def test_the_installed_example_is_fine_tuned_with_and_evaluated(recency_environment, tmp_path: Path):
    words = ["-c", TRAIN, str(tmp_path / "home"), str(Path(__file__).parents[1])]
    done = warm.run(words, env=recency_environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["recency M=2 growth=2", 2, 4]
