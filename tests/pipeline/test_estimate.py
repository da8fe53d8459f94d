"""What a run will cost; the timed steps themselves are tested with `check`."""

import pytest
from jigstack.configs.load import load_config
from jigstack.pipeline.estimate import COMPILING_PAYS, Estimate, worth_compiling
from jigstack.pipeline.stages import Stages
from jigstack.pipeline.workspace import Workspace

from .conftest import MakeConfig


@pytest.mark.parametrize(("kind", "compiled"), [("tabnet", False), ("tabnet", True), ("mlp", False)])
def test_long_trainings_of_a_tabnet_are_said_to_be_worth_compiling(
    make_table_config: MakeConfig, kind: str, compiled: bool
):
    config = make_table_config(compile=compiled)
    if kind == "mlp":
        config["backbones"] = {"rows": {"kind": "mlp"}}
    stages = Stages(Workspace(load_config(config)))
    trainings = [stage.name for stage in stages if stage.job.stage in ("pretrain", "finetune")]
    assert len(trainings) > 2
    seconds = dict.fromkeys([stage.name for stage in stages], COMPILING_PAYS)
    seconds[trainings[0]] = COMPILING_PAYS - 1
    expected = trainings[1:] if kind == "tabnet" and not compiled else []
    assert worth_compiling(stages, Estimate(seconds, 0, 0)) == expected
