"""The loss of cells, against torch's cross-entropy column by column and against what is known of the columns."""

import math

import pytest
import torch
import torch.nn.functional as F
from jigstack.datasets.table_column import FIRST_LEVEL, MASKED, MISSING, UNKNOWN, TableColumn
from jigstack.pretext.cell_loss import CellLoss, CellLosses, segment_sums, sums_one_by_one
from torch import Tensor

COLUMNS = (
    TableColumn("height"),
    TableColumn("colour", kind="category", levels=("red", "green", "blue"), shares=(0.5, 0.25, 0.25)),
    TableColumn("weight"),
    TableColumn("rare", kind="category", levels=("no", "yes"), shares=(0.875, 0.125)),
)
ROWS = 8


def rows() -> Tensor:
    """Eight rows whose numbers have mean 0 and variance 1 and whose levels stand as often as `shares` says."""
    height = torch.tensor([1.0, -1.0]).repeat(4)
    colour = FIRST_LEVEL + torch.tensor([0.0, 0, 0, 0, 1, 1, 2, 2])
    weight = torch.tensor([math.sqrt(7), *[-1 / math.sqrt(7)] * 7])  # one row stands out, as in a rare binary
    rare = FIRST_LEVEL + torch.tensor([0.0, 0, 1, 0, 0, 0, 0, 0])
    return torch.stack([height, colour, weight, rare], 1)


def knowing_the_columns_only(count: int) -> tuple[Tensor, Tensor]:
    shares = torch.tensor([share for column in COLUMNS for share in column.shares])
    return torch.zeros(count, 2), shares.log().expand(count, -1)


def everything(values: Tensor) -> Tensor:
    return torch.ones(values.shape, dtype=torch.bool)


def compare(values: Tensor, masked: Tensor | None = None) -> CellLosses:
    numbers, levels = knowing_the_columns_only(len(values))
    return CellLoss(COLUMNS)(numbers, levels, values, everything(values) if masked is None else masked)


def test_means_and_shares_cost_exactly_1_in_every_column():
    """A rare value costs no more than others: pytorch-tabnet's loss was 16.7 in such a batch."""
    cells = compare(rows())
    torch.testing.assert_close(cells.numbers.mean(0), torch.ones(2))
    torch.testing.assert_close(cells.levels.mean(0), torch.ones(2))
    torch.testing.assert_close(cells.mean, torch.tensor(1.0))


def test_categories_cost_what_torch_s_cross_entropy_says_over_their_entropy():
    torch.manual_seed(0)
    levels = 30 * torch.randn(ROWS, 5)
    cells = CellLoss(COLUMNS)(torch.zeros(ROWS, 2), levels, rows(), everything(rows()))
    for j, (column, logits) in enumerate(((1, levels[:, :3]), (3, levels[:, 3:]))):
        truth = (rows()[:, column] - FIRST_LEVEL).long()
        expected = F.cross_entropy(logits, truth, reduction="none") / COLUMNS[column].entropy
        torch.testing.assert_close(cells.levels[:, j], expected)


def test_gradients_are_those_of_torch_s_cross_entropy_in_double_precision():
    torch.manual_seed(0)
    levels = torch.randn(ROWS, 5, dtype=torch.float64, requires_grad=True)
    cell_loss = CellLoss(COLUMNS)
    ours = cell_loss(
        torch.zeros(ROWS, 2, dtype=torch.float64), levels, rows(), everything(rows())
    ).levels.sum()
    (gradient,) = torch.autograd.grad(ours, levels)
    theirs = torch.stack(
        [
            F.cross_entropy(logits, (rows()[:, j] - FIRST_LEVEL).long(), reduction="sum") / COLUMNS[j].entropy
            for j, logits in ((1, levels[:, :3]), (3, levels[:, 3:]))
        ]
    ).sum()
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs, levels)[0], atol=1e-6, rtol=1e-6)


def test_logits_far_apart_between_columns_neither_overflow_nor_vanish():
    levels = torch.tensor([[900.0, 900.0, 900.0, -900.0, -900.0]])
    cells = CellLoss(COLUMNS)(torch.zeros(1, 2), levels, rows()[:1], everything(rows()[:1]))
    expected = [math.log(3) / COLUMNS[1].entropy, math.log(2) / COLUMNS[3].entropy]
    torch.testing.assert_close(cells.levels, torch.tensor([expected]))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (0, math.nan),
        (0, math.inf),
        (1, MASKED),
        (1, UNKNOWN),
        (1, MISSING),
        (1, 99.0),
        (1, math.nan),
        (1, -math.inf),
    ],
)
def test_a_cell_without_a_known_value_costs_nothing_and_sends_no_gradient(column: int, value: float):
    values = rows()
    values[:, column] = value
    numbers, levels = (each.clone().requires_grad_() for each in knowing_the_columns_only(ROWS))
    cells = CellLoss(COLUMNS)(numbers, levels, values, everything(values))
    assert not (cells.counted_numbers if column == 0 else cells.counted_levels)[:, 0].any()
    torch.testing.assert_close(cells.mean, torch.tensor(1.0))
    to_numbers, to_levels = torch.autograd.grad(cells.mean, [numbers, levels])
    assert to_numbers.isfinite().all() and to_levels.isfinite().all()
    assert not (to_numbers[:, 0] if column == 0 else to_levels[:, :3]).any()


def test_only_masked_cells_count():
    values, masked = rows(), torch.zeros(ROWS, 4, dtype=torch.bool)
    masked[0, 0] = masked[2, 3] = True
    cells = compare(values, masked)
    expected = (1 + -math.log(0.125) / COLUMNS[3].entropy) / 2
    torch.testing.assert_close(cells.mean, torch.tensor(expected))
    sums, counts = cells.by_row
    assert counts.tolist() == [1, 0, 1, 0, 0, 0, 0, 0]
    assert sums[1] == 0


def test_without_a_cell_to_predict_the_loss_is_0_with_a_gradient_of_0():
    numbers, levels = (each.clone().requires_grad_() for each in knowing_the_columns_only(ROWS))
    loss = CellLoss(COLUMNS)(numbers, levels, torch.full((ROWS, 4), math.nan), everything(rows())).mean
    loss.backward()
    assert loss == 0 and numbers.grad is not None and not numbers.grad.any()


def test_a_category_that_leaves_nothing_to_predict_is_left_out():
    columns = (
        TableColumn("single", kind="category", levels=("a",), shares=(1.0,)),
        TableColumn("empty", kind="category"),
        TableColumn("two", kind="category", levels=("a", "b"), shares=(0.5, 0.5)),
    )
    values = torch.full((4, 3), float(FIRST_LEVEL))
    levels = torch.zeros(4, 3, requires_grad=True)
    cells = CellLoss(columns)(torch.zeros(4, 0), levels, values, everything(values))
    assert cells.counted_levels.sum(0).tolist() == [0, 0, 4]
    torch.testing.assert_close(cells.mean.detach(), torch.tensor(1.0))
    assert torch.autograd.grad(cells.mean, levels)[0].isfinite().all()


def test_the_likeliest_level_is_the_largest_logit_of_its_column_and_of_equals_the_first():
    levels = torch.tensor([[0.0, 9.0, 1.0, 5.0, 5.0], [-3.0, -2.0, -1.0, -9.0, -8.0]])
    assert CellLoss(COLUMNS).most_likely(levels).tolist() == [[1, 0], [2, 1]]


@pytest.mark.parametrize("kept", [(0, 2), (1, 3)])
def test_tables_of_one_kind_of_column_have_losses_too(kept: tuple[int, ...]):
    columns = [COLUMNS[j] for j in kept]
    values = rows()[:, list(kept)]
    numbers, levels = knowing_the_columns_only(ROWS)
    cell_loss = CellLoss(columns)
    of_numbers = kept == (0, 2)
    cells = cell_loss(
        numbers if of_numbers else numbers[:, :0],
        levels[:, :0] if of_numbers else levels,
        values,
        everything(values),
    )
    torch.testing.assert_close(cells.mean, torch.tensor(1.0))
    assert cell_loss.most_likely(levels[:, : cell_loss.levels]).shape == (ROWS, 0 if of_numbers else 2)


def test_no_loss_is_negative_however_sure_the_predictions_are():
    torch.manual_seed(0)
    place = torch.stack([rows()[:, 1], rows()[:, 3]], 1).long() - FIRST_LEVEL
    for scale in (1e-3, 1.0, 1e3, 1e6):
        levels = scale * torch.randn(ROWS, 5)
        levels[torch.arange(ROWS), place[:, 0]] += scale * 10
        cells = CellLoss(COLUMNS)(rows()[:, [0, 2]], levels, rows(), everything(rows()))
        assert cells.levels.min() >= 0 and cells.mean >= 0
        assert not cells.numbers.any()


@pytest.mark.parametrize("lengths", [[2, 40], [5, 5, 5], [0, 3, 0, 1, 0], [1000, 7, *[2] * 30]])
def test_sums_of_stretches_are_those_of_each_alone_with_their_gradients(lengths: list[int]):
    """Whichever way a device computes them."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(ROWS, sum(lengths), generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(ROWS, len(lengths), generator=generator, dtype=torch.float64)
    places = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    expected = torch.zeros(ROWS, len(lengths), dtype=torch.float64).index_add(1, places, values.detach())
    for sums in (segment_sums(values, torch.tensor(lengths)), sums_one_by_one(values, lengths)):
        torch.testing.assert_close(sums, expected)
        (gradient,) = torch.autograd.grad((sums * weights).sum(), values)
        torch.testing.assert_close(gradient, weights[:, places])


def test_no_sum_of_the_loss_depends_on_the_order_in_which_a_device_comes_to_its_cells(
    monkeypatch: pytest.MonkeyPatch,
):
    """`index_add` and `scatter_add` do on a CUDA device."""
    for name in ("index_add", "index_add_", "scatter_add", "scatter_add_"):
        monkeypatch.setattr(Tensor, name, lambda *_: pytest.fail("adds in any order"))
    levels = torch.zeros(ROWS, 5, requires_grad=True)
    CellLoss(COLUMNS)(torch.zeros(ROWS, 2), levels, rows(), everything(rows())).mean.backward()
    assert levels.grad is not None
