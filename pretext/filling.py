"""What a masked pretext is good for beside pretraining: the skill of each column, missing cells, outliers."""

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from ..backbones.table_backbone import TableBackbone
from ..datasets.table_column import FIRST_LEVEL
from .cell_loss import CellLoss, CellLosses, skill_of


class PredictsCells(Protocol):
    """What is asked of a pretext here; `MaskedTable` has it."""

    training: bool
    backbone: TableBackbone
    cells: CellLoss

    def train(self, mode: bool = True) -> object: ...

    def views(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]: ...

    def __call__(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]: ...

    def compare(self, outputs: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> CellLosses: ...


def predicted(method: PredictsCells, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the method says in evaluation mode, without gradients; its mode is then as before."""
    training = method.training
    method.train(False)
    try:
        with torch.no_grad():
            return method(views)
    finally:
        method.train(training)


def fill(method: PredictsCells, batch: Tensor, asked: Tensor, outputs: Mapping[str, Tensor]) -> Tensor:
    """Put predictions into cells.

    Args:
        method: the pretext.
        batch: (B, D), as `TableColumn` says.
        asked: (B, D) bool, the cells to fill.
        outputs: what the method said of the batch.

    Returns:
        (B, D): numbers as predicted, of categories the likeliest level; a category without levels stays as it is.
    """
    guess = batch.clone()
    cells = method.cells
    guess[:, cells.numbers] = outputs["numbers"].to(batch.dtype)
    if cells.levels:
        likeliest = (cells.most_likely(outputs["levels"]) + FIRST_LEVEL).to(batch.dtype)
        has_levels = torch.tensor(
            [bool(method.backbone.columns[int(j)].levels) for j in cells.categories], device=batch.device
        )
        guess[:, cells.categories] = likeliest.where(has_levels, batch[:, cells.categories])
    return guess.where(asked, batch)


def impute(method: PredictsCells, batch: Tensor) -> Tensor:
    """Fill the missing cells of rows from their other cells.

    Args:
        method: a trained pretext.
        batch: (B, D), as `TableColumn` says, on the method's device.

    Returns:
        (B, D): missing numbers (NaN, infinite) as predicted, still standardised; missing categories as their likeliest
        level. All other cells are as they were, levels that are not known too.
    """
    absent = method.backbone.input.missing(batch)
    return fill(method, batch, absent, predicted(method, {"values": batch, "masked": absent}))


def outlier_score(method: PredictsCells, batch: Tensor, generator: torch.Generator, draws: int = 8) -> Tensor:
    """How badly the cells of a row fit each other: the mean loss of predicting hidden ones, over several draws.

    Args:
        method: a trained pretext.
        batch: (B, D), as `TableColumn` says, on the method's device.
        generator: of the hidden cells.
        draws: how often cells are hidden; the score's noise falls with its root.

    Returns:
        (B,): 1 is as bad as knowing the columns' distributions only, above 1 unusual. NaN where no known cell was
        hidden in any draw.

    Raises:
        ValueError: `draws` is below 1.
    """
    if draws < 1:
        raise ValueError(f"draws: expected 1 or more, received {draws}")
    losses, counts = [], []
    for _ in range(draws):
        views = method.views(batch, generator)
        sums, counted = method.compare(predicted(method, views), views).by_row
        losses.append(sums)
        counts.append(counted)
    return torch.stack(losses).sum(0) / torch.stack(counts).sum(0)


def column_skill(
    method: PredictsCells, batches: Iterable[Tensor], generator: torch.Generator
) -> dict[str, float]:
    """How well each column is predicted from the others.

    Args:
        method: a trained pretext.
        batches: (B, D) each, as `TableColumn` says, on the method's device: rows that were not trained on.
        generator: of the hidden cells; the same one gives the same figures.

    Returns:
        column -> its skill, as `skill_of` says; columns that have none are not in it.
    """
    cells = method.cells
    order = [*cells.numbers.tolist(), *cells.categories.tolist()]
    losses, by_chance = torch.zeros(2, len(order), dtype=torch.float64)
    for batch in batches:
        views = method.views(batch, generator)
        for sums, compared in (
            (losses, method.compare(predicted(method, views), views)),
            (by_chance, cells.by_chance(views["values"], views["masked"])),
        ):
            sums += compared.by_column.cpu()
    found = skill_of(losses, by_chance).tolist()
    skill = {j: value for j, value in zip(order, found, strict=True) if not math.isnan(value)}
    return {column.name: skill[j] for j, column in enumerate(method.backbone.columns) if j in skill}
