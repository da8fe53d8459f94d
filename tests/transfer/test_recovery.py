"""Names are found for a prediction by the rows it lies next to."""

import numpy as np
import pandas as pd
import pytest
from jigstack.configs.data import Folds
from jigstack.configs.schema import Task
from jigstack.datasets.folds import FoldPlan, make_plan
from jigstack.datasets.predictions import Predictions
from jigstack.datasets.tags import Word2vecTarget
from jigstack.datasets.targets import code_target
from jigstack.scoring.retrieval import Recall
from jigstack.transfer import recovery
from jigstack.transfer.recovery import Recovery, recover_names
from sklearn.neighbors import KNeighborsClassifier

KINDS = (("oil", "canvas"), ("ink", "paper"), ("oil", "wood"), ("oil", "canvas"))
IDS = np.array([f"{number:02d}" for number in range(60)])
FRAME = pd.DataFrame(
    {"names": [KINDS[number % 4] for number in range(60)]}, index=pd.Index(IDS, name="id"), dtype=object
)


def plan() -> FoldPlan:
    return make_plan(IDS, Folds(scheme="kfold", n=3), seed=0)


def tags(frame: pd.DataFrame = FRAME) -> Word2vecTarget:
    task = Task(kind="word2vec", columns=["names"], options={"vector_size": 5, "epochs": 60})
    return code_target("tags", task, frame)  # pyright: ignore[reportReturnType]


def recovered(values: np.ndarray, frame: pd.DataFrame = FRAME, **options: int) -> Recovery:
    """The recovery of out-of-fold predictions (N, D) in one view."""
    target = tags(frame)
    rows = pd.DataFrame(values, columns=pd.Index(target.columns)).fillna(0.0)
    keys = {"id": IDS, "role": "oof", "fold": plan().fold_of(IDS), "view": 0}
    predictions = Predictions(
        frame=pd.concat([pd.DataFrame(keys), rows], axis=1),
        task="tags",
        columns=tuple(target.columns),
        space=target.space,
        plan=plan().hash,
        views=("identity",),
    )
    found = recover_names(predictions, target, frame, plan(), np.random.default_rng(1), **options)
    assert found is not None
    return found


def test_a_head_that_is_right_recovers_every_name():
    found = recovered(tags().truth(FRAME), k=2, neighbours=8)
    assert found.predicted == found.ceiling == Recall(1.0, 1.0, 1.0)
    assert (found.rows, len(found.examples)) == (60, 8)
    example = found.examples[0]
    assert example.names == FRAME.loc[example.id, "names"]
    assert set(example.found) == set(example.names) and len(example.nearest) == 2


def test_the_most_frequent_names_need_no_picture():
    """Oil and canvas: one of the two for three of four rows, both for half of them; two of five names."""
    found = recovered(tags().truth(FRAME), k=2)
    assert found.frequent == pytest.approx(Recall(0.75, 0.625, 0.4))


def test_votes_are_scikit_learns_nearest_neighbours():
    values = np.random.default_rng(0).normal(size=(60, 5))
    found = recovered(values, k=1, neighbours=5, shown=60)
    truth, names = tags().truth(FRAME), ["oil", "canvas", "ink", "paper", "wood"]
    for example in found.examples:
        row = int(example.id)
        train = np.isin(IDS, plan().train_ids(int(plan().fold_of(IDS[[row]])[0])))
        votes = {}
        for name in names:
            has = np.array([name in listed for listed in FRAME["names"]])[train].astype(float)
            twin = KNeighborsClassifier(5, metric="cosine").fit(truth[train], has)
            votes[name] = twin.predict_proba(values[[row]])[0, list(twin.classes_).index(1.0)]
        assert votes[example.found[0]] == max(votes.values())


def test_rows_without_names_are_left_out_and_many_rows_are_sampled(monkeypatch: pytest.MonkeyPatch):
    frame = FRAME.copy()
    frame.loc["07", "names"] = None
    values = tags(frame).truth(frame)
    assert recovered(values, frame).rows == 59
    monkeypatch.setattr(recovery, "MOST", 9)
    assert recovered(values, frame).rows == 9
