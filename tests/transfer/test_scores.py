"""Heads in the units of what they learned, beside constants of the same folds."""

import numpy as np
import pandas as pd
import pytest
from jigstack.configs.data import Folds
from jigstack.configs.schema import Task
from jigstack.datasets.folds import FoldPlan, make_plan
from jigstack.datasets.predictions import Predictions
from jigstack.datasets.targets import Target, code_target
from jigstack.transfer.scores import score_task
from sklearn.metrics import accuracy_score, mean_squared_error, r2_score

N = 60
IDS = np.array([f"{number:02d}" for number in range(N)])
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "made": RNG.integers(1880, 1940, N).astype(float),
        "kind": RNG.choice(["a", "b", "b", "c"], N),
        "names": [("oil", "canvas") if number % 2 else ("paper", "ink", "ink") for number in range(N)],
    },
    index=pd.Index(IDS, name="id"),
)
FRAME.loc["07", "made"] = np.nan


def plan() -> FoldPlan:
    return make_plan(IDS, Folds(scheme="kfold", n=3), seed=0)


def draws() -> np.random.Generator:
    return np.random.default_rng(1)


def coded(kind: str, column: str, **options: object) -> Target:
    return code_target("head", Task(kind=kind, columns=[column], options=options), FRAME)  # pyright: ignore[reportArgumentType]


def predictions(target: Target, values: np.ndarray, noise: float = 0.0) -> Predictions:
    """Two views around (N, D) values, out of fold."""
    frames = []
    for view, sign in enumerate((1, -1)):
        frame = pd.DataFrame(values + sign * noise, columns=pd.Index(target.columns))
        frame.insert(0, "id", IDS)
        frame.insert(1, "role", "oof")
        frame.insert(2, "fold", plan().fold_of(IDS))
        frame.insert(3, "view", view)
        frames.append(frame)
    return Predictions(
        frame=pd.concat(frames, ignore_index=True),
        task="head",
        columns=tuple(target.columns),
        space=target.space,
        plan=plan().hash,
        views=("identity", "hflip"),
        decodes=target.decodes,
        classes=target.classes,
    )


def test_a_date_is_scored_in_years_against_the_mean_of_the_training_rows():
    target = coded("date", "made")
    guess = FRAME["made"].fillna(1900).to_numpy()[:, None] + RNG.normal(0, 5, (N, 1))
    rmse, r2 = score_task(predictions(target, guess, 0.5), target, FRAME, plan(), draws())
    known = FRAME["made"].notna().to_numpy()
    truth = FRAME["made"].to_numpy()[known]
    means = {fold: FRAME.loc[plan().train_ids(fold), "made"].mean() for fold in range(3)}
    constant = np.array([means[int(fold)] for fold in plan().fold_of(IDS)])[known]
    assert (rmse.measure, rmse.unit, rmse.rows) == ("rmse", "years", N - 1)
    assert rmse.score == pytest.approx(mean_squared_error(truth, guess[known, 0]) ** 0.5, rel=1e-4)
    assert rmse.constant == pytest.approx(mean_squared_error(truth, constant) ** 0.5)
    assert r2.score == pytest.approx(r2_score(truth, guess[known, 0]), rel=1e-3)
    assert rmse.low < rmse.score < rmse.high and rmse.better


def test_a_head_that_knows_nothing_is_not_better_than_the_constant():
    target = coded("date", "made")
    guess = np.full((N, 1), 1910.0) + RNG.normal(0, 1, (N, 1))
    assert not score_task(predictions(target, guess), target, FRAME, plan(), draws())[0].better


def test_classes_are_scored_by_accuracy_against_the_most_frequent():
    target = coded("onehot", "kind", smoothing=0.2)
    guess = np.eye(3)[RNG.integers(0, 3, N)] * 0.8 + 0.05
    (score,) = score_task(predictions(target, guess), target, FRAME, plan(), draws())
    labels = np.array(list(target.classes["kind"]))
    assert score.score == pytest.approx(accuracy_score(FRAME["kind"], labels[guess.argmax(1)]))
    assert score.constant == pytest.approx((FRAME["kind"] == "b").mean())


def test_vectors_of_names_are_scored_by_their_cosine_and_the_share_they_explain():
    target = coded("word2vec", "names", vector_size=5, epochs=60)
    exact = predictions(target, target.truth(FRAME))
    cosine, r2 = score_task(exact, target, FRAME, plan(), draws())
    assert cosine.measure == "cosine" and cosine.score == pytest.approx(1, abs=1e-5) and cosine.constant < 1
    assert r2.score == pytest.approx(1, abs=1e-5) and r2.constant < 0.01


def test_predictions_of_another_plan_are_refused():
    target = coded("date", "made")
    other = make_plan(IDS, Folds(scheme="kfold", n=3), seed=5)
    with pytest.raises(ValueError, match="plan"):
        score_task(predictions(target, np.zeros((N, 1))), target, FRAME, other, draws())
