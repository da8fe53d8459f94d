"""Submissions have the shape that is asked for, or none is written."""

import numpy as np
import pandas as pd
import pytest
from jigstack.stacking import Ladder, Rung, write_submissions

IDS = tuple(f"00{i}" for i in range(6))
KINDS = ("cat", "dog", "owl")


def ladder(target=("era",), metric="rmse", outputs=None, name="main", lost=(), values=None, value_range=None):
    """A ladder of two rungs, constant and head, over six test ids."""
    is_classes = metric in ("accuracy", "logloss", "auc", "f1")
    outputs = tuple(outputs or target)
    rng = np.random.default_rng(0)
    parts = []
    for rung in ("constant", "head"):
        numbers = (
            rng.uniform(0, 3, size=(len(IDS), len(outputs))) if rung == "head" else np.ones((6, len(outputs)))
        )
        if values is not None and rung == "head":
            numbers = np.full((6, len(outputs)), values)
        if is_classes:
            numbers = numbers / numbers.sum(axis=1, keepdims=True)
        frame = pd.DataFrame(numbers, columns=list(outputs))
        frame.insert(0, "id", IDS)
        frame.insert(0, "role", "test")
        frame.insert(0, "rung", rung)
        parts.append(frame[~frame["id"].isin(lost)] if rung == "head" else frame)
    rungs = tuple(
        Rung(rung, "head", None, 1.0, 1.0, 0.9, 1.1, {0: 1.0}, None, 1) for rung in ("constant", "head")
    )
    return Ladder(
        name=name,
        target=tuple(target),
        metric=metric,
        greater_is_better=metric not in ("rmse", "mae", "logloss"),
        is_classes=is_classes,
        outputs=outputs,
        range=value_range,
        labelled=9,
        scored=9,
        rungs=rungs,
        comparisons=(),
        best="head",
        chosen="head",
        choice=1.0,
        choices={0: "head"},
        sentence="",
        notes=(),
        plan="plan",
        test_ids=IDS,
        predictions=pd.concat(parts, ignore_index=True),
    )


def read(path):
    return pd.read_csv(path, dtype={"object_id": str})


def submit(tmp_path, *ladders, sample=None, **options):
    path = None
    if sample is not None:
        path = tmp_path / "sample.csv"
        sample.to_csv(path, index=False)
    return write_submissions(ladders, "object_id", tmp_path, path, **options)


def sample_of(ids=IDS, **columns):
    return pd.DataFrame({"object_id": list(ids), **columns})


def test_every_rung_is_written_and_the_chosen_one_again(tmp_path):
    made = ladder()
    written = submit(tmp_path, made)
    assert [path.name for path in written.rungs.values()] == ["constant.csv", "head.csv"]
    frame = read(written.chosen)
    assert list(frame.columns) == ["object_id", "era"]
    assert frame["object_id"].tolist() == list(IDS)
    assert frame["era"].to_numpy() == pytest.approx(made.test("head")["era"].to_numpy())
    assert written.chosen.read_text() == (tmp_path / "submissions" / "head.csv").read_text()
    assert written.warnings == ()


@pytest.mark.parametrize(
    ("metric", "outputs", "columns"),
    [
        ("accuracy", KINDS, ["kind"]),
        ("f1", KINDS, ["kind"]),
        ("logloss", KINDS, ["cat", "dog", "owl"]),
        ("auc", ("no", "yes"), ["kind"]),
    ],
)
def test_without_a_sample_the_metric_decides_between_labels_and_probabilities(
    tmp_path, metric, outputs, columns
):
    made = ladder(("kind",), metric, outputs)
    frame = read(submit(tmp_path, made).chosen)
    assert list(frame.columns) == ["object_id", *columns]
    if metric == "auc":
        assert frame["kind"].to_numpy() == pytest.approx(made.test("head")["yes"].to_numpy())
    if columns == ["kind"] and metric != "auc":
        assert frame["kind"].tolist() == made.test("head").idxmax(axis=1).tolist()


def test_qwk_is_written_in_whole_numbers(tmp_path):
    text = submit(tmp_path, ladder(metric="qwk", values=2.0)).chosen.read_text()
    assert text.splitlines()[1] == "000,2"


def test_several_stacks_share_one_file(tmp_path):
    written = submit(
        tmp_path, ladder(("gas",), "accuracy", KINDS, "gas"), ladder(("concentration",), name="conc")
    )
    assert list(read(written.chosen).columns) == ["object_id", "gas", "concentration"]
    assert (tmp_path / "submissions" / "gas.constant.csv").exists()
    swapped = read(written.rungs["gas", "constant"])
    assert swapped["concentration"].equals(read(written.chosen)["concentration"])


def test_a_sample_sets_order_of_rows_and_columns(tmp_path):
    made = ladder(("era", "year"))
    sample = sample_of(IDS[::-1], year=0, era=0)[["year", "object_id", "era"]]
    frame = read(submit(tmp_path, made, sample=sample).chosen)
    assert list(frame.columns) == ["year", "object_id", "era"]
    assert frame["object_id"].tolist() == list(IDS[::-1])
    assert frame["year"].to_numpy() == pytest.approx(made.test("head")["year"].to_numpy()[::-1])


def test_a_single_column_of_another_name_is_the_target(tmp_path):
    frame = read(submit(tmp_path, ladder(), sample=sample_of(Predicted=0.0)).chosen)
    assert list(frame.columns) == ["object_id", "Predicted"]


@pytest.mark.parametrize("pattern", ["{}", "kind_{}", "{}_vote"])
def test_probability_columns_are_found_in_any_order_and_with_a_common_prefix_or_suffix(tmp_path, pattern):
    made = ladder(("kind",), "logloss", KINDS)
    names = [pattern.format(kind) for kind in ("owl", "cat", "dog")]
    frame = read(submit(tmp_path, made, sample=sample_of(**dict.fromkeys(names, 0.0))).chosen)
    assert list(frame.columns) == ["object_id", *names]
    assert frame[names[0]].to_numpy() == pytest.approx(made.test("head")["owl"].to_numpy())


def test_a_label_column_holds_labels(tmp_path):
    frame = read(submit(tmp_path, ladder(("kind",), "accuracy", KINDS), sample=sample_of(kind="cat")).chosen)
    assert set(frame["kind"]) <= set(KINDS)


@pytest.mark.parametrize(("metric", "names"), [("logloss", KINDS), ("rmse", ("era", "year"))])
def test_the_long_form_has_a_row_for_each_id_and_name(tmp_path, metric, names):
    made = ladder(("kind",) if metric == "logloss" else names, metric, names)
    pairs = [(i, name) for name in names[::-1] for i in IDS]
    sample = pd.DataFrame({"object_id": [p[0] for p in pairs], "value": 0.5, "name": [p[1] for p in pairs]})
    frame = read(submit(tmp_path, made, sample=sample).chosen)
    assert list(frame.columns) == ["object_id", "value", "name"]
    assert frame["name"].tolist() == sample["name"].tolist()
    expected = [made.test("head").loc[i, name] for i, name in pairs]
    assert frame["value"].to_numpy() == pytest.approx(np.array(expected))


def test_a_row_without_prediction_is_never_filled_silently(tmp_path):
    made = ladder(lost=["002", "004"])
    with pytest.raises(ValueError, match=r"2 test rows have no prediction: '002', '004'.*`unreadable`"):
        submit(tmp_path, made)
    with pytest.raises(ValueError, match="1 test rows have no prediction: '004'"):
        submit(tmp_path, made, unreadable=["002"])
    assert not (tmp_path / "submission.csv").exists()
    written = submit(tmp_path, made, unreadable=["002", "004"])
    frame = read(written.chosen).set_index("object_id")
    assert frame.loc[["002", "004"], "era"].tolist() == [1.0, 1.0]
    (warning,) = written.warnings
    assert (warning.code, warning.severity, warning.ids) == (
        "unreadable-test-rows",
        "warning",
        ("002", "004"),
    )


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (
            pd.DataFrame({"objectid": IDS, "era": 0}),
            "expected the id column 'object_id'.*Did you mean 'objectid'",
        ),
        (sample_of(), "one or more further columns"),
        (sample_of(IDS[:5], era=0), "1 test rows are not asked for: '005'"),
        (sample_of((*IDS, "9"), era=0), "1 ids have no test row: '9'"),
        (
            sample_of(("0", *IDS[1:]), era=0),
            "1 ids have no test row: '0'; 1 test rows are not asked for: '000'",
        ),
        (sample_of(erra=0, x=0), r"needs the columns \['era'\].*Did you mean 'erra'"),
        (sample_of(era=0, extra=0), r"no stack fills the columns \['extra'\]"),
        (sample_of(era="old"), "column 'era' holds text .'old'., the predictions are numbers"),
        (sample_of(IDS * 2, name="era", value=0), "expected each id once with each of the names"),
        (sample_of(IDS * 2, name="year", value=0), "expected one column that holds the names"),
        (sample_of(IDS * 2, a=0), "taken for the long form"),
    ],
)
def test_a_sample_that_does_not_fit_is_an_error(tmp_path, sample, message):
    with pytest.raises(ValueError, match=message):
        submit(tmp_path, ladder(), sample=sample)
    assert not (tmp_path / "submission.csv").exists()


def test_labels_do_not_go_into_a_column_of_numbers_nor_probabilities_into_one_column(tmp_path):
    with pytest.raises(ValueError, match=r"holds numbers .'0'., the predictions are labels"):
        submit(tmp_path, ladder(("kind",), "accuracy", KINDS), sample=sample_of(kind=0))
    with pytest.raises(ValueError, match="probabilities of 3 classes, but the sample has the single column"):
        submit(tmp_path, ladder(("kind",), "logloss", KINDS), sample=sample_of(kind=0))


def test_values_out_of_range_or_missing_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="expected test predictions from 0 to 3, received 5 to 5"):
        submit(tmp_path, ladder(values=5.0, value_range=(0, 3)))
    with pytest.raises(ValueError, match="NaN or infinite"):
        submit(tmp_path, ladder(values=np.inf))


def test_stacks_of_different_test_rows_or_equal_columns_do_not_share_a_file(tmp_path):
    with pytest.raises(ValueError, match="must hold one ladder or more"):
        submit(tmp_path)
    with pytest.raises(ValueError, match=r"columns of the same name: \['era'\]"):
        submit(tmp_path, ladder(), ladder(name="again"))
