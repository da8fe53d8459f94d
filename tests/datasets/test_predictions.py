"""Predictions refuse whatever would let a wrong row into level 2."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from jigstack.configs.data import Folds
from jigstack.datasets.folds import make_plan
from jigstack.datasets.predictions import Predictions, same_plan

IDS = [f"00{i}" for i in range(6)]
PLAN = make_plan(np.array(IDS, dtype=object), Folds(scheme="kfold", n=2), 0)


def rows(views=2):
    """Two fold models, two views: every id out-of-fold once, two test ids once for each fold model."""
    table = [
        (i, "oof", int(fold), v) for i, fold in zip(IDS, PLAN.fold_of(IDS), strict=True) for v in range(views)
    ]
    table += [(i, "test", fold, v) for i in ("t1", "t2") for fold in (0, 1) for v in range(views)]
    table += [(str(i), "insample", 0, 0) for i in PLAN.train_ids(0)[:2]]
    frame = pd.DataFrame(table, columns=["id", "role", "fold", "view"])
    return frame.assign(era=np.linspace(0, 3, len(frame)))


def build(frame=None, **changes):
    given = {
        "frame": rows() if frame is None else frame,
        "task": "era",
        "columns": ("era",),
        "space": "value",
        "plan": PLAN.hash,
        "views": ("identity", "hflip"),
        "decodes": {"target": {"era": 1.0}},
        **changes,
    }
    return Predictions(**given)


def test_each_role_has_its_rows():
    predictions = build()
    assert len(predictions.oof()) == 12
    assert len(predictions.test()) == 8
    assert len(predictions.insample()) == 2
    assert predictions.frame["era"].dtype == np.float32
    predictions.verify(PLAN)


def test_a_written_file_reads_back_the_same(tmp_path: Path):
    predictions = build(classes={"kind": {"a/b": "era"}})
    predictions.write(tmp_path / "era.parquet")
    again = Predictions.read(tmp_path / "era.parquet")
    pd.testing.assert_frame_equal(again.frame, predictions.frame)
    names = ("task", "columns", "space", "plan", "views", "decodes", "classes")
    assert [getattr(again, name) for name in names] == [getattr(predictions, name) for name in names]
    assert again.oof()["id"].iloc[0] == "000"


def test_another_parquet_is_refused(tmp_path: Path):
    rows().to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="expected a predictions file of jigstack"):
        Predictions.read(tmp_path / "x.parquet")


def changed(at, **values):
    frame = rows()
    for name, value in values.items():
        frame.loc[at, name] = value
    return frame


def oof_in_two_folds():
    frame = rows()
    other = frame[frame["id"] == "000"].head(2)
    return pd.concat([frame, other.assign(fold=1 - other["fold"])], ignore_index=True)


def seen_and_held():
    frame = rows()
    first = frame.iloc[:1]
    return pd.concat([frame, first.assign(role="insample")], ignore_index=True)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (rows().drop(columns="view"), r"must have the columns \['id', 'role', 'fold', 'view', 'era'\]"),
        (rows().assign(id=1), "`id` must be text"),
        (
            changed(0, role="train"),
            r"`role` must be one of \['oof', 'test', 'insample'\]; received \['train'\]",
        ),
        (changed(0, era=np.nan), "every value must be finite; 1 ids.*'000'"),
        (changed(0, era=np.inf), "every value must be finite"),
        (changed(0, view=2), r"`view` must be 0 to 1; received \[2\]"),
        (changed([0, 1], fold=-1), r"-1 \(the refitted model\) for test rows only"),
        (pd.concat([rows(), rows().head(1)]), "duplicate rows .* '000'"),
        (oof_in_two_folds(), "out-of-fold for one fold model at most; several claim '000'"),
        (seen_and_held(), "both out-of-fold and in-sample of one fold model: '000'"),
        (rows().drop(index=0), "need all 2 views; 1 rows have fewer: ids '000'"),
        (rows().drop(index=[12, 13]), r"once for each of the fold models \[0, 1\]; .*ids 't1'"),
    ],
)
def test_bad_rows_are_named(frame, message):
    with pytest.raises(ValueError, match="Predictions of task 'era'.*" + message):
        build(frame)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ("id",)}, "`columns` must be one or more different names"),
        ({"views": ()}, "`views` must be one or more different names"),
        ({"decodes": {"target": {"eras": 1.0}}}, r"`decodes\['target'\]` must name prediction columns"),
        ({"classes": {"target": {}}}, r"`classes\['target'\]` must name prediction columns"),
    ],
)
def test_bad_names_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_the_plan_catches_in_sample_rows_under_the_name_of_out_of_fold_ones():
    frame = rows()
    is_oof = frame["role"] == "oof"
    frame.loc[is_oof, "fold"] = 1 - frame.loc[is_oof, "fold"]
    frame = frame[frame["role"] != "insample"]
    with pytest.raises(ValueError, match="6 'oof' rows come from a fold model that does not validate them"):
        build(frame).verify(PLAN)


def test_the_plan_catches_in_sample_rows_that_were_not_trained_on():
    frame = rows()
    frame.loc[frame["role"] == "insample", "fold"] = 1
    frame = frame[~((frame["role"] == "oof") & frame["id"].isin(list(PLAN.train_ids(0))))]
    with pytest.raises(ValueError, match="'insample' ids that fold 1 was not trained on"):
        build(frame).verify(PLAN)


def test_two_plans_do_not_mix():
    with pytest.raises(
        ValueError, match=r"expected one fold plan, received artefacts of the plans \['a', 'b'\]"
    ):
        same_plan(["a", "b", "a"], "features")
    with pytest.raises(ValueError, match="expected one fold plan"):
        build(plan="other").verify(PLAN)


def of_several(counts=(1, 2, 5)):
    """The rows of `rows`; id number i has `counts[i % 3]` images beside number 0, which cannot be read."""
    parts = []
    for place, (_, part) in enumerate(rows().groupby("id", sort=False)):
        owned = range(1, counts[place % 3] + 1)
        parts += [part.assign(view=part["view"] + 2 * image, era=part["era"] + image) for image in owned]
    return pd.concat(parts, ignore_index=True)


def test_a_row_of_several_images_has_all_views_of_each(tmp_path: Path):
    predictions = build(of_several(), images=6)
    predictions.verify(PLAN)
    assert predictions.oof().groupby("id").size().to_dict() == dict(
        zip(IDS, [2, 4, 10, 2, 4, 10], strict=True)
    )
    predictions.write(tmp_path / "era.parquet")
    again = Predictions.read(tmp_path / "era.parquet")
    assert again.images == 6
    pd.testing.assert_frame_equal(again.frame, predictions.frame)


def test_the_file_of_rows_of_one_image_says_nothing_of_several(tmp_path: Path):
    build().write(tmp_path / "era.parquet")
    assert b"images" not in pq.read_schema(tmp_path / "era.parquet").metadata[b"jigstack.predictions"]
    assert Predictions.read(tmp_path / "era.parquet").images == 1


@pytest.mark.parametrize(
    ("change", "images", "message"),
    [
        (lambda frame: frame.drop(index=3), 6, r"all 2 views; 1 images of rows have fewer: ids '001'"),
        (lambda frame: frame, 5, r"`view` must be 0 to 9; received \[10, 11\]"),
        (lambda frame: frame, 1, r"`view` must be 0 to 1; received \[2, 3, 4"),
        (lambda frame: frame, 0, r"`images` must be 1 or more; received 0"),
    ],
)
def test_images_without_all_views_and_more_than_there_are_are_refused(change, images, message):
    with pytest.raises(ValueError, match=message):
        build(change(of_several()), images=images)
