"""The rows that a run probes on: labelled, readable, of the right fold, and never more than asked for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from jigstack.backbones import TimmBackbone
from jigstack.configs.data import Decode, Folds
from jigstack.configs.schema import Probe, Task
from jigstack.datasets.folds import FoldPlan, make_plan
from jigstack.datasets.images import build_store
from jigstack.datasets.pictures import Pictures
from jigstack.datasets.targets import Target, code_target
from jigstack.pretext.probing import ProbeRows, baselines, embed_first, first_inputs, probe_rows, summary
from jigstack.training.device import Machine
from PIL import Image

N = 48
MACHINE = Machine("cpu", "fp32", False, 1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    ids = np.array([f"r{number:02d}" for number in range(N)], dtype=object)
    paths = []
    for number, name in enumerate(ids):
        pixels = rng.integers(0, 60, (20, 20, 3), dtype=np.uint8)
        pixels[..., number % 3] += np.uint8(120)
        paths.append(str(folder / f"{name}.png"))
        Image.fromarray(pixels).save(paths[-1])
    Path(paths[5]).write_bytes(b"broken")
    return Pictures(build_store(ids, np.array(paths, dtype=object), folder / "store", 40, Decode()))


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    number = np.arange(N)
    values = (number % 3).astype(float)
    values[number % 8 == 7] = np.nan
    years = [f"19{10 + n % 3 * 30}" for n in number]
    index = pd.Index([f"r{n:02d}" for n in number], name="id")
    return pd.DataFrame(
        {"value": values, "colour": [f"c{n % 3}" for n in number], "year": years}, index=index
    )


@pytest.fixture(scope="module")
def plan(frame: pd.DataFrame) -> FoldPlan:
    group = pd.Series([f"g{number // 4}" for number in range(N)], index=frame.index)
    return make_plan(frame.index, Folds(scheme="group", n=4, group="group"), 0, group=group)


def targets(frame: pd.DataFrame, **columns: str) -> dict[str, Target]:
    kinds = {"value": "regression", "colour": "onehot", "year": "date"}
    return {
        name: code_target(name, Task(kind=kinds[column], columns=[column]), frame)  # pyright: ignore[reportArgumentType]
        for name, column in columns.items()
    }


def rows_of(frame, plan, pictures, fold=None, options: Probe | None = None, **columns: str) -> ProbeRows:
    found = probe_rows(targets(frame, **columns), frame, plan, pictures, options or Probe(), 0, fold)
    assert found is not None
    return found


def test_labelled_readable_rows_are_probed_in_the_units_of_the_table(frame, plan, pictures):
    rows = rows_of(frame, plan, pictures, era="value")
    assert rows.ids.tolist() == [f"r{n:02d}" for n in range(N) if n % 8 != 7 and n != 5]
    assert rows.folds.tolist() == plan.fold_of(rows.ids).tolist()
    rows = rows_of(frame, plan, pictures, era="value", tone="colour", year="year")
    assert len(rows.ids) == N - 1
    kinds = {task: kind for task, (kind, _) in rows.targets.items()}
    assert kinds == {"era": "values", "tone": "classes", "year": "values"}
    years = rows.targets["year"][1][:3, 0]
    assert years == pytest.approx([1910.5, 1940.5, 1970.5], abs=0.6)


def test_heads_of_one_target_are_probed_once(frame, plan, pictures):
    rows = rows_of(frame, plan, pictures, first="value", second="value", colour="colour")
    assert list(rows.targets) == ["first", "colour"]


def test_lists_of_names_are_probed_by_the_direction_of_their_vectors(frame, plan, pictures):
    words = frame.assign(names=[f"red, w{number % 3}" for number in range(N)])
    target = code_target(
        "tags", Task(kind="word2vec", columns=["names"], options={"vector_size": 4, "epochs": 2}), words
    )
    rows = probe_rows({"tags": target}, words, plan, pictures, Probe(), 0)
    assert rows is not None and rows.targets["tags"][0] == "directions"
    assert set(rows.scores(torch.randn(len(rows.ids), 3))) == {"tags.knn.cosine", "tags.ridge.cosine"}


def test_of_many_rows_the_same_few_are_drawn(frame, plan, pictures):
    rows, again = (rows_of(frame, plan, pictures, options=Probe(rows=12), tone="colour") for _ in range(2))
    assert len(rows.ids) == 12
    assert rows.ids.tolist() == again.ids.tolist() == sorted(rows.ids)


def test_features_that_tell_the_target_score_well_and_others_do_not(frame, plan, pictures):
    rows = rows_of(frame, plan, pictures, era="value", tone="colour")
    telling = torch.eye(3)[[int(name[1:]) % 3 for name in rows.ids]]
    scores = rows.scores(telling)
    assert set(scores) == {
        *("era.knn.rmse", "era.knn.r2", "era.ridge.rmse", "era.ridge.r2"),
        *("tone.knn.accuracy", "tone.ridge.accuracy"),
    }
    assert scores["tone.ridge.accuracy"] == 1
    assert summary(scores) == pytest.approx((scores["era.ridge.r2"] + 1) / 2)
    noise = torch.randn(len(rows.ids), 3, generator=torch.Generator().manual_seed(0))
    assert summary(rows.scores(noise)) < 0.5


def test_a_pretext_of_one_fold_is_scored_on_that_fold_only(frame, plan, pictures):
    rows = rows_of(frame, plan, pictures, 2, tone="colour")
    features = torch.randn(len(rows.ids), 5, generator=torch.Generator().manual_seed(0))
    before = rows.scores(features)
    held = torch.from_numpy(rows.folds == 2)
    elsewhere = rows.targets["tone"][1].copy()
    elsewhere[held.numpy()] = np.eye(3)[0]
    changed = ProbeRows(
        rows.ids, rows.folds, rows.groups, {"tone": ("classes", elsewhere)}, rows.neighbours, rows.scored
    )
    assert changed.scores(features) != before
    assert changed.inner().scores(features[~held]) == rows.inner().scores(features[~held])  # pyright: ignore[reportOptionalMemberAccess]
    assert 2 not in rows.inner().folds  # pyright: ignore[reportOptionalMemberAccess]


def test_one_checkpoint_for_all_folds_chooses_by_all_rows(frame, plan, pictures):
    rows = rows_of(frame, plan, pictures, tone="colour")
    assert rows.inner() is rows


def test_there_is_nothing_to_probe_without_tasks_or_for_the_refit(frame, plan, pictures):
    assert probe_rows({}, frame, plan, pictures, Probe(), 0) is None
    assert probe_rows(targets(frame, tone="colour"), frame, plan, pictures, Probe(), 0, -1) is None


def test_without_scores_the_summary_is_the_worst(frame, plan, pictures):
    assert summary({"era.ridge.rmse": 3.0, "era.knn.r2": 0.9}) == float("-inf")


def test_embedding_is_the_backbone_on_resized_pictures_and_changes_nothing_in_it(frame, plan, pictures):
    torch.manual_seed(0)
    backbone = TimmBackbone("test_resnet", 3, 40).train()
    ids = np.array(["r03", "r00", "r04"], dtype=object)
    statistics = {name: value.clone() for name, value in backbone.state_dict().items()}
    found = embed_first(backbone, pictures, ids, MACHINE)
    assert backbone.training
    assert all(torch.equal(value, statistics[name]) for name, value in backbone.state_dict().items())
    images = pictures.store.gather(pictures.first(ids)).float() / 255  # as large as the network was built for
    with torch.no_grad():
        expected = backbone.eval()(backbone.normalise(images))
    assert torch.equal(found, expected)


def test_raw_pixels_stand_beside_the_backbones(frame, plan, pictures):
    rows = rows_of(frame, plan, pictures, tone="colour")
    torch.manual_seed(0)
    table = baselines(rows, pictures, MACHINE, {"random init": lambda: TimmBackbone("test_resnet", 3, 32)})
    assert list(table) == ["raw pixels", "random init"]
    assert table["raw pixels"]["tone.knn.accuracy"] == 1  # the colour of a picture is its class
    assert sum(len(batch) for batch in first_inputs(pictures, rows.ids)) == len(rows.ids)


@pytest.mark.parametrize(("centre", "measure"), [("row", "pearson"), ("column", "pearson_columns")])
def test_a_task_of_correlations_is_probed_and_chosen_by_its_correlation(
    frame, plan, pictures, centre: str, measure: str
):
    number = np.arange(N)
    wide = frame.assign(a=number % 3, b=100.0 * (number % 3 == 1), c=number % 2)
    options = {"loss": "pearson", "centre": centre}
    task = Task(kind="regression", columns=["a", "b", "c"], options=options)
    rows = probe_rows({"shape": code_target("shape", task, wide)}, wide, plan, pictures, Probe(), 0)
    assert rows is not None
    places = np.array([int(name[1:]) for name in rows.ids])
    features = torch.randn(len(places), 4, generator=torch.Generator().manual_seed(0))
    features[:, 0] = torch.from_numpy((places % 3 == 1).astype(np.float32))
    scores = rows.scores(features)
    assert set(scores) == {f"shape.{way}.{measure}" for way in ("knn", "ridge")}
    assert summary(scores) == scores[f"shape.ridge.{measure}"]
    assert summary(rows.scores(torch.from_numpy(np.eye(6, dtype=np.float32)[places % 6]))) > summary(scores)
