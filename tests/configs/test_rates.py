"""What learning rate and weight decay `auto` means."""

import pytest
from jigstack.configs.rates import ADAMW, shares, suited
from jigstack.configs.registry import TABLE_BACKBONES
from jigstack.configs.schema import Pretext, Task


def task(**changes: object) -> Task:
    return Task.model_validate({"kind": "onehot", "columns": ["gas"]} | changes)


def test_every_kind_of_backbone_has_its_rate():
    assert set(ADAMW) == {"timm", *TABLE_BACKBONES}


def test_a_tabnet_learns_as_in_its_paper_and_pictures_as_before():
    assert suited("adamw", "tabnet", 64) == (0.02, 0.0)
    assert suited("adamw", "timm", 64) == (1e-3, 0.05)
    assert suited("adamw", "mlp", 64) == (3e-3, 0.05)


def test_the_rate_of_sgd_follows_the_batch_and_no_backbone():
    pretext = Pretext(name="pre", kind="masked", batch=128, accumulate=4)
    assert pretext.rates("sgd", "tabnet") == pretext.rates("sgd", "timm") == (pytest.approx(0.1), 1e-4)


def test_rates_left_out_are_auto_and_one_that_is_given_stays():
    assert task().lr == task().weight_decay == "auto"
    assert task().rates(kind="tabnet") == ADAMW["tabnet"]
    assert task(lr=3e-4).rates(kind="tabnet") == (3e-4, 0.0)
    assert task(weight_decay=0.1).rates() == (1e-3, 0.1)


def test_joined_backbones_share_the_smallest_rate_in_the_ratio_of_their_own():
    kinds = ["timm", "tabnet", "mlp"]
    rate, decay = suited("adamw", kinds, 64)
    assert (rate, decay) == (min(ADAMW[kind][0] for kind in kinds), max(ADAMW[kind][1] for kind in kinds))
    for kind, (faster, decays) in zip(kinds, shares(kinds), strict=True):
        assert (rate * faster, decay * decays) == pytest.approx(ADAMW[kind])
