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
