"""Predictions: what a task's fold models said about each row, one table row per (id, fold model, image, view)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .._version import __version__
from .files import atomic
from .findings import name_some
from .folds import FoldPlan

ROLES = ("oof", "test", "insample")
KEYS = ("id", "role", "fold", "view")
REFIT = -1
"""The fold number of the model that was trained on all labelled rows; it predicts test rows only."""


@dataclass(frozen=True)
class Predictions:
    """One task's predictions under one fold plan.

    Args:
        frame: columns ``id`` (text), ``role``, ``fold``, ``view``, then `columns`. ``role`` is ``oof`` (a
            labelled row, predicted by the one fold model that validates it), ``test``, or ``insample`` (a row
            that the fold model was trained on: shown, never trained upon). ``fold`` is the fold *model* that
                produced the row, -1 the model
            refitted on all labelled rows. ``view`` indexes `views`; of image p of a row with several it is p x V more.
            Values are stored as float32.
        task: the task's name.
        columns: names of the D prediction columns.
        space: what a value is: ``value``, ``probability``, ..., or the one metric that it is good for (`Target.space`).
        plan: hash of the fold plan.
        views: names of the V test-time views.
        decodes: target column → {prediction column: coefficient}; the target in its own units is that linear
            combination. Empty when the task does not decode to a target.
        classes: target column → {class label: prediction column that holds its probability}; empty if none.
        images: the largest number of images that a row owns.

    Raises:
        ValueError: an unknown role, fold or view; a missing, surplus, infinite or absent value; a duplicate
            row; an id that two fold models claim out-of-fold; an id in-sample and out-of-fold of one model;
            an ``oof`` or ``test`` row without all views of an image; a test id that not every fold model predicted.
    """

    frame: pd.DataFrame
    task: str
    columns: tuple[str, ...]
    space: str
    plan: str
    views: tuple[str, ...]
    decodes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    images: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "views", tuple(self.views))
        self._check_names()
        frame = self._typed(self.frame)
        self._check_rows(frame)
        object.__setattr__(self, "frame", frame)

    def _fail(self, message: str) -> ValueError:
        return ValueError(f"Predictions of task {self.task!r}: {message}")

    def _check_names(self) -> None:
        if not self.columns or len(set(self.columns)) != len(self.columns) or set(self.columns) & set(KEYS):
            raise self._fail(
                f"`columns` must be one or more different names, none of {list(KEYS)}; received "
                f"{list(self.columns)}."
            )
        if not self.views or len(set(self.views)) != len(self.views):
            raise self._fail(f"`views` must be one or more different names; received {list(self.views)}.")
        if self.images < 1:
            raise self._fail(f"`images` must be 1 or more; received {self.images}.")
        for label, mapping in (("decodes", self.decodes), ("classes", self.classes)):
            for target, parts in mapping.items():
                used = parts.keys() if label == "decodes" else parts.values()
                unknown = sorted(set(used) - set(self.columns))
                if unknown or not parts:
                    raise self._fail(
                        f"`{label}[{target!r}]` must name prediction columns {list(self.columns)}; received "
                        f"{unknown}."
                    )

    def _typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        expected = [*KEYS, *self.columns]
        if list(frame.columns) != expected:
            raise self._fail(f"`frame` must have the columns {expected}; received {list(frame.columns)}.")
        if not all(isinstance(value, str) for value in frame["id"]):
            raise self._fail(
                "`id` must be text (ids are compared as text); convert the column with astype(str) first."
            )
        unknown = sorted(set(frame["role"].unique()) - set(ROLES))
        if unknown:
            raise self._fail(f"`role` must be one of {list(ROLES)}; received {unknown}.")
        typed = {
            "id": frame["id"].astype(str).to_numpy(dtype=object),
            "role": frame["role"].astype(str).to_numpy(dtype=object),
            "fold": frame["fold"].to_numpy(dtype=np.int32),
            "view": frame["view"].to_numpy(dtype=np.int32),
            **{column: frame[column].to_numpy(dtype=np.float32) for column in self.columns},
        }
        return pd.DataFrame(typed)

    def _check_rows(self, frame: pd.DataFrame) -> None:
        finite = np.isfinite(frame[list(self.columns)].to_numpy())
        if not finite.all():
            bad = frame.loc[~finite.all(axis=1), "id"].unique()
            raise self._fail(
                f"every value must be finite; {len(bad)} ids have NaN or infinite ones: {name_some(bad)}. "
                "A row that cannot be predicted has no row here."
            )
        highest = len(self.views) * self.images - 1
        wrong = frame.loc[(frame["view"] < 0) | (frame["view"] > highest), "view"].unique()
        if len(wrong):
            raise self._fail(f"`view` must be 0 to {highest}; received {sorted(int(v) for v in wrong)}.")
        lowest = np.where(frame["role"] == "test", REFIT, 0)
        if (frame["fold"].to_numpy() < lowest).any():
            raise self._fail("`fold` must be 0 or more, or -1 (the refitted model) for test rows only.")
        doubled = frame.duplicated(list(KEYS))
        if doubled.any():
            raise self._fail(
                "duplicate rows (id, role, fold, view) for ids "
                f"{name_some(frame.loc[doubled, 'id'].unique())}."
            )

        rows = frame.drop_duplicates(["id", "role", "fold"])
        oof = rows.loc[rows["role"] == "oof"]
        twice = oof.loc[oof["id"].duplicated(), "id"]
        if len(twice):
            raise self._fail(
                f"an id is out-of-fold for one fold model at most; several claim {name_some(twice)}. "
                "Rows that a model was trained on have the role 'insample'."
            )
        both = oof.merge(rows.loc[rows["role"] == "insample"], on=["id", "fold"])["id"]
        if len(both):
            raise self._fail(f"ids both out-of-fold and in-sample of one fold model: {name_some(both)}.")
        held = frame.loc[frame["role"] != "insample"]
        parts, noun = ["id", "role", "fold"], "rows"
        if self.images > 1:
            held, parts = held.assign(image=held["view"] // len(self.views)), [*parts, "image"]
            noun = "images of rows"
        seen = held.groupby(parts, sort=False)["view"].size()
        short = seen.loc[seen != len(self.views)]
        if len(short):
            raise self._fail(
                f"'oof' and 'test' rows need all {len(self.views)} views; {len(short)} {noun} "
                f"have fewer: ids {name_some(short.index.get_level_values('id').unique())}."
            )
        test = rows.loc[rows["role"] == "test"]
        models = test.groupby("id", sort=False)["fold"].size()
        missing = models.loc[models != test["fold"].nunique()]
        if len(missing):
            raise self._fail(
                "test ids must stand once for each of the fold models "
                f"{sorted(int(f) for f in test['fold'].unique())}; "
                f"some are missing for ids {name_some(missing.index)}."
            )

    def _of(self, role: str) -> pd.DataFrame:
        return self.frame.loc[self.frame["role"] == role].reset_index(drop=True)

    def oof(self) -> pd.DataFrame:
        """Rows predicted by the fold model that never saw them: the only ones that may train level 2."""
        return self._of("oof")

    def test(self) -> pd.DataFrame:
        """Test rows, each once for every fold model, image and view."""
        return self._of("test")

    def insample(self) -> pd.DataFrame:
        """Rows that their fold model was trained on: to be shown, never to be trained upon."""
        return self._of("insample")

    def verify(self, plan: FoldPlan) -> None:
        """Check every row against the fold plan.

        Args:
            plan: the run's fold plan.

        Raises:
            ValueError: another plan's hash; an ``oof`` row whose fold does not validate it (an in-sample row
                under a wrong name, for instance); an ``insample`` row that its fold model was not trained on.
        """
        same_plan([self.plan, plan.hash], f"Predictions of task {self.task!r}")
        oof = self.oof().drop_duplicates("id")
        if len(oof):
            wrong = oof.loc[plan.fold_of(oof["id"].to_numpy()) != oof["fold"].to_numpy(), "id"]
            if len(wrong):
                raise self._fail(
                    f"{len(wrong)} 'oof' rows come from a fold model that does not validate them: ids "
                    f"{name_some(wrong)}. "
                    "Such rows are in-sample; level 2 must not see them."
                )
        for fold, rows in self.insample().groupby("fold"):
            strangers = sorted(set(rows["id"]) - set(plan.train_ids(int(str(fold)))))
            if strangers:
                raise self._fail(
                    f"'insample' ids that fold {fold} was not trained on: {name_some(strangers)}."
                )

    def write(self, path: Path) -> None:
        """Write one parquet file (zstd) whose schema metadata holds everything but the rows."""
        meta = {
            "task": self.task,
            "columns": list(self.columns),
            "space": self.space,
            "plan": self.plan,
            "views": list(self.views),
            "decodes": {target: dict(parts) for target, parts in self.decodes.items()},
            "classes": {target: dict(parts) for target, parts in self.classes.items()},
            **({"images": self.images} if self.images > 1 else {}),
            "jigstack": __version__,
        }
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        table = table.replace_schema_metadata({b"jigstack.predictions": json.dumps(meta).encode()})
        with atomic(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        """Read what `write` wrote.

        Raises:
            ValueError: the file is not a predictions file.
        """
        table = pq.read_table(path)
        text = (table.schema.metadata or {}).get(b"jigstack.predictions")
        if text is None:
            raise ValueError(
                f"{path}: expected a predictions file of jigstack, received a parquet without its metadata; "
                "run the finetune stage to write it."
            )
        meta = json.loads(text)
        names = ("task", "columns", "space", "plan", "views", "decodes", "classes")
        return cls(
            frame=table.replace_schema_metadata(None).to_pandas(),
            **{name: meta[name] for name in names},
            images=meta.get("images", 1),
        )


def same_plan(hashes: Sequence[str], what: str) -> str:
    """Return the one plan hash that all artefacts share.

    Raises:
        ValueError: the artefacts were made under different fold plans.
    """
    distinct = sorted(set(hashes))
    if len(distinct) != 1:
        raise ValueError(
            f"{what}: expected one fold plan, received artefacts of the plans {distinct}. "
            "Rows of one plan's training part are another's validation rows; train the tasks again under one "
            "plan."
        )
    return distinct[0]
