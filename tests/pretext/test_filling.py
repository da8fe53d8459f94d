"""What a masked pretext is good for beside pretraining."""

import math
from typing import Any

import pytest
import torch
from jigstack.backbones.table_backbone import TableBackbone
from jigstack.backbones.table_build import build_table_backbone
from jigstack.configs.masked import MaskedOptions
from jigstack.datasets.table_column import FIRST_LEVEL, MISSING, UNKNOWN, TableColumn
from jigstack.pretext.filling import column_skill, impute, outlier_score
from jigstack.pretext.masked import MaskedTable
from torch import Tensor

COLUMNS = (
    TableColumn("c", kind="category", levels=("low", "high"), shares=(0.5, 0.5)),
    TableColumn("n"),
    TableColumn("empty", kind="category"),
    TableColumn("m"),
)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int, seed: int = 0) -> Tensor:
    """n and m are alike, and the category is their sign."""
    n = torch.randn(count, generator=draws(seed))
    return torch.stack([FIRST_LEVEL + (n > 0).float(), n, torch.full((count,), float(MISSING)), n], 1)


@pytest.fixture(scope="module")
def method() -> MaskedTable:
    """Trained for a few seconds."""
    torch.manual_seed(0)
    backbone = build_table_backbone("resmlp", COLUMNS, {"width": 32, "depth": 1, "dropout": 0.0})
    assert isinstance(backbone, TableBackbone)
    method = MaskedTable(backbone, MaskedOptions(width=32, ratio=0.4))
    optimiser = torch.optim.AdamW(method.parameters(), lr=0.01)
    generator = draws()
    for step in range(80):
        views = method.views(rows(256, seed=step), generator)
        loss = method.loss(method(views), views)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return method


def test_missing_cells_are_filled_and_known_ones_kept(method: MaskedTable):
    batch = rows(50, seed=1)
    truth = batch.clone()
    batch[::2, 1] = math.nan
    batch[1::4, 3] = math.inf
    batch[::5, 0] = MISSING
    filled = impute(method, batch)
    absent = torch.zeros(50, 4, dtype=torch.bool)
    absent[::2, 1] = absent[1::4, 3] = absent[::5, 0] = True
    assert torch.equal(filled[~absent], batch[~absent])
    assert float((filled - truth)[::2, 1].abs().mean()) < 0.35
    assert float((filled - truth)[1::4, 3].abs().mean()) < 0.35
    assert float((filled[::5, 0] == truth[::5, 0]).float().mean()) >= 0.8


def test_a_level_that_is_not_known_is_no_missing_one_and_a_category_without_levels_stays(method: MaskedTable):
    batch = rows(4)
    batch[:, 0] = UNKNOWN
    assert torch.equal(impute(method, batch), batch)


def test_a_row_without_any_value_is_filled_too(method: MaskedTable):
    filled = impute(method, torch.full((1, 4), math.nan))
    assert filled[0, [1, 3]].isfinite().all()
    assert filled[0, 0] in (FIRST_LEVEL, FIRST_LEVEL + 1)


def test_rows_whose_cells_contradict_each_other_stand_out(method: MaskedTable):
    batch = rows(100, seed=2)
    batch[:5, 3] = -2 * batch[:5, 1].sign()
    batch[:5, 1] = 2 * batch[:5, 1].sign()
    score = outlier_score(method, batch, draws(), draws=20)
    assert score.shape == (100,)
    assert float(score[:5].min()) > float(score[5:].quantile(0.95))
    torch.testing.assert_close(score, outlier_score(method, batch, draws(), draws=20), rtol=0, atol=0)


def test_a_row_without_a_known_cell_has_no_outlier_score(method: MaskedTable):
    batch = torch.cat([torch.full((1, 4), math.nan), rows(1)])
    score = outlier_score(method, batch, draws(), draws=20)
    assert score.isnan().tolist() == [True, False]


def test_no_draws_are_refused(method: MaskedTable):
    with pytest.raises(ValueError, match="draws: expected 1 or more, received 0"):
        outlier_score(method, rows(2), draws(), draws=0)


def test_skill_is_that_of_all_batches_together_by_the_name_of_the_column(method: MaskedTable):
    values = rows(90, seed=3)
    skill = column_skill(method, values.split(40), draws())
    assert list(skill) == ["c", "n", "m"]  # a category without levels is never asked for
    assert min(skill.values()) > 0.5

    generator, sums, by_chance = draws(), 0.0, 0.0
    for batch in values.split(40):
        views = method.views(batch, generator)
        with torch.no_grad():
            guess = method.eval()(views)["numbers"][:, 1]
        masked = views["masked"][:, 3]
        sums += float((guess - batch[:, 3])[masked].square().sum())
        by_chance += float(batch[:, 3][masked].square().sum())
    assert skill["m"] == pytest.approx(1 - sums / by_chance, abs=1e-5)


def test_a_column_of_rare_huge_values_has_no_skill_where_the_others_do_not_tell_it(method: MaskedTable):
    """Held-out rows without a huge value are no sign of skill; against the variance of all rows they would be."""
    values = rows(200, seed=4)
    values[:, 3] = -0.05  # what is left of 1 value of 20 among 399 zeros, standardised
    skill = column_skill(method, [values], draws())
    assert skill["m"] < 0 < skill["c"]


def test_the_distribution_alone_has_no_skill(method: MaskedTable):
    class Chance:
        training = False
        backbone, cells, views = method.backbone, method.cells, method.views

        def train(self, mode: bool = True) -> object: ...

        def __call__(self, views: Any) -> dict[str, Tensor]:
            return {
                "numbers": torch.zeros(len(views["values"]), 2),
                "levels": torch.zeros(1, 2).expand(len(views["values"]), 2),
            }

        compare = method.compare

    skill = column_skill(Chance(), [rows(300, seed=5)], draws())
    assert skill == pytest.approx({"c": 0, "n": 0, "m": 0}, abs=1e-6)


def test_columns_that_are_never_known_have_no_skill(method: MaskedTable):
    values = rows(20)
    values[:, 1] = math.nan
    assert list(column_skill(method, [values], draws())) == ["c", "m"]


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_stays_as_it_was(method: MaskedTable, training: bool):
    method.train(training)
    uses: list[Any] = [
        impute(method, rows(3)),
        outlier_score(method, rows(3), draws()),
        column_skill(method, [rows(3)], draws()),
    ]
    assert len(uses) == 3 and method.training is training and method.backbone.training is training
