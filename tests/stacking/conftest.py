"""A small world with known truth: errors that all fold models share, and errors of each model's own."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from jigstack.configs.data import Folds
from jigstack.configs.schema import Stack
from jigstack.datasets.files import read_json
from jigstack.datasets.folds import FoldPlan, make_plan
from jigstack.datasets.predictions import Predictions
from jigstack.stacking import stack_target

N_FOLDS = 3


@dataclass
class World:
    """Labelled rows in groups of five, test rows, and a fold plan; `task` simulates a head."""

    rng: np.random.Generator
    train: pd.DataFrame  # indexed by id: target, era, group
    test: pd.DataFrame
    plan: FoldPlan

    def task(
        self,
        name,
        shared=0.5,
        own=0.3,
        view=0.1,
        views=4,
        folds=None,
        insample=False,
        decodes=True,
        drop=(),
        refit=False,
    ):
        """A head: target + an error every fold model makes + an error of its own + one of each view."""
        parts = []
        fold_of = self.plan.fold_of(self.plan.ids)
        models = sorted(set(fold_of) - {-1}) if folds is None else folds
        errors = {
            role: shared * self.rng.normal(size=len(t))
            for role, t in (("oof", self.train), ("test", self.test))
        }

        def block(table, ids, role, fold, common, scale=1.0):
            target = table.loc[ids, "target"].to_numpy()
            centre = target + scale * (common + own * self.rng.normal(size=len(ids)))
            n = 1 if role == "insample" else views
            values = centre[:, None] + scale * view * self.rng.normal(size=(len(ids), n))
            parts.append(
                pd.DataFrame(
                    {
                        "id": np.repeat(np.asarray(ids, dtype=object), n),
                        "role": role,
                        "fold": int(fold),
                        "view": np.tile(np.arange(n), len(ids)),
                        name: values.ravel(),
                    }
                )
            )

        position = pd.Series(np.arange(len(self.train)), index=self.train.index)
        for fold in models:
            ids = [i for i in self.plan.valid_ids(fold) if i not in drop]
            block(self.train, ids, "oof", fold, errors["oof"][position[ids]])
            if insample:
                block(self.train, list(self.plan.train_ids(fold))[:40], "insample", fold, 0.0, 0.2)
        ids = [i for i in self.test.index if i not in drop]
        common = errors["test"][self.test.index.get_indexer(ids)]
        for fold in [*models, *([-1] if refit else [])]:
            block(self.test, ids, "test", fold, common)
        return Predictions(
            frame=pd.concat(parts, ignore_index=True),
            task=name,
            columns=(name,),
            space="value",
            plan=self.plan.hash,
            views=tuple(f"view{v}" for v in range(views)),
            decodes={"target": {name: 1.0}} if decodes else {},
        )

    def classes(self, name, noise=0.7, labels=("0", "1", "2", "3")):
        """A class head whose probabilities fall off with the distance from a noisy target."""
        base = self.task(name, shared=noise)
        values = base.frame[name].to_numpy()[:, None]
        chances = np.exp(-((values - np.array([float(label) for label in labels])) ** 2))
        chances /= chances.sum(axis=1, keepdims=True)
        columns = [f"{name}.p{c}" for c in range(len(labels))]
        frame = pd.concat(
            [base.frame[["id", "role", "fold", "view"]], pd.DataFrame(chances, columns=columns)], axis=1
        )
        return Predictions(
            frame=frame,
            task=name,
            columns=tuple(columns),
            space="probability",
            plan=base.plan,
            views=base.views,
            classes={"era": dict(zip(labels, columns, strict=True))},
        )

    def stack(self, tmp_path, tasks, test=True, table=None, **options):
        """`stack_target` on these tasks."""
        return stack_target(
            name="main",
            options=Stack(**{"target": "target", "models": ["ridge"], "table": table is not None, **options}),
            predictions={task.task: task for task in tasks},
            truth=self.train,
            plan=self.plan,
            test_ids=self.test.index.to_numpy() if test else [],
            stats=["mean", "var", "max", "min"],
            seed=0,
            threads=1,
            folder=tmp_path / "stack" / "main",
            table=table,
        )

    def states(self, tmp_path):
        """What the last stack wrote about its level-2 models."""
        return read_json(tmp_path / "stack" / "main" / "model.json")["rungs"]


@pytest.fixture
def world():
    """Makes worlds: `world(seed, n=300, n_test=200, scheme="group", **fold options)`."""

    def make(seed=0, n=300, n_test=200, n_folds=N_FOLDS, **folds):
        rng = np.random.default_rng(seed)
        tables = []
        for letter, rows in (("a", n), ("t", n_test)):
            target = rng.normal(1.5, 1.0, size=rows)
            tables.append(
                pd.DataFrame(
                    {
                        "target": target,
                        "era": np.clip(np.round(target), 0, 3).astype(int),
                        "group": np.arange(rows) // 5,
                    },
                    index=pd.Index([f"{letter}{i:04d}" for i in range(rows)], name="id"),
                )
            )
        options = Folds(**{"scheme": "group", "n": n_folds, "group": "group", **folds})
        column = None
        if options.scheme == "column":
            column = pd.Series(
                np.where(np.arange(n) < n // 5, np.nan, tables[0]["group"] % 3), tables[0].index
            )
        group = tables[0]["group"]
        plan = make_plan(tables[0].index.to_numpy(), options, seed, group, None, column)
        return World(rng, tables[0], tables[1], plan)

    return make
