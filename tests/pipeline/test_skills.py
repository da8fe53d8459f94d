"""Which columns follow from the others: read from a run, told in a few lines, drawn in the report."""

from pathlib import Path

import jigstack
import pytest
from jigstack.datasets.files import write_json
from jigstack.pipeline.manifest import Job, Stage
from jigstack.pipeline.skills import NAMED, SHOWN, Skills, average, bars, lines_of, read_skills


def of(count: int) -> Skills:
    """Skills from 1 down in steps of a hundredth."""
    return Skills("mask", {f"c{number:03d}": 1 - number / 100 for number in range(count)})


def pretraining(run: Path, name: str, fold: int | None, skills: dict[str, float] | None) -> Stage:
    folder = f"pretext/{name}" + ("" if fold is None else f"/fold{fold}")
    outputs = [] if skills is None else ["columns.json"]
    (run / folder).mkdir(parents=True)
    write_json(run / folder / "columns.json", {"left": 1.0} if skills is None else skills)
    return Stage(Job("pretrain", name, fold), folder, {}, outputs)


def test_folds_are_averaged_and_the_best_comes_first(tmp_path: Path):
    stages = [
        pretraining(tmp_path, "mask", 0, {"a": 0.2, "b": 0.9}),
        pretraining(tmp_path, "mask", 1, {"a": 0.4, "c": -1.0}),
        pretraining(tmp_path, "views", None, {}),  # it predicts no cells
        pretraining(tmp_path, "jig", None, None),  # of an older training with the same name
    ]
    (found,) = read_skills(tmp_path, stages)
    assert (found.pretext, found.folds) == ("mask", 2)
    assert list(found.values) == ["b", "a", "c"]
    assert found.values == pytest.approx({"b": 0.9, "a": 0.3, "c": -1.0})
    assert "mean over 2 folds" in found.summary


def test_equals_stand_by_name():
    assert list(average([{"z": 0.5, "a": 0.5, "m": 0.7}])) == ["m", "a", "z"]


def test_few_columns_are_all_named_and_of_many_the_ends():
    few = lines_of(Skills("mask", {"a": 0.9, "b": 0.5, "c": -0.2, "d": 0.0}))
    assert few[0].startswith(
        "columns of mask, each predicted from the others. Median 0.25, 2 of 4 at 0 or below"
    )
    assert few[1:] == ["  a 0.90, b 0.50, c -0.20, d 0.00"]
    many = lines_of(of(2 * NAMED + 1))
    assert many[1] == "  best: c000 1.00, c001 0.99, c002 0.98, c003 0.97, c004 0.96"
    assert many[2] == "  worst: c006 0.94, c007 0.93, c008 0.92, c009 0.91, c010 0.90"


def test_bars_show_the_ends_and_count_what_is_between():
    every = bars(of(2 * SHOWN))
    assert len(every) == 2 * SHOWN and all("skill" in bar for bar in every)
    cut = bars(of(150))
    assert len(cut) == 2 * SHOWN + 1
    assert cut[SHOWN] == {"rest": 90, "span": "-0.190 to 0.700"}
    assert [cut[0]["name"], cut[SHOWN + 1]["name"], cut[-1]["name"]] == ["c000", "c120", "c149"]
    assert cut[0]["width"] == 100 and cut[-1]["width"] == 0  # a bar has no length below 0
    assert bars(Skills("mask", {"a": 0.255}))[0]["width"] == 25.5


def test_a_pretraining_tells_its_columns_and_the_report_shows_them(
    make_table_config, capsys: pytest.CaptureFixture
):
    path = jigstack.run(make_table_config()).path
    printed = capsys.readouterr().out
    assert printed.count("columns of mask, each predicted from the others. Median") == 1
    report = (path / "report.html").read_text()
    assert "pretrain/mask: how well each column follows from the others" in report
    for column in ("heat", "load", "dust", "site"):
        assert f"<td>{column}</td>" in report
    jigstack.run(make_table_config())
    assert "columns of mask" not in capsys.readouterr().out  # nothing was trained
