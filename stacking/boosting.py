"""LightGBM as level 2: shallow trees, strong bagging, few rounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from ..scoring.metrics import Array
from ..scoring.ridge import varying
from .ridge import Split

MOST_ROUNDS = 3000
PATIENCE = 50
FEWEST_TO_BAG = 40
PARAMETERS: dict[str, Any] = {
    "learning_rate": 0.03,
    "max_depth": 3,
    "num_leaves": 7,
    "bagging_fraction": 0.5,
    "bagging_freq": 1,
    "feature_fraction": 0.7,
    "max_bin": 63,
    # The same bits on every run need all of these, and a fixed number of threads.
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True)
class BoostingModel:
    """Fitted boosters.

    Args:
        names: names of the D features handed in.
        kept: for each booster, the positions of the features that vary in its training rows.
        boosters: one for each output column, or a single one for classes.
        rounds: trees of each booster.
        probabilities: whether the outputs are class probabilities.
    """

    names: tuple[str, ...]
    kept: np.ndarray
    boosters: tuple[lgb.Booster, ...]
    rounds: tuple[int, ...]
    probabilities: bool

    def predict(self, x: Array) -> Array:
        """Outputs (N, O) of features (N, D); missing values go the way the trees learned."""
        columns = []
        for booster, rounds in zip(self.boosters, self.rounds, strict=True):
            values = np.asarray(
                booster.predict(x[:, self.kept], num_iteration=rounds, num_threads=1), dtype=np.float64
            )
            columns.append(values if values.ndim == 2 else values[:, None])
        outputs = np.concatenate(columns, axis=1)
        if self.probabilities and outputs.shape[1] == 1:
            return np.concatenate([1 - outputs, outputs], axis=1)
        return outputs

    def gains(self) -> Array:
        """Total gain of each feature (boosters, D); 0 for a feature that was left out."""
        gains = np.zeros((len(self.boosters), len(self.names)))
        for b, booster in enumerate(self.boosters):
            gains[b, self.kept] = booster.feature_importance(importance_type="gain")
        return gains

    def texts(self) -> list[str]:
        """Each booster as LightGBM text, cut to its rounds."""
        return [
            booster.model_to_string(num_iteration=rounds)
            for booster, rounds in zip(self.boosters, self.rounds, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """What the text files do not hold, for JSON."""
        return {"features": [self.names[j] for j in self.kept], "rounds": list(self.rounds)}


@dataclass(frozen=True)
class Boosting:
    """Fits boosters whose number of rounds is the median of early-stopped fits on inner splits.

    Args:
        probabilities: whether the outputs are class probabilities (one booster; binary for two classes, else
            multiclass) or values (one booster a column).
        absolute: whether to minimise the absolute instead of the squared error (metric mae).
        threads: threads of LightGBM; part of what makes a fit repeatable.
        seed: seed of bagging and feature sampling.
    """

    probabilities: bool
    absolute: bool
    threads: int
    seed: int

    def parameters(self, n_rows: int, n_outputs: int) -> dict[str, Any]:
        """The LightGBM parameters for a fit on so many rows."""
        if not self.probabilities:
            loss = (
                {"objective": "regression_l1", "metric": "l1"}
                if self.absolute
                else {"objective": "regression", "metric": "l2"}
            )
        elif n_outputs == 2:
            loss = {"objective": "binary", "metric": "binary_logloss"}
        else:
            loss = {"objective": "multiclass", "metric": "multi_logloss", "num_class": n_outputs}
        # An out-of-fold value knows its own fold's label mean (the other folds' labels made it). Leaves of 2
        # % of the rows cannot follow that trace.
        smallest = max(5, -(-n_rows // 50))
        return {
            **PARAMETERS,
            **loss,
            "min_data_in_leaf": smallest,
            # A bag of very few rows may be empty, which LightGBM does not survive.
            "bagging_fraction": PARAMETERS["bagging_fraction"] if n_rows >= FEWEST_TO_BAG else 1.0,
            "num_threads": self.threads,
            "seed": self.seed,
        }

    def tune(self, x: Array, y: Array, names: Sequence[str], splits: Sequence[Split]) -> dict[str, Any]:
        """Choose the rounds.

        Args:
            x: features (N, D).
            y: outputs to learn (N, O).
            names: the D feature names.
            splits: rows to fit on and rows to stop by; groups must not straddle them.

        Returns:
            ``{"rounds": one number for each booster}``.
        """
        found = []
        for fit, held in splits:
            kept = _kept(x[fit])
            rounds = []
            for label in self._labels(y):
                train = self._dataset(x[fit][:, kept], label[fit], names, kept)
                held_out = lgb.Dataset(x[held][:, kept], label[held], reference=train)
                booster = lgb.train(
                    self.parameters(len(fit), y.shape[1]),
                    train,
                    num_boost_round=MOST_ROUNDS,
                    # Any further set or metric would stop the fit on its own account.
                    valid_sets=[held_out],
                    valid_names=["held"],
                    callbacks=[lgb.early_stopping(PATIENCE, first_metric_only=True, verbose=False)],
                )
                rounds.append(max(1, booster.best_iteration))
            found.append(rounds)
        return {"rounds": [int(value) for value in np.ceil(np.median(found, axis=0))]}

    def fit(self, x: Array, y: Array, names: Sequence[str], setting: dict[str, Any]) -> BoostingModel:
        """Fit one model; arguments as `tune`, and its result."""
        kept = _kept(x)
        boosters = [
            lgb.train(
                self.parameters(len(x), y.shape[1]),
                self._dataset(x[:, kept], label, names, kept),
                num_boost_round=rounds,
            )
            for label, rounds in zip(self._labels(y), setting["rounds"], strict=True)
        ]
        return BoostingModel(
            tuple(names), kept, tuple(boosters), tuple(setting["rounds"]), self.probabilities
        )

    def _labels(self, y: Array) -> list[Array]:
        return [y.argmax(axis=1).astype(np.float64)] if self.probabilities else list(y.T)

    def _dataset(self, x: Array, label: Array, names: Sequence[str], kept: np.ndarray) -> lgb.Dataset:
        return lgb.Dataset(
            x, label, feature_name=[str(names[j]) for j in kept], params={"max_bin": PARAMETERS["max_bin"]}
        )


def _kept(x: Array) -> np.ndarray:
    """Positions of the features that vary; LightGBM wants one, so the first where none does."""
    return np.flatnonzero(varying(x)) if varying(x).any() else np.array([0])
