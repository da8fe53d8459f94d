"""Options of the backbones of tables."""

import pytest
from jigstack.configs.table_backbones import Cnn1dOptions, MlpOptions, ResidualMlpOptions, TabnetOptions


def test_only_the_mlp_s_numbers_are_piecewise_unless_asked_for():
    kinds = (MlpOptions, ResidualMlpOptions, Cnn1dOptions, TabnetOptions)
    assert [kind().numbers for kind in kinds] == ["piecewise", "plain", "plain", "plain"]
    assert TabnetOptions(numbers="piecewise").numbers == "piecewise"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (MlpOptions, {"width": 0}),
        (MlpOptions, {"dropout": 1.0}),
        (MlpOptions, {"layers": 3}),
        (ResidualMlpOptions, {"expansion": 0.0}),
        (TabnetOptions, {"gamma": 0.9}),
        (TabnetOptions, {"mask": "softmax"}),
        (TabnetOptions, {"category_width": 0}),
    ],
)
def test_values_out_of_range_are_refused(kind: type[MlpOptions], options: dict):
    with pytest.raises(ValueError, match=next(iter(options))):
        kind.model_validate(options)


@pytest.mark.parametrize("options", [{"hidden": 1000}, {"hidden": 96, "channels": 32}])
def test_the_signal_of_the_cnn_is_long_enough_to_be_pooled_twice(options: dict):
    with pytest.raises(ValueError, match="hidden a multiple of channels and at least 4 times as many"):
        Cnn1dOptions.model_validate(options)
    assert Cnn1dOptions(hidden=128, channels=32).hidden == 128


def test_a_step_of_tabnet_has_a_layer():
    with pytest.raises(ValueError, match="shared or independent above 0"):
        TabnetOptions(shared=0, independent=0)
    assert TabnetOptions(shared=0, independent=1).independent == 1
