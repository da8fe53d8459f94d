"""`check --shortcuts`: three short jigsaws, what each learned, and the sentence that follows from it."""

import math
from pathlib import Path

import jigstack
import pytest
from jigstack.configs import load_config
from jigstack.configs.errors import UserError
from jigstack.datasets.files import read_json
from jigstack.pipeline.shortcuts import ShortcutRow, chosen_jigsaw, judge, look_for_shortcuts

from .conftest import MakeConfig


def row(gap: int, jitter: int, tiles: float, knn: float | None = None, ridge: float = 0.3) -> ShortcutRow:
    scores = {} if knn is None else {"era.knn.r2": knn, "era.ridge.r2": ridge, "era.ridge.rmse": 9.0}
    return ShortcutRow(gap, jitter, tiles, scores)


def test_a_jigsaw_that_places_tiles_without_learning_more_matches_borders():
    said = judge([row(0, 0, 0.9, 0.30), row(2, 0, 0.5, 0.3), row(2, 2, 0.4, 0.305)], 1 / 9)
    assert "matches borders instead of looking" in said and "90% of the tiles" in said and "40%" in said
    assert "no more (neighbours 0.300 without and 0.305 with them, ridge 0.300 without" in said
    assert "Keep gap 2 and jitter 2" in said
    assert "then worth less" in judge([row(0, 0, 0.9, 0.2, 0.2), row(2, 2, 0.4, 0.3, 0.3)], 1 / 9)


def test_a_jigsaw_whose_features_gain_by_borders_is_told_so():
    said = judge([row(0, 0, 0.9, 0.4, 0.4), row(2, 2, 0.4, 0.3, 0.3)], 1 / 9)
    assert "do not distract" in said and "Try smaller ones" in said


def test_probes_that_disagree_leave_it_to_fine_tuning():
    said = judge([row(0, 0, 0.9, 0.4, 0.3), row(2, 2, 0.4, 0.3, 0.3)], 1 / 9)
    assert "disagree" in said and "jigstack ablate" in said


def test_no_jump_no_labels_and_nothing_learned_are_told_apart():
    assert "does not match borders" in judge([row(0, 0, 0.45, 0.3), row(2, 2, 0.4, 0.3)], 1 / 9)
    assert "Without labels" in judge([row(0, 0, 0.9), row(2, 2, 0.4)], 1 / 9)
    assert "nothing can be said" in judge([row(0, 0, 0.13, 0.3), row(2, 2, 0.11, 0.1)], 1 / 9)


def test_errors_count_for_nothing_where_more_is_better():
    assert row(0, 0, 0.5, 0.25, 0.125).worth("ridge") == 0.125
    assert row(0, 0, 0.5, 0.25, 0.125).worth("knn") == 0.25
    assert math.isnan(row(0, 0, 0.5).worth("knn"))


def test_the_check_trains_the_jigsaw_three_times_and_goes_on_where_it_stopped(
    make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = make_config()
    config["tasks"]["again"] = config["tasks"]["era"]  # learns the same: probed once
    report = jigstack.check(config, shortcuts=1)
    found = report.shortcuts
    assert found is not None
    assert [(each.gap, each.jitter) for each in found.rows] == [(0, 0), (2, 0), (2, 2)]
    assert found.chance == pytest.approx(1 / 9)
    names = set(found.rows[0].scores)
    assert {"era.knn.r2", "era.ridge.r2", "kind.knn.accuracy"} <= names and set(found.random) == names
    assert not any(name.startswith("again") for name in names)
    heading, *lines = found.table()
    assert "era knn r2" in heading and not any("rmse" in cell for cell in heading)
    assert [line[0] for line in lines] == [
        "random init",
        "gap 0, jitter 0",
        "gap 2, jitter 0",
        "gap 2, jitter 2, as configured",
    ]
    assert all(len(line) == len(heading) for line in lines)
    printed = capsys.readouterr().out
    assert "gap 2, jitter 2, as configured" in printed and found.sentence in printed
    assert printed.index(found.sentence) < printed.index("no errors")

    runs = sorted(path.name for path in (tmp_path / "runs").glob("trial-shortcuts-*"))
    assert runs == [
        f"trial-shortcuts-gap{gap}-jitter{jitter}-epochs1" for gap, jitter in ((0, 0), (2, 0), (2, 2))
    ]
    for each, name in zip(found.rows, runs, strict=True):
        (last,) = read_json(tmp_path / "runs" / name / "pretext" / "jig" / "history.json")
        assert each.tile_accuracy == last["scalars"]["held_tile_accuracy"]
        assert not (tmp_path / "runs" / name / "transfer").exists()

    assert look_for_shortcuts(load_config(config), epochs=1, quiet=True) == found
    assert "epoch 1/1" not in capsys.readouterr().out  # everything was finished


def test_an_inductive_jigsaw_of_tiles_is_probed_on_the_fold_it_has_not_seen(make_config: MakeConfig):
    tiles = {
        "name": "jig",
        "kind": "tiles",
        "size": 36,
        "batch": 16,
        "epochs": 3,
        "scope": "inductive",
        "options": {"grid": 2, "gap": 0, "jitter": 1},
    }
    found = look_for_shortcuts(load_config(make_config(pretext=[tiles])), epochs=1, quiet=True)
    assert [(each.gap, each.jitter) for each in found.rows] == [(0, 0), (0, 1)]
    assert found.chance == 0.25 and found.rows[0].scores


def test_what_cannot_be_compared_is_refused_before_the_data_is_read(make_config: MakeConfig, tmp_path: Path):
    other = [{"name": "jig", "kind": "simsiam", "size": 32, "epochs": 1, "batch": 16}]
    missing = make_config()["data"] | {"root": str(tmp_path / "nowhere")}
    with pytest.raises(UserError, match="jigsaw or tiles, received simsiam"):
        jigstack.check(make_config(pretext=other, data=missing), shortcuts=1)
    bare = make_config()["pretext"][0] | {"options": {"gap": 0, "jitter": 0}}
    with pytest.raises(UserError, match=r"received 0 and 0 for pretext jig.*options\.gap=2"):
        chosen_jigsaw(load_config(make_config(pretext=[bare])))
    with pytest.raises(UserError, match="--epochs: expected 1 or more, received 0"):
        look_for_shortcuts(load_config(make_config()), epochs=0)
