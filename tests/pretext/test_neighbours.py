"""The nearest rows of a table against scikit-learn's, and the pairs that batches are made of."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jigstack.datasets.table_column import FIRST_LEVEL, UNKNOWN, TableColumn
from jigstack.pretext import neighbours
from jigstack.pretext.neighbours import NeighbourPairs, coordinates, kept, nearest_rows, seconds_to_compare
from jigstack.training.interrupt import Interrupted
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from .conftest import Rows, draws

COLUMNS = (
    TableColumn("a"),
    TableColumn("c", kind="category", levels=("x", "y", "z"), shares=(0.5, 0.3, 0.2)),
    TableColumn("b"),
    TableColumn("d", kind="category", levels=("only",), shares=(1.0,)),
)
NUMBER = [column.kind == "number" for column in COLUMNS]


def table(count: int, seed: int = 0) -> Tensor:
    """Numbers with gaps, categories with missing and unknown levels."""
    generator = draws(seed)
    values = torch.randn(count, 4, generator=generator)
    values[torch.rand(count, 4, generator=generator) < 0.2] = math.nan
    values[:, 1] = torch.randint(UNKNOWN, FIRST_LEVEL + 3, (count,), generator=generator).float()
    values[:, 3] = torch.randint(UNKNOWN, FIRST_LEVEL + 1, (count,), generator=generator).float()
    return values


def apart(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, cell by cell."""
    total = 0.0
    for one, other, number in zip(x, y, NUMBER, strict=True):
        if not number:
            total += 2.0 * (one != other)
        elif math.isnan(one) or math.isnan(other):
            total += 0.0 if math.isnan(one) and math.isnan(other) else np.nansum([one, other]) ** 2 + 1
        else:
            total += (one - other) ** 2
    return math.sqrt(total)


def test_coordinates_have_the_distances_that_are_defined_on_cells():
    values = table(40)
    points = coordinates(values, COLUMNS).double()
    expected = [[apart(x, y) for y in values.double().numpy()] for x in values.double().numpy()]
    torch.testing.assert_close(
        torch.cdist(points, points), torch.tensor(expected).double(), atol=1e-5, rtol=1e-5
    )


def test_two_rows_drawn_at_random_are_2_apart_in_a_number_whether_or_not_one_is_missing():
    x = torch.randn(4000, 1, generator=draws())
    points = coordinates(x, COLUMNS[:1])
    gap = coordinates(torch.tensor([[math.nan]]), COLUMNS[:1])
    assert float((points[:2000] - points[2000:]).square().sum(1).mean()) == pytest.approx(2, abs=0.2)
    assert float((points - gap).square().sum(1).mean()) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(("queries", "keys"), [(1024, 8192), (7, 5), (5, 3), (64, 9)])
def test_the_nearest_rows_are_scikit_learn_s_whatever_the_size_of_blocks(
    queries: int, keys: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(neighbours, "QUERIES", queries)
    monkeypatch.setattr(neighbours, "KEYS", keys)
    values, others = table(60), table(23, seed=1)
    # Its metrics take no NaN, which is why a row goes by its number.
    both = torch.cat([values, others]).double().numpy()
    metric: Any = lambda i, j: apart(both[int(i[0])], both[int(j[0])])  # noqa: E731
    twin = NearestNeighbors(n_neighbors=4, metric=metric)
    twin.fit(np.arange(60.0)[:, None])
    own = nearest_rows(Rows(values), COLUMNS, 4)
    assert own.shape == (60, 4) and own.dtype == torch.int32
    _same_distances(both, np.arange(60), own, np.asarray(twin.kneighbors(return_distance=False)))
    found = nearest_rows(Rows(values), COLUMNS, 4, Rows(others))
    numbers = np.arange(60.0, 83.0)[:, None]
    _same_distances(
        both, np.arange(60, 83), found, np.asarray(twin.kneighbors(numbers, return_distance=False))
    )


def _same_distances(both: np.ndarray, rows: np.ndarray, found: Tensor, expected: np.ndarray) -> None:
    """Of rows equally far away either may be named."""
    ours, theirs = (
        [[apart(both[row], both[other]) for other in others] for row, others in zip(rows, each, strict=True)]
        for each in (found.numpy(), expected)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert all(len(set(others)) == len(others) for others in found.tolist())


def test_equal_rows_are_neighbours_and_no_row_is_its_own():
    values = table(10).repeat(3, 1)
    found = nearest_rows(Rows(values), COLUMNS, 2)
    for row, others in enumerate(found.tolist()):
        assert set(others) == {row % 10, row % 10 + 10, row % 10 + 20} - {row}


def test_what_was_found_is_kept_for_the_same_key_and_found_again_for_another(tmp_path: Path):
    file, asked = tmp_path / "nearest.safetensors", []

    def find() -> dict[str, Tensor]:
        asked.append(len(asked))
        return {"trained": torch.full((3, 2), len(asked), dtype=torch.int32)}

    first = kept(file, "one", find)
    assert torch.equal(kept(file, "one", find)["trained"], first["trained"]) and asked == [0]
    assert int(kept(file, "two", find)["trained"][0, 0]) == 2
    assert int(kept(file, "two", find)["trained"][0, 0]) == 2 and asked == [0, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["nearest.safetensors"]


def test_a_search_that_is_told_to_stop_stops_after_a_block(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(neighbours, "QUERIES", 5)
    asked = []
    with pytest.raises(Interrupted):
        nearest_rows(Rows(table(60)), COLUMNS, 4, stop=lambda: bool(asked.append(1)) or len(asked) == 3)
    assert len(asked) == 3


def test_the_time_of_a_search_is_that_of_a_block_times_the_blocks(monkeypatch: pytest.MonkeyPatch):
    """Of a block that takes a second: 100 rows are ten blocks of queries by five of keys."""
    monkeypatch.setattr(neighbours, "QUERIES", 10)
    monkeypatch.setattr(neighbours, "KEYS", 20)
    clock = iter([5.0, 6.0, 5.0, 6.0])
    monkeypatch.setattr(neighbours.time, "perf_counter", lambda: next(clock))
    assert seconds_to_compare(table(60), COLUMNS, 4, 100) == 10 * 5
    assert seconds_to_compare(table(60), COLUMNS, 4, 5) == 1


def test_more_neighbours_than_other_rows_are_refused():
    assert nearest_rows(Rows(table(4)), COLUMNS, 3).shape == (4, 3)
    with pytest.raises(ValueError, match=r"neighbours: expected at most 3, .* received 4; lower neighbours"):
        nearest_rows(Rows(table(4)), COLUMNS, 4)
    assert nearest_rows(Rows(table(4)), COLUMNS, 4, Rows(table(2))).shape == (2, 4)


def test_pairs_are_rows_beside_a_neighbour_that_is_drawn_anew_each_time():
    values = torch.arange(12.0)[:, None]
    nearest = torch.tensor([[(row + 1) % 12, (row + 2) % 12, (row + 3) % 12] for row in range(12)])
    pairs = NeighbourPairs(Rows(values), Rows(values), nearest)
    assert len(pairs) == 12
    rows = torch.arange(12).repeat(500)
    first, second = pairs.batch(rows, draws()).squeeze(2).unbind(1)
    assert torch.equal(first, rows.float())
    steps = (second - first) % 12
    assert [int((steps == k).sum()) for k in (1, 2, 3)] == pytest.approx([2000] * 3, rel=0.1)
    assert torch.equal(pairs.batch(rows, draws()), pairs.batch(rows, draws()))
    assert not torch.equal(pairs.batch(rows, draws(1)), pairs.batch(rows, draws()))
    assert torch.equal(pairs.batch(rows)[:, 1, 0], (rows + 1) % 12.0)
