"""Keys of stages: what changes them and what does not."""

from jigstack.configs.load import load_config
from jigstack.pipeline.stages import Stages
from jigstack.pipeline.workspace import Workspace


def keys(config: dict) -> dict[str, str]:
    return {stage.name: stage.key for stage in Stages(Workspace(load_config(config)))}


def test_compiled_training_has_keys_of_its_own_and_eager_training_those_of_before(make_config):
    eager = Stages(Workspace(load_config(make_config())))
    assert all("compile" not in stage.inputs for stage in eager)
    plain = {stage.name: stage.key for stage in eager}
    assert keys(make_config(compile=False)) == plain
    compiled = keys(make_config(compile=True))
    assert all(compiled[name] != key for name, key in plain.items())
