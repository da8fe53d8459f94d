"""Mistakes that only config and data together show are told before the first step."""

import jigstack
import pytest
from jigstack.configs import UserError


def test_a_stage_that_the_backbone_lacks_and_a_thaw_that_comes_too_late_are_told_before_training(make_config):
    config = make_config()
    config["tasks"]["era"]["freeze"] = ["nowhere"]
    config["tasks"]["kind"]["unfreeze"] = {"after": 2, "every": 1}
    with pytest.raises(UserError) as caught:
        jigstack.run(config, quiet=True)
    first, second = str(caught.value).split("\n")
    assert first.startswith("tasks.era.freeze: expected stages of the backbone ['")
    assert "received ['nowhere']" in first
    assert second.startswith("tasks.kind.unfreeze: expected all ") and "within the 2 epochs" in second


def test_heads_first_and_then_everything_runs_whole(make_config):
    config = make_config(pretext=[], stack={})
    for task in config["tasks"].values():
        task |= {"init": "scratch", "unfreeze": {"after": 1}, "schedule": "onecycle", "accumulate": 2}
    result = jigstack.run(config, quiet=True)
    assert len([name for name in result.computed if name.startswith("finetune")]) == 3
