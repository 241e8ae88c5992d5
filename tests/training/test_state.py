"""A checkpoint that was written before a setting existed."""

import json

from tiny_training import make_config, make_dataset, make_planners, train

from patchrec.config import TrainingConfig
from patchrec.training.state import differences, read_run


def test_a_checkpoint_from_before_a_setting_counts_as_one_with_its_default(tiny, tmp_path):
    config = make_config(("vanilla", {}), training=TrainingConfig(max_steps=1))
    result = train(config, make_dataset(), tiny, make_planners(config), folder=tmp_path / "run")
    place = result.checkpoint.path / "training.json"
    now = read_run(result.checkpoint.path).identity
    record = json.loads(place.read_text())
    for name in ("gradient_checkpointing", "validate_every", "validation_targets"):
        del record["identity"]["config"]["training"][name]
    for name in ("validations", "best_step", "best_loss"):
        del record["progress"][name]
    place.write_text(json.dumps(record))
    saved = read_run(result.checkpoint.path)
    assert differences(saved.identity, now) == []
    assert (saved.progress.validations, saved.progress.best_step) == (0, None)
