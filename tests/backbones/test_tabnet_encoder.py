"""The parts of the encoder that pytorch-tabnet does not have, and the promises of its options; see test_tabnet_peer."""

import copy
import math
from typing import Any

import pytest
import torch
from jigstack.backbones.folding import batch_norms
from jigstack.backbones.tabnet_encoder import Encoded, TabNetEncoder
from torch import Tensor

SLOTS = [0, 1, 1, 1, 2]


def encoder(**options: Any) -> TabNetEncoder:
    torch.manual_seed(0)
    return TabNetEncoder(SLOTS, **{"n_d": 4, "n_a": 3, "virtual_batch": 16, **options})


def rows(count: int = 40) -> Tensor:
    return torch.randn(count, len(SLOTS), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mask", ["sparsemax", "entmax"])
def test_each_mask_is_a_distribution_over_the_columns(mask: str):
    encoded = encoder(mask=mask)(rows())
    assert [tuple(m.shape) for m in encoded.masks] == [(40, 3)] * 3
    for m in encoded.masks:
        assert bool((m >= 0).all())
        torch.testing.assert_close(m.sum(1), torch.ones(40))


def test_the_features_are_the_sum_of_the_rectified_steps():
    encoded = encoder()(rows())
    assert [tuple(step.shape) for step in encoded.steps] == [(40, 4)] * 3
    expected = sum((step.clamp(min=0) for step in encoded.steps), torch.zeros(40, 4))
    torch.testing.assert_close(encoded.features, expected)


def test_the_sparsity_is_the_mean_entropy_of_the_masks():
    even, sure = torch.full((2, 4), 0.25), torch.eye(4)[:2]
    step = torch.zeros(2, 1)
    assert Encoded((step,), (even,), 1e-15).sparsity.item() == pytest.approx(math.log(4))
    assert Encoded((step,), (sure,), 1e-15).sparsity.item() == pytest.approx(0)
    assert Encoded((step, step), (even, sure), 1e-15).sparsity.item() == pytest.approx(math.log(4) / 2)


def test_the_sparsity_has_a_finite_gradient_where_masks_are_0():
    network = encoder()
    encoded = network(rows())
    assert any(bool((m == 0).any()) for m in encoded.masks)
    encoded.sparsity.backward()
    gradients = [p.grad for p in network.attentions.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)


def test_importance_weighs_the_masks_by_what_their_step_adds():
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    encoded = Encoded((torch.tensor([[3.0, -5.0]]), torch.tensor([[0.5, 0.5]])), (first, second), 1e-15)
    torch.testing.assert_close(encoded.importance, torch.tensor([[0.75, 0.25]]))


def test_importance_of_a_row_that_no_step_adds_to_is_the_mean_of_its_masks():
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    encoded = Encoded((torch.tensor([[-1.0]]), torch.tensor([[-2.0]])), (first, second), 1e-15)
    assert encoded.importance.tolist() == [[0.5, 0.5]]


def test_a_column_of_several_features_counts_the_same_or_in_even_parts():
    """`scale` is a factor of the attention: with 1/3 the column's features are a third of what they were."""
    whole, even = encoder(n_steps=1), encoder(n_steps=1, scale=[1.0, 1 / 3, 1 / 3, 1 / 3, 1.0])
    even.load_state_dict(whole.state_dict())
    x = rows()
    seen: dict[str, Tensor] = {}

    def watch(name: str, network: TabNetEncoder) -> None:
        def look(_: Any, inputs: tuple[Tensor, Any]) -> None:
            seen[name] = inputs[0]

        network.transformers[0].register_forward_pre_hook(look)
        network.eval()(x)

    watch("whole", whole)
    watch("even", even)
    mask = whole(x).masks[0]
    torch.testing.assert_close(seen["whole"], mask[:, SLOTS] * x)
    torch.testing.assert_close(seen["even"], seen["whole"] * torch.tensor([1.0, 1 / 3, 1 / 3, 1 / 3, 1.0]))


@pytest.mark.parametrize("gamma", [1.0, 1.3])
def test_with_gamma_1_a_column_that_was_used_fully_has_no_prior_left(gamma: float):
    """A large prior draws all attention of the rows whose logit is positive to one column."""
    prior = torch.tensor([[0.0, 1e4, 0.0]]).repeat(40, 1)
    first, second, _ = encoder(gamma=gamma)(rows(), prior).masks
    used = first[:, 1] == 1
    assert used.any() and not used.all()
    even = torch.isclose(second[used], torch.tensor(1 / 3)).all(1)
    assert bool(even.all()) is (gamma == 1.0)


def test_a_prior_of_0_forbids_a_column_only_if_asked():
    prior = torch.ones(400, 3)
    prior[:, 1] = 0
    x = rows(400)
    allowed, forbidden = encoder()(x, prior), encoder(forbid_masked=True)(x, prior)
    assert all(bool((m[:, 1] > 0).any()) for m in allowed.masks)
    assert not any(bool(m[:, 1].any()) for m in forbidden.masks)


@pytest.mark.parametrize("mask", ["sparsemax", "entmax"])
def test_rows_with_every_cell_hidden_stay_finite_in_both_directions(mask: str):
    network = encoder(forbid_masked=True, mask=mask)
    prior = torch.ones(40, 3)
    prior[:5] = 0
    encoded = network(rows(), prior)
    torch.testing.assert_close(encoded.masks[0][:5], torch.full((5, 3), 1 / 3))
    (encoded.features.sum() + encoded.sparsity).backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in network.parameters())


def test_steps_share_weights_but_no_statistics():
    network = encoder(n_shared=1, n_independent=1)
    before = {name: value.clone() for name, value in network.state_dict().items() if "running_mean" in name}
    network(rows())
    moved = [name for name, value in before.items() if not torch.equal(value, network.state_dict()[name])]
    assert len(network.shared) == 1
    # Two norms in each of four transformers, and one in each of three attentions.
    assert len(moved) == len(before) == 2 * 4 + 3


@pytest.mark.parametrize("count", [1, 2, 17, 33])
def test_batches_of_any_size_train(count: int):
    """pytorch-tabnet raises for 1, and for 17 and 33 by virtual batches of 16 where a single row is left."""
    network = encoder(initial_norm=True)
    encoded = network(rows(count))
    (encoded.features.sum() + encoded.sparsity).backward()
    assert bool(encoded.features.isfinite().all())


def test_rows_do_not_influence_each_other_in_evaluation():
    network = encoder(initial_norm=True)
    network(rows())
    network.eval()
    together = network(rows()).features
    alone = torch.cat([network(row[None]).features for row in rows()])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_half_precision_stays_near():
    network = encoder().eval()
    exact = network(rows()).features
    with torch.autocast("cpu", torch.bfloat16):
        low = network(rows()).features
    assert low.dtype is torch.float32
    assert bool(low.isfinite().all())
    assert torch.cosine_similarity(low.flatten(), exact.flatten(), 0) > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_d": 0}, "n_d: expected 1 or more, received 0"),
        ({"n_steps": 0}, "n_steps: expected 1 or more, received 0"),
        ({"n_shared": 0, "n_independent": 0}, r"n_shared \+ n_independent: expected 1 or more, received 0"),
        ({"n_shared": -1}, "n_shared, n_independent: expected 0 or more, received -1 and 2"),
        ({"gamma": 0.9}, "gamma: expected 1 or more, received 0.9"),
        ({"mask": "softmax"}, "mask: expected one of sparsemax, entmax, received 'softmax'"),
        ({"virtual_batch": 1}, "virtual_batch: expected 2 rows or more"),
        ({"scale": [1.0]}, "scale: expected one for each of the 5 slots, received 1"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        encoder(**options)


@pytest.mark.parametrize("slots", [[], [0, 2], [-1, 0], [[0, 1]]])
def test_slots_that_leave_a_column_out_are_refused(slots: list[Any]):
    with pytest.raises(ValueError, match="slots: expected the column 0 to D - 1 of each feature"):
        TabNetEncoder(torch.tensor(slots, dtype=torch.long))


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"features: expected \(B, 5\), received \(2, 3\)"):
        encoder()(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"prior: expected \(2, 3\), one for each column, received \(2, 5\)"):
        encoder()(torch.zeros(2, 5), torch.ones(2, 5))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_d": 2, "n_a": 5, "initial_norm": True},
        {"n_shared": 0, "n_independent": 1, "n_steps": 1},
        {"n_shared": 1, "n_independent": 0},
        {"mask": "entmax", "forbid_masked": True, "scale": [1.0, 0.5, 0.5, 0.5, 1.0]},
    ],
)
def test_folded_it_gives_the_same_steps_masks_and_sparsity_and_computes_no_norm_of_a_layer(options: Any):
    torch.manual_seed(0)
    prior = (torch.rand(40, 3) < 0.7).double()
    network = encoder(**options).double()
    for _ in range(3):
        network(rows().double(), prior)
    expected = network.eval()(rows().double(), prior)
    folded = copy.deepcopy(network)
    with torch.no_grad():
        folded.fold_norms()
        found = folded(rows().double(), prior)
    left = [name for name in batch_norms(folded) if not name.startswith("attentions.")]
    assert left == (["initial_norm"] if "initial_norm" in options else [])
    torch.testing.assert_close(found.steps, expected.steps, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.masks, expected.masks, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.sparsity, expected.sparsity, rtol=0, atol=1e-12)


def test_folded_it_leaves_out_what_nothing_reads():
    network = encoder().eval()
    with torch.no_grad():
        network.fold_norms()
    shapes = [tuple(t.own[-1].weight.shape) for t in [network.splitter, *network.transformers]]  # pyright: ignore
    assert shapes == [(6, 7), (14, 7), (14, 7), (8, 7)]
    assert not network.shared
