"""Keys, finished stages, and what changed."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jigstack.pipeline.manifest import Job, Manifest, Stage
from jigstack.pipeline.run_directory import RunDirectory

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3),
)


def stage(run: Path | None = None, **inputs: object) -> Stage:
    if run is not None:
        (run / "pretext/jig").mkdir(parents=True, exist_ok=True)
        (run / "pretext/jig/weights").write_text("12345")
    return Stage(Job("pretrain", "jig"), "pretext/jig", {"epochs": 3, **inputs}, ["weights"], training=True)


@given(
    st.dictionaries(st.text(max_size=4), values, max_size=4),
    st.dictionaries(st.text(max_size=4), values, max_size=4),
)
def test_equal_inputs_equal_keys_and_other_inputs_other_keys(one: dict, other: dict):
    first, second = (Stage(Job("stack", "t"), ".", inputs, []) for inputs in (one, other))
    same = repr(sorted(one.items())) == repr(sorted(other.items()))
    assert (first.key == second.key) == same


def test_names_follow_stage_name_and_fold():
    assert stage().name == "pretrain/jig"
    assert Stage(Job("finetune", "a+b", 2), "x", {}, []).name == "finetune/a+b/fold2"
    assert Stage(Job("finetune", "a+b", -1), "x", {}, []).name == "finetune/a+b/refit"


def test_a_stage_is_done_until_a_value_or_a_file_changes(tmp_path: Path):
    manifest = Manifest(tmp_path)
    assert not manifest.done(stage(tmp_path))
    manifest.record(stage(tmp_path), 1.5, "cpu")
    again = Manifest(tmp_path)
    assert again.done(stage()) and not again.done(stage(epochs=4))
    (tmp_path / "pretext/jig/weights").write_text("123")
    assert not again.done(stage())


def test_a_training_is_lost_to_whatever_takes_its_place(tmp_path: Path):
    """A checkpoint that is only taken from elsewhere is not."""
    manifest = Manifest(tmp_path)
    trained, taken = stage(tmp_path), replace(stage(reused="file"), training=False)
    assert not manifest.loses(trained)
    manifest.record(trained, 3600.0, "cpu")
    assert Manifest(tmp_path).loses(taken) and manifest.loses(stage(epochs=4))
    manifest.record(taken, 0.1, "cpu")
    assert not Manifest(tmp_path).loses(trained)
    older = replace(manifest.entries[taken.name], training=None)
    manifest.adopt(taken, older)
    assert Manifest(tmp_path).loses(trained) and not manifest.loses(taken)


def test_changes_are_told_value_by_value(tmp_path: Path):
    manifest = Manifest(tmp_path)
    manifest.record(stage(tmp_path, crop=(0.5, 1.0)), 1.0, "cpu")
    again = Manifest(tmp_path)
    assert again.changes(stage(crop=(0.5, 1.0))) == []
    assert again.changes(stage(epochs=4, crop=(0.6, 1.0))) == [
        "crop: [0.5, 1.0] → (0.6, 1.0)",
        "epochs: 3 → 4",
    ]


def test_a_stage_that_did_not_write_what_it_announced_is_not_noted(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        Manifest(tmp_path).record(stage(), 1.0, "cpu")


def test_a_damaged_result_is_not_taken_from_another_run(tmp_path: Path):
    one, two = RunDirectory(tmp_path / "one"), RunDirectory(tmp_path / "two")
    one.manifest.record(stage(one.path), 1.0, "cpu")
    assert two.find_elsewhere(stage()) is not None and one.find_elsewhere(stage()) is None
    (one.path / "pretext/jig/weights").write_text("")
    assert two.find_elsewhere(stage()) is None


def test_a_stage_that_is_done_again_leaves_no_file_of_before(tmp_path: Path):
    manifest = Manifest(tmp_path)
    first = stage(tmp_path)
    (tmp_path / "pretext/jig/seed1").write_text("1")
    manifest.record(replace(first, outputs=["weights", "seed1"]), 1.5, "cpu")
    (tmp_path / "pretext/jig/notes").write_text("mine")
    manifest.forget(stage(epochs=4))
    assert not Manifest(tmp_path).entries
    assert [path.name for path in (tmp_path / "pretext/jig").iterdir()] == ["notes"]


@pytest.mark.parametrize("by_fold_first", [False, True])
def test_once_and_fold_by_fold_take_each_others_place(tmp_path: Path, by_fold_first: bool):
    """A pretraining whose scope changed: its former weights must not be taken for its present ones."""
    whole = stage(tmp_path)
    folder = tmp_path / "pretext/jig/fold1"
    folder.mkdir()
    (folder / "weights").write_text("12345")
    by_fold = Stage(
        Job("pretrain", "jig", 1), "pretext/jig/fold1", {"epochs": 3, "scope": "inductive"}, ["weights"], True
    )
    before, after = (by_fold, whole) if by_fold_first else (whole, by_fold)
    other = Stage(Job("pretrain", "jigs"), "pretext/jig", {}, [])
    manifest = Manifest(tmp_path)
    manifest.record(other, 1.0, "cpu")
    manifest.record(before, 1.5, "cpu")
    assert manifest.in_the_way(after) == [before.name]
    assert any(change.startswith("scope: ") for change in manifest.changes(after))
    manifest.forget(after)
    assert list(Manifest(tmp_path).entries) == [other.name]
    assert not (tmp_path / before.folder / "weights").exists()
    assert (tmp_path / after.folder / "weights").exists()
