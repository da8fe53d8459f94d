"""`ablate` on the tiny museum: the table, what it shares, and what it says."""

import json

import numpy as np
import pandas as pd
import pytest
from jigstack.configs.errors import UserError
from jigstack.pipeline import ablating
from jigstack.pipeline.ablating import ablate
from jigstack.pipeline.commands import pretrain
from jigstack.pipeline.estimate import Estimate

from .conftest import MakeConfig


def test_starts_are_compared_pair_by_pair_and_finished_parts_are_shared(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
):
    config = make_config()
    pretrain(config, quiet=True)
    found = ablate(config, rows=["jigsaw", "simsiam"])
    said = capsys.readouterr().out
    assert found is not None and "from other runs: pretrain/jig" in said
    assert [row.label for row in found.rows] == ["raw pixels", "scratch", "jigsaw", "simsiam"]
    assert (found.head, found.measure) == ("era", "rmse")
    raw, scratch, jigsaw, simsiam = found.rows
    assert raw.score is None and scratch.gain is None
    for row in (jigsaw, simsiam):
        assert row.score is not None and row.gain is not None and row.low is not None and row.high is not None
        assert scratch.score is not None
        assert row.gain == pytest.approx(scratch.score - row.score)  # a smaller rmse is a gain
        assert row.low <= row.gain <= row.high
        assert set(row.folds) == {0, 1, 2} and set(row.probes) == {"knn.all", "ridge.all"}
        assert row.minutes > 0
    assert found.sentence in said and "gain a fold" in said

    frame = pd.read_csv(found.path / "ablation.csv")
    assert frame["start"].tolist() == ["raw pixels", "scratch", "jigsaw", "simsiam"]
    scores = [row.score for row in found.rows[1:] if row.score is not None]
    np.testing.assert_allclose(frame["score"].iloc[1:], scores)
    assert json.loads((found.path / "ablation.json").read_text())["sentence"] == found.sentence

    again = ablate(config, rows=["jigsaw", "simsiam"])
    assert again == found
    assert "to train" not in capsys.readouterr().out  # everything was finished


def test_a_varied_key_gives_a_row_for_each_value_after_its_hours(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
):
    config = make_config()
    assert ablate(config, rows=["scratch"], vary=["tasks.era.epochs=1,3"], dry=True) is None
    said = capsys.readouterr().out
    assert "4 rows: at most about" in said and "hours" in said
    found = ablate(config, rows=["scratch"], vary=["tasks.era.epochs=1,3"], quiet=True)
    assert found is not None
    assert [row.label for row in found.rows[1:]] == [
        "scratch",
        "as configured",
        "tasks.era.epochs=1",
        "tasks.era.epochs=3",
    ]
    assert len({row.score for row in found.rows[1:]}) == 4
    # Settings of the head share their start with what was configured.
    assert found.rows[2].probes["ridge.all"] != found.rows[1].probes["ridge.all"]
    assert found.rows[2].probes == found.rows[3].probes == found.rows[4].probes

    wider = ablate(config, rows=["scratch"], vary=["pretext.jig.options.gap=0"], quiet=True)
    assert wider is not None and wider.rows[3].probes.keys() == found.rows[2].probes.keys()
    assert wider.rows[3].probes != found.rows[2].probes

    other = ablate(config, rows=["scratch"], vary=["tasks.era.epochs=3,2"], quiet=True)
    assert other is not None  # neither refused nor mixed up with the values of before
    assert other.rows[3].score == found.rows[4].score and other.rows[4].label == "tasks.era.epochs=2"


@pytest.mark.parametrize("optuna", [0, 2])
@pytest.mark.parametrize("key", ["tasks.era.columns=[target],[series]", "folds.n=2,3", "seed=0,1"])
def test_keys_that_change_what_is_scored_are_neither_varied_nor_searched(
    make_config: MakeConfig, key: str, optuna: int, tmp_path
):
    pytest.importorskip("optuna")
    with pytest.raises(UserError, match="its rows could not be compared"):
        ablate(make_config(), vary=[key], optuna=optuna, quiet=True)
    assert not (tmp_path / "runs" / "trial-ablate").exists()


def test_options_that_change_the_truth_of_a_head_are_not_varied(make_config: MakeConfig, tmp_path):
    words = {"kind": "word2vec", "columns": ["series"], "size": 32, "epochs": 1}
    config = make_config(tasks={"words": words}, stack={})
    with pytest.raises(UserError, match=r"'tasks\.words\.options\.vector_size' \(with 2\)"):
        ablate(config, rows=["scratch"], vary=["tasks.words.options.vector_size=2,3"], quiet=True)
    with pytest.raises(UserError, match="how the head is trained"):
        ablate(config, rows=["scratch"], vary=["name=a,b"], quiet=True)


def test_the_hours_of_a_search_grow_with_its_trials(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def a_second_each(stages, wanted) -> Estimate:
        return Estimate({stage.name: 1.0 for stage in wanted if stage.training}, 0, 0)

    monkeypatch.setattr(ablating, "estimate", a_second_each)
    space = ["tasks.era.epochs=1,4"]
    said = []
    for trials in (10, 20):
        ablate(make_config(), rows=["jigsaw"], vary=space, optuna=trials, dry=True)
        said.append(capsys.readouterr().out)
    # One pretraining, two rows of three folds, and three folds a trial.
    assert "about 37 s" in said[0] and "about 1:07 min" in said[1]


def test_a_key_that_does_not_exist_is_told_before_anything_is_trained(make_config: MakeConfig, tmp_path):
    for optuna in (0, 2):
        with pytest.raises(UserError, match=r"tasks\.era\.epoch"):
            ablate(make_config(), vary=["tasks.era.epoch=1,3"], optuna=optuna, quiet=True)
    assert not (tmp_path / "runs" / "trial-ablate").exists()


def test_starts_of_a_table_are_compared_with_its_raw_columns(
    make_table_config: MakeConfig, capsys: pytest.CaptureFixture[str]
):
    found = ablate(make_table_config())
    said = capsys.readouterr().out
    assert found is not None and [row.label for row in found.rows] == ["raw columns", "scratch", "masked"]
    raw, scratch, masked = found.rows
    assert raw.probes["ridge.all"] > 0.5  # the target is nearly linear in the columns
    assert scratch.score is not None and masked.score is not None
    assert masked.gain == pytest.approx(scratch.score - masked.score) and "image" not in said
    assert ablate(make_table_config(), rows=["masked"], quiet=True) == found


def test_an_inductive_pretext_of_a_table_is_probed_one_fold_after_the_other(make_table_config: MakeConfig):
    data = make_table_config()["data"] | {"test": [], "unlabelled": []}
    found = ablate(make_table_config(data=data), quiet=True)
    assert found is not None and found.rows[2].probes.keys() == found.rows[0].probes.keys()
