"""Mixup and cutmix: pictures and targets are blended by the same shares, and what is unlabelled stays so."""

from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jigstack.configs.heads import HeadAugment, Mix
from jigstack.configs.schema import Task
from jigstack.datasets.targets import code_target
from jigstack.scoring.losses import LOSSES
from jigstack.training.mix import beta_quantile, blend, mix, rectangles, resolve_mix
from scipy import stats

MIXUP, CUTMIX = Mix(p=1, mixup=0.4, cutmix=0), Mix(p=1, mixup=0, cutmix=1.0)


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(count: int = 8, size: int = 12) -> torch.Tensor:
    """Pictures of one value each, that of their place in the batch."""
    return torch.arange(count, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, size, size).clone()


def places(count: int = 8) -> dict[str, torch.Tensor]:
    """Targets that say which pictures were blended, and how much of each."""
    return {"who": torch.eye(count)}


@pytest.mark.parametrize("options", [MIXUP, CUTMIX, Mix(p=1)])
@pytest.mark.parametrize("seed", range(6))
def test_the_target_is_the_mean_of_the_pixels_that_are_shown(options: Mix, seed: int):
    images, targets = mix(flat(), places(), options, draws(seed))
    shares = targets["who"]  # (B, B)
    torch.testing.assert_close(shares.sum(1), torch.ones(8))
    torch.testing.assert_close(images.mean((1, 2, 3)), shares @ torch.arange(8.0), rtol=1e-4, atol=1e-4)
    assert ((shares > 0).sum(1) <= 2).all()


def test_cutmix_shows_whole_pixels_of_one_rectangle():
    images, targets = mix(flat(), places(), CUTMIX, draws(1))
    for row, picture in enumerate(images[:, 0]):
        other = picture != row
        if other.any():
            lines, columns = other.any(1).nonzero(), other.any(0).nonzero()
            box = other[lines.min() : lines.max() + 1, columns.min() : columns.max() + 1]
            assert box.all()
            assert targets["who"][row, row] == pytest.approx(1 - float(other.double().mean()))


def paper_box(share: float, down: float, right: float, height: int, width: int) -> tuple[slice, slice]:
    """Yun et al. 2019, algorithm A1: sides of √(1 - λ), the centre uniform, cut off at the border."""
    tall, wide = int(height * (1 - share) ** 0.5), int(width * (1 - share) ** 0.5)
    top, left = int(height * down), int(width * right)
    rows = slice(max(0, int(np.floor(top - tall / 2))), max(0, int(np.floor(top + tall / 2))))
    columns = slice(max(0, int(np.floor(left - wide / 2))), max(0, int(np.floor(left + wide / 2))))
    return rows, columns


@pytest.mark.parametrize("seed", range(8))
def test_a_box_is_that_of_the_paper_for_the_same_draws(seed: int):
    share, down, right = torch.rand(3, generator=draws(seed), dtype=torch.float64).tolist()
    inside, true = rectangles(torch.tensor([share]), torch.tensor([[down], [right]]), 40, 30)
    twin = np.zeros((40, 30), bool)
    twin[paper_box(share, down, right, 40, 30)] = True
    assert np.array_equal(inside[0].numpy(), twin)
    assert float(true) == pytest.approx(1 - twin.mean())


@pytest.mark.parametrize("options", [MIXUP, CUTMIX], ids=["mixup", "cutmix"])
@pytest.mark.parametrize("seed", range(4))
def test_a_blend_of_pictures_is_that_of_one_sample_after_the_other_for_the_same_draws(
    options: Mix, seed: int
):
    """Every pixel of the batch has a value of its own, so that what was read from another place shows."""
    count, height, width = 8, 12, 17
    images = torch.arange(count * 3 * height * width).view(count, 3, height, width).float()
    labels = torch.arange(count * 2.0).view(count, 2) ** 2
    labels[::3] = torch.nan
    mixed, targets = mix(images.clone(), places() | {"it": labels}, options, draws(seed))

    same = draws(seed)
    torch.rand(2, generator=same, dtype=torch.float64)  # whether and how
    partners = torch.randperm(count, generator=same).tolist()
    quantiles = torch.rand(count, generator=same, dtype=torch.float64).tolist()
    centres = torch.rand(2, count, generator=same, dtype=torch.float64).T.tolist()
    alpha = options.mixup or options.cutmix
    for one, (other, quantile, (down, right)) in enumerate(zip(partners, quantiles, centres, strict=True)):
        share = float(stats.beta.ppf(quantile, alpha, alpha))
        if options.cutmix:
            twin = images[one].clone()
            rows, columns = paper_box(share, down, right, height, width)
            twin[:, rows, columns] = images[other][:, rows, columns]
            share = 1 - twin[0, rows, columns].numel() / (height * width)
            assert torch.equal(mixed[one], twin)
        else:
            twin = share * images[one] + (1 - share) * images[other]
            torch.testing.assert_close(mixed[one], twin, rtol=1e-5, atol=1e-3)
        who = torch.zeros(count)
        who[one] += share
        who[other] += 1 - share
        torch.testing.assert_close(targets["who"][one], who)
        if bool(labels[one].isnan().any()) or (share < 1 and bool(labels[other].isnan().any())):
            assert targets["it"][one].isnan().all()
        else:
            partner = labels[other].nan_to_num()  # of no share where it is unlabelled
            torch.testing.assert_close(targets["it"][one], share * labels[one] + (1 - share) * partner)
    assert not torch.equal(mixed, images)
    labelled = ~targets["it"].isnan().any(1)
    assert 0 < int(labelled.sum()) < count


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1.0])
def test_shares_are_of_the_beta_distribution(alpha: float):
    uniform = torch.rand(4000, generator=draws(0), dtype=torch.float64)
    assert stats.kstest(beta_quantile(uniform, alpha).numpy(), stats.beta(alpha, alpha).cdf).pvalue > 0.01


@given(share=st.floats(0, 1), first=st.floats(-5, 5), second=st.floats(-5, 5))
def test_a_blend_lies_between(share: float, first: float, second: float):
    one, other = torch.tensor([[first]]), torch.tensor([[second]])
    blended = float(blend(one, other, torch.tensor([share])))
    assert min(first, second) - 1e-5 <= blended <= max(first, second) + 1e-5


def test_an_unlabelled_partner_masks_the_blend_unless_its_share_is_nothing():
    labelled, missing = torch.tensor([[1.0, 2.0]] * 4), torch.tensor([[3.0, torch.nan]] * 4)
    shares = torch.tensor([1.0, 0.5, 0.0, 0.5])
    blended = blend(labelled, missing, shares)
    assert blended[0].tolist() == [1.0, 2.0]
    assert blended[1, 0] == 2.0
    assert blended[1:, 1].isnan().all()
    assert blend(missing, labelled, shares)[0].isnan().tolist() == [False, True]


FRAME = pd.DataFrame(
    {
        "height": [1.0, None, 3.0, 7.0, 2.0, 5.0],
        "style": ["a", "b", None, "c", "a", "b"],
        "made": ["1900", "1910-06", "1950", None, "1890-01-02", "2000"],
        "names": ["x y", "y z", None, "z", "x", "y"],
    },
    index=pd.Index(list("abcdef"), name="id"),
)


@pytest.mark.parametrize("options", [MIXUP, CUTMIX], ids=["mixup", "cutmix"])
@pytest.mark.parametrize(
    ("kind", "column"),
    [("regression", "height"), ("onehot", "style"), ("date", "made"), ("word2vec", "names")],
)
def test_targets_of_every_kind_are_blended_and_the_masked_ones_stay_masked(
    kind: Literal["regression", "onehot", "date", "word2vec"], column: str, options: Mix
):
    head = {"vector_size": 4, "epochs": 5} if kind == "word2vec" else {}
    target = code_target(column, Task(kind=kind, columns=[column], options=head), FRAME).fit(FRAME)
    encoded = torch.from_numpy(target.encode(FRAME))
    missing = torch.from_numpy(FRAME[column].isna().to_numpy(copy=True))
    assert torch.equal(encoded.isnan().any(1), missing)
    for seed in range(8):
        given = {"it": encoded, "who": torch.eye(6)}
        mixed = mix(flat(6), given, options, draws(seed))[1]
        expected = mixed["who"] @ encoded.nan_to_num()
        masked = (mixed["who"] @ missing.float()) > 0
        torch.testing.assert_close(mixed["it"][~masked], expected[~masked])
        assert mixed["it"][masked].isnan().all()
        losses = LOSSES[target.loss](torch.ones_like(encoded), mixed["it"].nan_to_num())
        assert losses.isfinite().all()


def test_a_share_of_the_batches_is_mixed_and_each_way_has_half_of_them():
    ways = {"left": 0, "mixup": 0, "cutmix": 0}
    for seed in range(400):
        images, _ = mix(flat(4, 8), {}, Mix(p=0.6), draws(seed))
        constant = torch.equal(images.amin((1, 2, 3)), images.amax((1, 2, 3)))
        ways["left" if torch.equal(images, flat(4, 8)) else "mixup" if constant else "cutmix"] += 1
    assert ways["left"] / 400 == pytest.approx(0.4, abs=0.12)  # some blends show one picture only
    assert ways["mixup"] / 400 == pytest.approx(0.3, abs=0.1)
    assert ways["cutmix"] / 400 == pytest.approx(0.3, abs=0.1)


def test_a_batch_that_is_not_mixed_is_the_same_and_costs_the_same_draws():
    one, other = draws(5), draws(5)
    images, targets = mix(flat(), places(), Mix(p=0), one)
    assert torch.equal(images, flat())
    assert torch.equal(targets["who"], torch.eye(8))
    mix(flat(), places(), MIXUP, other)
    assert torch.equal(one.get_state(), other.get_state())


@pytest.mark.parametrize(
    ("init", "epochs", "setting", "on"),
    [
        ("scratch", 100, "auto", True),
        ("scratch", 99, "auto", False),
        ("jig", 300, "auto", False),
        ("scratch", 300, None, False),
        ("jig", 3, Mix(), True),
    ],
)
def test_auto_mixes_long_training_from_scratch(init: str, epochs: int, setting: object, on: bool):
    augment = HeadAugment(mix=setting)  # pyright: ignore[reportArgumentType]
    task = Task(kind="regression", columns=["y"], init=init, epochs=epochs, augment=augment)
    assert (resolve_mix(task) is not None) == on


def test_options_that_would_mix_nothing_are_refused():
    with pytest.raises(ValueError, match="mixup or cutmix above 0"):
        Mix(mixup=0, cutmix=0)


def test_shares_of_a_long_run_average_to_the_middle():
    totals = [
        float(mix(flat(), places(), MIXUP, draws(seed))[1]["who"].diagonal().mean()) for seed in range(60)
    ]
    assert np.mean(totals) == pytest.approx(0.5 + 0.5 / 8, abs=0.06)  # one in eight is its own partner
