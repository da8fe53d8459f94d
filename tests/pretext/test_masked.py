"""The masked pretext on every backbone of tables, with a test for each bug of pytorch-tabnet's pretrainer."""

import math
import statistics
from typing import Any

import pytest
import torch
from jigstack.backbones.table_backbone import TableBackbone
from jigstack.backbones.table_build import build_table_backbone
from jigstack.configs.masked import MaskedOptions
from jigstack.datasets.table_column import FIRST_LEVEL, MISSING, UNKNOWN, TableColumn
from jigstack.pretext.filling import column_skill
from jigstack.pretext.masked import MaskedTable
from jigstack.training.device import Machine
from jigstack.training.fit import FitOptions, Record, Training, fit
from jigstack.training.optimiser import parameter_groups
from jigstack.training.randomness import reseed_global
from jigstack.training.schedule import Schedule
from torch import Tensor

from .conftest import Rows, draws

NUMBERS = 6
EDGES = (-1.5, -0.5, 0.0, 0.5, 1.5)
COLUMNS = (
    *(TableColumn(f"n{j}", edges=EDGES) for j in range(NUMBERS)),
    TableColumn("c", kind="category", levels=("low", "middle", "high"), shares=(0.25, 0.5, 0.25)),
)
BACKBONES: dict[str, dict[str, Any]] = {
    "tabnet": {"n_d": 16, "n_a": 16, "momentum": 0.2},
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
    """Correlated columns: every number is one hidden value with a little noise, and so is the category's place."""
    generator = draws(seed)
    hidden = torch.randn(count, 1, generator=generator)
    signs = torch.tensor([1.0, -1.0]).repeat(NUMBERS // 2)
    numbers = (hidden * signs + 0.3 * torch.randn(count, NUMBERS, generator=generator)) / math.sqrt(1.09)
    level = FIRST_LEVEL + 1 + (hidden > 0.6745).float() - (hidden < -0.6745).float()
    return torch.cat([numbers, level], 1)


def build(kind: str = "mlp", columns: tuple[TableColumn, ...] = COLUMNS, **options: Any) -> MaskedTable:
    torch.manual_seed(0)
    backbone = build_table_backbone(kind, columns, BACKBONES[kind])
    assert isinstance(backbone, TableBackbone)
    return MaskedTable(backbone, MaskedOptions.model_validate({"width": 16, "ratio": 0.5} | options))


@pytest.fixture(params=BACKBONES)
def method(request: pytest.FixtureRequest) -> MaskedTable:
    return build(request.param)


def train(method: MaskedTable, values: Tensor, epochs: int, batch: int = 128) -> list[Record]:
    own = {id(parameter) for parameter in method.backbone.parameters()}
    head = [parameter for parameter in method.parameters() if id(parameter) not in own]
    reseed_global(0, "test")
    training = Training(
        method,
        parameter_groups(method.backbone.stages(), head, weight_decay=0.0),
        FitOptions(epochs, batch, Schedule(0.01, 0.1, "cosine", 1), clip=1.0),
        Machine("cpu", "fp32", False, 1),
        0,
        ("pretrain", "masked", "all"),
    )
    return list(fit(training, Rows(values)))


def held(method: MaskedTable, values: Tensor, seed: int = 0) -> dict[str, float]:
    method.eval()
    with torch.inference_mode():
        views = method.views(values, draws(seed))
        return method.measure(method(views), views)


def step(method: MaskedTable, values: Tensor, seed: int = 0) -> Tensor:
    """The loss of a batch, with gradients in the method."""
    views = method.views(values, draws(seed))
    loss = method.loss(method(views), views)["loss"]
    loss.backward()
    return loss.detach()


def all_finite(method: MaskedTable) -> bool:
    return all(p.grad is None or bool(p.grad.isfinite().all()) for p in method.parameters())


def test_a_few_dozen_steps_beat_the_columns_means_and_shares_clearly(method: MaskedTable):
    records = train(method, table(512), epochs=12)
    measured = held(method, table(256, seed=1))
    assert records[-1].step == 48
    assert measured["loss"] < 0.6
    assert measured["skill"] > 0.4
    assert measured["accuracy"] > 0.6
    skill = column_skill(method, table(256, seed=1).split(100), draws())
    assert list(skill) == [column.name for column in COLUMNS]
    assert min(skill.values()) > 0.2


def test_what_masked_cells_hold_changes_neither_predictions_nor_what_is_trained(method: MaskedTable):
    """In training, where batch norms mix rows; pytorch-tabnet's first batch norm sees more than it should."""
    values = table(32)
    views = method.views(values, draws())
    other = dict(views, values=values.where(~views["masked"], FIRST_LEVEL + 1.0))
    for training in (True, False):
        method.train(training)
        reseed_global(0, "dropout")
        expected = method(views)
        reseed_global(0, "dropout")
        received = method(other)
        for name, value in expected.items():
            torch.testing.assert_close(received[name], value, rtol=0, atol=0)


def test_gradients_reach_the_decoder_and_the_encoder(method: MaskedTable):
    step(method, table(64))
    for part in (method.decoder, method.backbone):
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in part.parameters())
        assert any(bool(p.grad.any()) for p in part.parameters() if p.grad is not None)


def test_missing_and_unknown_cells_are_taken_and_never_asked_for(method: MaskedTable):
    values = table(64)
    values[::3, 0] = math.nan
    values[:, 1] = math.nan
    values[::2, 6] = UNKNOWN
    values[1::4, 6] = MISSING
    assert step(method, values).isfinite()
    assert all_finite(method)
    views = method.views(values, draws())
    cells = method.compare(method(views), views)
    assert torch.equal(cells.counted_numbers, views["masked"][:, :6] & values[:, :6].isfinite())
    assert torch.equal(cells.counted_levels, views["masked"][:, 6:] & (values[:, 6:] >= FIRST_LEVEL))


def test_fewer_rows_than_a_batch_are_trained_on(method: MaskedTable):
    """pytorch-tabnet drops the last batch: no step, loss 0, no error."""
    records = train(method, table(10), epochs=2, batch=1024)
    assert [record.step for record in records] == [1, 2]
    assert all(record.scalars["loss"] > 0 for record in records)


def test_a_batch_of_one_row_trains_and_is_measured(method: MaskedTable):
    """pytorch-tabnet's batch norm raises."""
    method.train()
    assert step(method, table(1)).isfinite()
    assert all_finite(method)
    assert math.isfinite(held(method, table(1))["loss"])


def test_a_tail_of_one_row_in_the_virtual_batch_trains(method: MaskedTable):
    assert step(method.train(), table(129)).isfinite()
    assert all_finite(method)


@pytest.mark.parametrize("constant", [0.0, -0.01, 5.0])
def test_a_column_that_is_constant_in_the_batch_has_a_finite_loss_that_is_not_negative(constant: float):
    """pytorch-tabnet divided by the batch's mean in its place: -0.01 gave a loss of -626.8."""
    values = table(64)
    values[:, 0] = constant
    values[:, 6] = FIRST_LEVEL
    method = build()
    loss = step(method, values)
    assert 0 <= float(loss) < 10
    assert all_finite(method)


def test_a_rare_value_does_not_blow_the_loss_up():
    """One of 256 rows: pytorch-tabnet's variance of a batch made 16.7 of predicting .5; the column's own makes 1."""
    share = 1 / 256
    sd = math.sqrt(share * (1 - share))
    columns = (TableColumn("rare"),)
    values = torch.full((256, 1), -share / sd)
    values[17] = (1 - share) / sd
    method = build("resmlp", columns)
    with torch.no_grad():
        for parameter in method.decoder.output.parameters():
            parameter.zero_()
    views = {"values": values, "masked": torch.ones(256, 1, dtype=torch.bool)}
    torch.testing.assert_close(method.loss(method(views), views)["loss"], torch.tensor(1.0))


def test_raw_scales_do_not_matter_before_training_either():
    """Untrained, pytorch-tabnet's loss was 35,072 on columns like years; ours begins at the columns' means."""
    assert float(step(build("tabnet"), table(256))) < 3


def test_the_held_loss_is_that_of_masked_cells_and_not_of_copying():
    """In evaluation pytorch-tabnet masks nothing, so that copying the input is perfect."""
    method = build().eval()
    masked = method.views(table(100), draws())["masked"]
    assert 0.4 < float(masked.float().mean()) < 0.6
    assert not torch.equal(masked, method.views(table(100), draws(1))["masked"])
    assert held(method, table(100)) == held(method, table(100))


def test_rows_count_by_their_masked_cells():
    """In pytorch-tabnet a row with one masked cell weighs as much as one with fifty."""
    method = build().eval()
    values, masked = table(2), torch.zeros(2, 7, dtype=torch.bool)
    masked[0, 0] = True
    masked[1, 1:5] = True
    outputs = {"numbers": torch.zeros(2, 6), "levels": torch.zeros(2, 3)}
    expected = (values[0, 0] ** 2 + values[1, 1:5].square().sum()) / 5
    loss = method.loss(outputs, {"values": values, "masked": masked})
    torch.testing.assert_close(loss["loss"], expected)
    torch.testing.assert_close(loss["numbers"], expected)
    assert loss["levels"] == 0


def test_targets_take_no_gradient_and_so_cannot_move():
    """pytorch-tabnet's targets are its own embeddings, which can merge to make the loss cheap."""
    method = build()
    views = method.views(table(16), draws())
    views["masked"] = torch.ones(16, 7, dtype=torch.bool)
    method.loss(method(views), views)["loss"].backward()
    tables = [p for name, p in method.backbone.input.named_parameters() if "embeddings" in name]
    assert tables and all(p.grad is not None for p in tables)
    used = [p.grad.abs().sum(1) > 0 for p in tables if p.grad is not None]
    assert [int(rows.sum()) for rows in used] == [1]  # MASKED alone: no level's own embedding


def test_a_batch_without_a_known_masked_cell_has_loss_0_and_finite_gradients():
    method = build()
    values = torch.full((8, 7), math.nan)
    assert step(method, values) == 0
    assert all_finite(method)
    assert held(method, values) == {"loss": 1.0, "skill": 0.0, "accuracy": 0.0}


def test_masks_come_from_the_generator_cell_by_cell():
    method = build(ratio=0.8)
    masked = method.views(table(2000), draws())["masked"]
    assert torch.equal(masked, method.views(table(2000, seed=5), draws())["masked"])
    torch.testing.assert_close(masked.float().mean(0), torch.full((7,), 0.8), atol=0.05, rtol=0)
    torch.testing.assert_close(torch.corrcoef(masked.T.float()), torch.eye(7), atol=0.08, rtol=0)


def test_the_same_seed_gives_the_same_curve(method: MaskedTable):
    def curve(trained: MaskedTable) -> list[float]:
        return [record.scalars["loss"] for record in train(trained, table(64), epochs=3, batch=32)]

    assert curve(method) == curve(build(method.backbone.kind))


def test_two_threads_give_the_curve_of_one_within_rounding(method: MaskedTable):
    def curve(trained: MaskedTable, threads: int) -> list[float]:
        torch.set_num_threads(threads)
        return [record.scalars["loss"] for record in train(trained, table(4096), epochs=2, batch=2048)]

    before = torch.get_num_threads()
    try:
        assert curve(method, 1) == pytest.approx(curve(build(method.backbone.kind), 2), abs=1e-5)
    finally:
        torch.set_num_threads(before)


def test_tabnet_s_sparsity_joins_the_loss_if_it_is_asked_for():
    plain, penalised = build("tabnet"), build("tabnet", sparsity=0.1)
    views = plain.views(table(64), draws())
    without = plain.loss(plain(views), views)
    outputs = penalised(views)
    losses = penalised.loss(outputs, views)
    assert "sparsity" not in without
    torch.testing.assert_close(losses["loss"], without["loss"] + 0.1 * outputs["sparsity"])
    assert "sparsity" not in build("mlp", sparsity=0.1)(views)


def test_measures_are_those_of_the_columns_written_out():
    method = build()
    values = table(100)
    views = method.views(values, draws())
    outputs = {"numbers": 0.5 * values[:, :6], "levels": torch.tensor([0.0, 2.0, 1.0]).expand(100, -1)}
    measured = method.measure(outputs, views)
    masked = views["masked"]
    # Half of what a number is leaves a quarter of its squares; the category is predicted worse than by its shares.
    assert measured["skill"] == pytest.approx(0.75, abs=1e-6)
    right = values[masked[:, 6], 6] == FIRST_LEVEL + 1
    assert measured["accuracy"] == pytest.approx(float(right.float().mean()))
    assert measured["loss"] == pytest.approx(float(method.loss(outputs, views)["loss"]))


def test_the_measured_skill_is_the_median_of_what_is_told_of_each_column(method: MaskedTable):
    """Of the same hidden cells; R² against the variance of other rows would be another number."""
    train(method, table(256), epochs=2)
    values = table(200, seed=3)
    by_column = column_skill(method, [values], draws(4)).values()
    assert len(by_column) == 7
    assert held(method, values, seed=4)["skill"] == pytest.approx(statistics.median(by_column), abs=1e-6)


@pytest.mark.parametrize("kept", [COLUMNS[:2], COLUMNS[6:]])
def test_tables_of_numbers_or_of_categories_alone_are_pretrained(kept: tuple[TableColumn, ...]):
    method = build("tabnet", kept)
    values = table(32)[:, :2] if kept[0].kind == "number" else table(32)[:, 6:]
    assert step(method, values) > 0
    assert set(held(method, values)) == ({"loss", "skill"} | ({"accuracy"} if len(kept) == 1 else set()))
    assert method.preview(values, draws()).size[1] == 32 * 12


def test_half_precision_outputs_have_a_loss_in_float32():
    method = build()
    views = method.views(table(16), draws())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = method(views)
    assert outputs["numbers"].dtype == torch.bfloat16
    assert method.loss(outputs, views)["loss"].dtype == torch.float32


def test_a_preview_leaves_the_mode_and_the_statistics_as_they_were(method: MaskedTable):
    method.train()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    picture = method.preview(table(40), draws())
    assert picture.size == (3 * 7 * 24 + 2 * 16, 32 * 12)
    assert method.training and method.backbone.training
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_health_tells_a_collapse():
    scalars = dict(build().health(torch.ones(8, 4)))
    assert scalars["feature_std"] == pytest.approx(0, abs=1e-6)


def test_categories_whose_shares_are_not_known_are_read_but_never_asked_for():
    columns = (TableColumn("n"), TableColumn("c", kind="category", levels=("a", "b")))
    method = build("resmlp", columns)
    values = torch.tensor([[0.5, FIRST_LEVEL], [1.0, FIRST_LEVEL + 1]])
    cells = method.compare(
        method({"values": values, "masked": values > -9}), {"values": values, "masked": values > -9}
    )
    assert cells.counted_numbers.all() and not cells.counted_levels.any()
