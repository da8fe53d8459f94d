"""SimSiam on rows, on every backbone of tables: what corruption does, and that it learns without collapse."""

import copy
import math
from typing import Any

import pytest
import torch
from jigstack.backbones.table_backbone import TableBackbone
from jigstack.backbones.table_build import build_table_backbone
from jigstack.configs.simsiam_rows import SimSiamRowsOptions
from jigstack.datasets.table_column import FIRST_LEVEL, MISSING, UNKNOWN, TableColumn
from jigstack.pretext.neighbours import NeighbourPairs
from jigstack.pretext.simsiam_rows import SimSiamRows
from jigstack.training.device import Machine
from jigstack.training.fit import FitOptions, Training, fit
from jigstack.training.optimiser import parameter_groups
from jigstack.training.randomness import reseed_global
from jigstack.training.schedule import Schedule
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor

from .conftest import Rows, draws

NUMBERS = 6
COLUMNS = (
    *(TableColumn(f"n{j}") for j in range(NUMBERS)),
    TableColumn("c", kind="category", levels=("low", "middle", "high"), shares=(0.25, 0.5, 0.25)),
)
BACKBONES: dict[str, dict[str, Any]] = {
    "tabnet": {"n_d": 16, "n_a": 16, "momentum": 0.2, "virtual_batch": 16},
    "mlp": {"width": 32, "depth": 2, "dropout": 0.0},
    "resmlp": {"width": 32, "depth": 1, "dropout": 0.0},
    "cnn1d": {
        "hidden": 64,
        "channels": 8,
        "filters": 8,
        "dropout_input": 0,
        "dropout": 0,
        "dropout_output": 0,
    },
}


def table(count: int, seed: int = 0) -> Tensor:
    """Every number is one hidden value with a little noise, and so is the category's place."""
    generator = draws(seed)
    hidden = torch.randn(count, 1, generator=generator)
    numbers = (hidden + 0.3 * torch.randn(count, NUMBERS, generator=generator)) / math.sqrt(1.09)
    level = FIRST_LEVEL + 1 + (hidden > 0.6745).float() - (hidden < -0.6745).float()
    return torch.cat([numbers, level], 1)


def build(kind: str = "mlp", **options: Any) -> SimSiamRows:
    torch.manual_seed(0)
    backbone = build_table_backbone(kind, COLUMNS, BACKBONES[kind])
    assert isinstance(backbone, TableBackbone)
    return SimSiamRows(backbone, SimSiamRowsOptions.model_validate({"width": 32} | options))


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("neighbours", [0, 5])
def test_some_steps_bring_views_of_held_rows_together_and_keep_different_rows_apart(
    kind: str, neighbours: int
):
    method = build(kind, neighbours=neighbours)
    trained, held = method.sources(Rows(table(256)), Rows(table(128, seed=1)))
    own = {id(parameter) for parameter in method.backbone.parameters()}
    head = [parameter for parameter in method.parameters() if id(parameter) not in own]
    reseed_global(0, "test")
    groups = parameter_groups(method.backbone.stages(), head, weight_decay=0.0, steady=method.steady())
    schedule = Schedule(0.02, 0.1, "cosine", 1)
    machine = Machine("cpu", "fp32", False, 1)
    training = Training(method, groups, FitOptions(30, 64, schedule, optimiser="sgd"), machine, 0, ("test",))
    records = list(fit(training, trained))
    assert records[-1].scalars["loss"] < records[0].scalars["loss"] - 0.2
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in method.predictor.parameters())
    method.eval()
    with torch.inference_mode():
        views = method.views(held.batch(torch.arange(128), draws()), draws())
        measured = method.measure(method(views), views)
    assert set(measured) == {"similarity", "agreement", "z_std"}
    assert measured["similarity"] > 0.3 and measured["z_std"] > 0.2


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("statistics", ["view", "joint"])
def test_the_loss_is_lightly_s_of_the_same_weights(kind: str, statistics: str):
    method = build(kind, statistics=statistics)
    twin = copy.deepcopy(method)
    views = method.views(table(64), draws())
    reseed_global(0, "test")
    ours = method.loss(method(views), views)["loss"]
    reseed_global(0, "test")
    if statistics == "joint":
        z = twin.projector(twin.backbone(views["views"].flatten(0, 1)))
        p0, p1 = twin.predictor(z).chunk(2)
        z0, z1 = z.chunk(2)
    else:
        z0, z1 = (twin.projector(f) for f in [twin.backbone(view) for view in views["views"]])
        p0, p1 = twin.predictor(z0), twin.predictor(z1)
    criterion = NegativeCosineSimilarity()
    torch.testing.assert_close(ours, 0.5 * (criterion(p0, z1.detach()) + criterion(p1, z0.detach())))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_as_many_cells_of_both_views_are_corrupted_as_asked_each_for_itself(share: float):
    """Not the share that stays; and no cell tells whether another one of its row, or of the other view, was drawn."""
    rows = torch.rand(4000, 7, generator=draws())
    changed = (build(corruption=share).views(rows, draws(1))["views"] != rows).float()
    torch.testing.assert_close(changed.mean(1), torch.full((2, 7), share), atol=0.03, rtol=0)
    together = torch.corrcoef(changed.permute(0, 2, 1).flatten(0, 1)) - torch.eye(14)
    assert float(together.abs().max()) < 0.08


def test_corrupted_cells_keep_their_column_s_values_and_lose_what_ties_columns_together():
    """A row's donors are its cells' own: one for the whole row would keep the columns equal."""
    column = torch.randn(4000, 1, generator=draws()).exp()
    rows = column.repeat(1, 7)
    view = build(corruption=0.5).views(rows, draws(1))["views"][0]
    changed = view != rows
    assert bool(torch.isin(view, column).all())
    for quantile in (0.1, 0.5, 0.9):
        expected = float(torch.quantile(column, quantile))
        for j in range(7):
            assert float(torch.quantile(view[changed[:, j], j], quantile)) == pytest.approx(
                expected, rel=0.12
            )
    both = changed[:, 0] & changed[:, 1]
    assert float((view[both, 0] == view[both, 1]).float().mean()) < 0.01
    assert abs(float(torch.corrcoef(view[both, :2].log().T)[0, 1])) < 0.1


def test_columns_keep_to_their_own_values_levels_and_gaps():
    rows = table(3000)
    rows[::3, 0] = math.nan
    rows[::5, 6], rows[1::5, 6] = MISSING, UNKNOWN
    rows[:, 1] += 100
    for view in build(corruption=0.9).views(rows, draws())["views"]:
        assert float(view[:, 0].isnan().float().mean()) == pytest.approx(1 / 3, abs=0.03)
        assert set(view[:, 6].unique().tolist()) == set(rows[:, 6].unique().tolist())
        assert bool((view[:, 1] > 50).all()) and bool((view[:, 2] < 50).all())
        assert not bool(view[:, 1:].isnan().any())


def test_views_follow_from_the_generator_and_leave_the_batch_as_it_was():
    rows = table(50)
    before = rows.clone()
    method = build()
    views = method.views(rows, draws())["views"]
    assert torch.equal(rows, before)
    assert torch.equal(views, method.views(rows, draws())["views"])
    assert not torch.equal(views, method.views(rows, draws(1))["views"])
    assert not torch.equal(views[0], views[1])


def test_of_pairs_the_second_view_is_the_neighbour_and_donors_are_rows_of_the_batch():
    method = build(neighbours=3)
    pairs = torch.stack([torch.zeros(20, 7), torch.ones(20, 7)], 1)
    first, second = method.views(pairs, draws())["views"]
    assert not first.any() and bool(second.all())
    corrupted = build(neighbours=3, corruption=0.5).views(pairs, draws())["views"]
    assert not corrupted[0].any() and float(corrupted[1].mean()) == pytest.approx(0.5, abs=0.15)


def test_held_rows_get_trained_neighbours_and_without_neighbours_nothing_is_paired():
    trained, held = Rows(table(30)), Rows(table(8, seed=1))
    assert build().sources(trained, held) == (trained, held)
    pairs, measured = build(neighbours=4).sources(trained, held)
    assert isinstance(pairs, NeighbourPairs) and isinstance(measured, NeighbourPairs)
    assert (len(pairs), len(measured)) == (30, 8)
    first, second = measured.batch(torch.arange(8), draws()).unbind(1)
    assert torch.equal(first, held.values)
    assert all(any(torch.equal(row, other) for other in trained.values) for row in second)
    with pytest.raises(ValueError, match="neighbours: expected at most 29"):
        build(neighbours=30).sources(trained, held)


@pytest.mark.parametrize("shape", [(6, 7), (6, 2, 7)])
def test_the_preview_shows_the_row_and_both_views(shape: tuple[int, ...]):
    rows = table(6) if len(shape) == 2 else torch.stack([table(6), table(6, seed=1)], 1)
    picture = build(neighbours=len(shape) - 2).preview(rows, draws())
    assert picture.size == (3 * 7 * 24 + 2 * 16, 6 * 12)
    assert len(set(picture.crop((0, 0, 168, 72)).tobytes())) > 3
    assert picture.crop((0, 0, 168, 72)).tobytes() != picture.crop((368, 0, 536, 72)).tobytes()


def test_the_predictor_stays_at_its_rate_unless_it_is_not_to():
    assert len(build().steady()) == len(list(build().predictor.parameters()))
    assert build(steady_predictor=False).steady() == []


def test_the_gauge_of_the_same_outputs_for_all_rows_is_0_while_the_loss_looks_perfect():
    same = torch.ones(2, 8, 32)
    collapsed = build().loss({"z": same, "p": same}, {})
    assert collapsed["z_std"] < 1e-3 and float(collapsed["loss"]) == pytest.approx(-1)
