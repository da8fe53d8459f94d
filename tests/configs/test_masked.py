"""Options of the pretext that hides cells of a table."""

import pytest
from jigstack.configs.masked import MaskedOptions


def test_it_asks_for_adamw_and_no_sparsity_as_the_paper_names_none():
    assert MaskedOptions.optimiser == "adamw"
    assert MaskedOptions().sparsity == 0.0


@pytest.mark.parametrize(
    "options",
    [{"ratio": 0.0}, {"ratio": 1.0}, {"steps": 0}, {"width": 0}, {"virtual_batch": 1}, {"mode": "paper"}],
)
def test_options_out_of_range_and_unknown_ones_are_refused(options: dict):
    with pytest.raises(ValueError):
        MaskedOptions.model_validate(options)


def test_the_decoder_of_pytorch_tabnet_has_the_steps_and_width_of_the_encoder():
    MaskedOptions.model_validate(MaskedOptions(mode="pytorch-tabnet").model_dump())
    for option in ({"steps": 2}, {"width": 8}, {"sparsity": 0.1}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} left out with mode: pytorch-tabnet"):
            MaskedOptions.model_validate({"mode": "pytorch-tabnet"} | option)


def test_auto_is_three_steps_of_64():
    assert (MaskedOptions().decoder_steps, MaskedOptions().decoder_width) == (3, 64)
    assert (MaskedOptions(steps=5).decoder_steps, MaskedOptions(width=8).decoder_width) == (5, 8)
