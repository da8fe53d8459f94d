"""The single cells of `configs/single_cell.yaml` against what one would try first: components with a ridge, LightGBM.

    OMP_NUM_THREADS=2 python benchmarks/cells.py path/to/cells --runs runs

The recipe is run (or found finished below `--runs`), then the others learn under its very folds: the genes as 32 or 64
components of a truncated SVD of all cells, standardised, into a ridge whose strength leave-one-out chooses, and into
LightGBM, one model a protein, its rounds found on a tenth of the training cells. Printed is the mean correlation within
a cell, out of fold, with its 95 % interval, and how much better each rung of the recipe is, nested, on the same cells.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import jigstack
import lightgbm
import numpy as np
import pandas as pd
from jigstack.configs import load_config
from jigstack.datasets.folds import FoldPlan
from jigstack.scoring.intervals import bootstrap_interval, paired_interval
from jigstack.scoring.metrics import METRICS
from jigstack.stacking import Ladder
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

RECIPE = Path(__file__).parent.parent / "configs" / "single_cell.yaml"
Floats = NDArray[np.float64]
Learner = Callable[[Floats, Floats, Floats], Floats]
"""Features and truth of training rows, and features of the rows to predict, to predictions."""


def ridge(x: Floats, y: Floats, others: Floats) -> Floats:
    """Ridge regression of all proteins at once."""
    return RidgeCV(np.logspace(-2, 4, 13)).fit(x, y).predict(others)


def boosted(x: Floats, y: Floats, others: Floats) -> Floats:
    """LightGBM, a model for each protein."""
    learn, stop = train_test_split(np.arange(len(x)), test_size=0.1, random_state=0)
    predictions = []
    for truth in y.T:
        model = lightgbm.LGBMRegressor(
            n_estimators=1000,
            learning_rate=0.03,
            max_depth=3,
            subsample=0.8,
            subsample_freq=1,
            colsample_bytree=0.5,
            random_state=0,
            verbose=-1,
        )
        model.fit(
            x[learn],
            truth[learn],
            eval_set=[(x[stop], truth[stop])],
            callbacks=[lightgbm.early_stopping(50, verbose=False)],
        )
        predictions.append(np.asarray(model.predict(others)))
    return np.stack(predictions, axis=1)


def out_of_fold(learner: Learner, x: pd.DataFrame, y: pd.DataFrame, plan: FoldPlan) -> Floats:
    """Predictions of each row of `y` by the model that did not see it."""
    found = pd.DataFrame(np.nan, y.index, y.columns)
    for fold in range(plan.n):
        train, valid = plan.train_ids(fold), plan.valid_ids(fold)
        found.loc[valid] = learner(x.loc[train].to_numpy(), y.loc[train].to_numpy(), x.loc[valid].to_numpy())
    return found.to_numpy()


def main() -> None:
    """Run the recipe if need be, and print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", default="runs")
    options = parser.parse_args()
    config = load_config(RECIPE, [f"data.root={options.data}", f"runs={options.runs}"])
    jigstack.run(config)
    run = Path(options.runs) / config.name
    plan = FoldPlan.read(run / "folds.parquet")
    ladder = Ladder.read(run / "stack" / "proteins_stack")
    read = {
        name: pd.read_csv(options.data / f"{name}.csv.gz", index_col="cell_id", dtype={"cell_id": str})
        for name in ("train_x", "test_x", "unlabeled_x", "train_y")
    }
    genes = pd.concat([read["train_x"], read["test_x"], read["unlabeled_x"]])
    proteins = read["train_y"]
    proteins = proteins.loc[ladder.nested(ladder.rungs[0].name).index.to_numpy()]
    truth = proteins.to_numpy(dtype=float)
    metric = METRICS["pearson"]
    others: dict[str, Floats] = {}
    for n in (32, 64):
        components = TruncatedSVD(n, random_state=0).fit_transform(genes.to_numpy(dtype=float))
        x = pd.DataFrame(StandardScaler().fit_transform(components), index=genes.index)
        others[f"svd {n} + ridge"] = out_of_fold(ridge, x, proteins, plan)
        others[f"svd {n} + lightgbm"] = out_of_fold(boosted, x, proteins, plan)
    for name, predictions in others.items():
        interval = bootstrap_interval(metric, truth, predictions, None, np.random.default_rng(0))
        print(
            f"{name:18s} {metric.function(truth, predictions):.4f} ({interval.low:.4f} to {interval.high:.4f})"
        )
    for rung in ladder.rungs:
        own = ladder.nested(rung.name).loc[proteins.index].to_numpy()
        gains = []
        for name, predictions in others.items():
            gain = paired_interval(metric, truth, own, predictions, None, np.random.default_rng(0))
            better = metric.function(truth, own) - metric.function(truth, predictions)
            gains.append(f"{name} {better:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})")
        print(
            f"{rung.name:18s} {rung.nested:.4f} ({rung.low:.4f} to {rung.high:.4f}); against "
            + ", ".join(gains)
        )


if __name__ == "__main__":
    main()
