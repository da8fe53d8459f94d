"""Pictures of a table's rows: as they are, as a network sees them, and as it fills them."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..datasets.table_column import FIRST_LEVEL, TableColumn

ROWS, COLUMNS = 32, 200
_REACH = 3.0
"""Standard deviations from the mean at which a number's colour is full."""
_PANEL = 480
"""About so many pixels a panel is wide, if the columns allow."""
_HEIGHT, _GAP = 12, 16
_LOW, _MIDDLE, _HIGH = (33, 102, 172), (247, 247, 247), (178, 24, 43)
_HIDDEN, _ABSENT = (150, 150, 150), (40, 40, 40)


def heat_map(values: Tensor, masked: Tensor, filled: Tensor, columns: Sequence[TableColumn]) -> Image.Image:
    """Draw rows: truth | masked | predicted.

    Numbers go from blue (3 standard deviations below the mean) over white to red (3 above), categories from their first
    level to their last. Hidden cells are grey, missing ones and levels that are not known almost black.

    Args:
        values: (B, D), as `TableColumn` says; the first 32 rows are drawn, and of more than 200 columns as many, evenly
            chosen.
        masked: (B, D) bool.
        filled: (B, D) the rows with predictions in hidden and missing cells.
        columns: D columns.

    Returns:
        The picture, about 1,500 pixels wide whatever the number of columns.
    """
    nothing = torch.zeros_like(masked)
    return panels([(values, nothing), (values, masked), (filled, nothing)], columns)


def panels(tables: Sequence[tuple[Tensor, Tensor]], columns: Sequence[TableColumn]) -> Image.Image:
    """Draw several versions of rows side by side, in the colours of `heat_map`.

    Args:
        tables: (B, D) values and (B, D) bool, the hidden cells, of each version; as many rows are drawn as there.
        columns: D columns.

    Returns:
        The picture.
    """
    chosen = torch.linspace(0, len(columns) - 1, min(len(columns), COLUMNS)).round().long()
    shown = [columns[int(j)] for j in chosen]
    width = max(2, min(24, _PANEL // len(shown)))
    drawn: list[np.ndarray] = []
    for values, hidden in tables:
        colours = _colours(_places(values[:ROWS, chosen], shown))
        colours[hidden[:ROWS, chosen].numpy()] = _HIDDEN
        if drawn:
            drawn.append(np.full((len(colours) * _HEIGHT, _GAP, 3), 255, dtype=np.uint8))
        drawn.append(colours.repeat(_HEIGHT, 0).repeat(width, 1))
    return Image.fromarray(np.concatenate(drawn, 1))


def _places(values: Tensor, columns: Sequence[TableColumn]) -> np.ndarray:
    """(B, D) from -1, lowest, to 1, highest; NaN where there is no known value."""
    category = torch.tensor([column.kind == "category" for column in columns])
    last = torch.tensor([float(len(column.levels)) for column in columns]) - 1
    levels = values.float() - FIRST_LEVEL
    known = (levels >= 0) & (levels <= last)
    ranks = (2 * levels / last.clamp_min(1) - 1).where(known, torch.nan)
    numbers = (values.float() / _REACH).clamp(-1, 1).where(values.isfinite(), torch.nan)
    return ranks.where(category, numbers).numpy()


def _colours(places: np.ndarray) -> np.ndarray:
    """(B, D) places to (B, D, 3) uint8."""
    stops = np.array([_LOW, _MIDDLE, _HIGH])
    channels = [np.interp(places, (-1, 0, 1), stops[:, channel]) for channel in range(3)]
    colours = np.nan_to_num(np.stack(channels, -1)).round().astype(np.uint8)
    colours[np.isnan(places)] = _ABSENT
    return colours
