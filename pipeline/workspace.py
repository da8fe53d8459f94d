"""The data of a run, read once: tables, images, fold plan, coded targets, and the config without `auto`."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ..configs.data import Data
from ..configs.errors import UserError, closest
from ..configs.readers import backbones_of
from ..configs.schema import Config, Task
from ..configs.section import several
from ..datasets.files import content_digests, digest
from ..datasets.folds import FoldPlan, make_plan
from ..datasets.images import ImageStore, build_store, unlabelled_images
from ..datasets.inputs import Inputs
from ..datasets.joined import JoinedInputs
from ..datasets.pictures import PictureFiles, Pictures, locate_pictures
from ..datasets.tables import TABLE_SUFFIXES, Table, read_table
from ..datasets.targets import code_target
from ..stacking import TableColumns
from ..training.device import Machine, resolve_machine
from .resolving import resolve
from .smoke import SMOKE_ROWS, smoke_config, some_rows, unlisted
from .table_inputs import TableInputs, read_unlabelled

STORE_MARGIN = 1.3  # a random crop of the store must not be blown up to the input size
STORE_STEP = 32  # sizes are rounded up, so that nearby input sizes share one store


class Workspace:
    """Everything the stages read.

    Args:
        config: as loaded; `auto` is resolved here.
        smoke: keep a few rows and one epoch, for a short trial of the whole run.

    Attributes:
        smoke: whether this is the short trial.
        config: the resolved config.
        train, test: the tables; a run without test files has an empty test table.
        extra: ids of unlabelled images that are no table row.
        has_images: whether a network learns from pictures.
        has_lines: whether a network learns from lines of the table.
        unlabelled: tables of rows without labels, for pretraining.
        files: the image files of all rows and extras.
        plan: the one fold plan.

    Raises:
        ValueError: files, columns, ids or folds are not as the config says.
    """

    def __init__(self, config: Config, *, smoke: bool = False) -> None:
        self.smoke = smoke
        if smoke:
            config = smoke_config(config)
        tables = any(stack.table for stack in config.stack.values())
        if not config.pretext and not config.tasks and not tables:
            raise UserError(
                "config: expected a pretext, a task or a stack with table: true, received none: there is nothing to do"
            )
        self.machine = resolve_machine(config)
        data = config.data
        root = Path(data.root)
        if not root.is_dir():
            raise UserError(
                f"data.root: expected a directory, received {str(root.absolute())!r}; it is relative to the working "
                f"directory"
            )
        self.root = root
        readers = [name for names in backbones_of(config).values() for name in names]
        self.has_images = any(not config.backbones[name].of_tables for name in readers)
        self.has_lines = any(config.backbones[name].of_tables for name in readers)
        self.train = read_table(
            [root / name for name in data.train],
            data.id,
            {name: root / path for name, path in data.lists.items()},
        )
        self.test = read_table([root / name for name in data.test], data.id) if data.test else self._no_rows()
        if smoke:
            all_ids = {*self.train.ids, *self.test.ids}
            self.train = some_rows(self.train, config.folds.group, SMOKE_ROWS["train"])
            self.test = some_rows(self.test, None, SMOKE_ROWS["test"])
            self.train = unlisted(self.train, all_ids.difference(self.train.ids, self.test.ids))
        overlap = np.intersect1d(self.train.ids, self.test.ids)
        if len(overlap):
            raise UserError(
                f"data.test: expected ids that do not stand in data.train, received {len(overlap)} that do "
                f"({', '.join(overlap[:5])}); "
                "their test score would be learned by heart: remove them from one side"
            )
        located = PictureFiles(nothing := np.array([], dtype=object), nothing, nothing)
        extra_ids: list[str] = []
        extra_paths: list[str] = []
        if self.has_images and data.images is not None:
            located = locate_pictures([self.train, self.test], data.images, root)
            globs = [name for name in data.unlabelled if not name.lower().endswith(TABLE_SUFFIXES)]
            extra_ids, extra_paths = unlabelled_images(globs, root, taken=located.taken)
        if smoke:
            extra_ids, extra_paths = (
                extra_ids[: SMOKE_ROWS["unlabelled"]],
                extra_paths[: SMOKE_ROWS["unlabelled"]],
            )
        self.extra = np.asarray(extra_ids, dtype=object)
        self.files: PictureFiles = located.joined(extra_ids, extra_paths)
        self.unlabelled = self._unlabelled(data)
        self.plan = self._plan(config)
        self.config = resolve(config, self.train, self.test, self.plan, self.machine)
        self.targets = {
            name: code_target(name, task, self._columns(name, task), self.config.seed)
            for name, task in self.config.tasks.items()
        }
        for name, stack in self.config.stack.items():
            for column in stack.columns:
                self._label(f"stack.{name}.target", column)

    @property
    def run_path(self) -> Path:
        """`runs/<name>`."""
        return Path(self.config.runs) / self.config.name

    @property
    def summary(self) -> str:
        """How many rows there are, and images where a row may have several."""
        rows = f"{len(self.train):,} train rows, {len(self.test):,} test rows"
        if not self.has_images:
            return f"{rows}{self._more_rows}" + ("" if self.has_lines else ", no images")
        owned = (
            ""
            if self.files.one_each
            else f" with {np.count_nonzero(self.files.paths) - len(self.extra):,} images"
        )
        more = f", {len(self.extra):,} more images"
        return f"{rows}{owned}{more}{self._more_rows}"

    @property
    def _more_rows(self) -> str:
        count = sum(map(len, self.unlabelled))
        return f", {count:,} unlabelled rows" if count else ""

    @cached_property
    def frame(self) -> pd.DataFrame:
        """What heads and stacks learn of the train rows, indexed by id; a list of names is a column of tuples.

        No other columns: rows are picked from it many times, and a table may have thousands of them.
        """
        named = {
            column
            for task in self.config.tasks.values()
            for column in (task.columns if task.kind == "word2vec" else ())
            if column in self.train.lists
        }
        learned = {column for task in self.config.tasks.values() for column in task.columns}
        learned |= {column for stack in self.config.stack.values() for column in stack.columns}
        labels = self.train.frame.loc[:, [column for column in self.train.frame if column in learned]]
        return labels.assign(**{column: self.train.names(column) for column in sorted(named)})

    @cached_property
    def table(self) -> TableColumns:
        """The columns of the table as level-2 features.

        Raises:
            ValueError: none varies, or one is not what it is in the other table.
        """
        return TableColumns.encode(self.train.frame, self.test.frame, list(self.config.data.columns))

    @cached_property
    def table_digest(self) -> str:
        """Names the values of the table columns, in train and test."""
        tables = (self.train, self.test)
        columns = list(self.config.data.columns)
        return digest(
            [dataclasses.replace(each, frame=each.frame[columns], lists={}).digest for each in tables]
        )

    @cached_property
    def notes(self) -> list[str]:
        """What the codings of the targets found, and what of the table networks or frozen tasks do not read."""
        notes = [note for target in self.targets.values() for note in target.notes]
        for name in dict.fromkeys(name for names in backbones_of(self.config).values() for name in names):
            if (section := self.config.backbones[name]).of_tables:
                notes += self.lines.notes(name, section, self.rows_to_read(name, None))
        notes += self.table.notes if any(task.table for task in self.config.tasks.values()) else []
        return list(dict.fromkeys(notes))

    @cached_property
    def contents(self) -> dict[str, str]:
        """Name -> digest of each image file (`missing` if there is none); only changed files are read again."""
        cache = Path(self.config.runs) / ".store" / "digests.json"
        digests = content_digests(self.files.paths.tolist(), cache, missing="missing")
        return dict(zip(self.files.names, digests, strict=True))

    @property
    def store_size(self) -> int:
        """Side of the stored images: the largest input size with its margin, rounded up."""
        if not self.has_images:
            return 0
        stages = [(stage.size, stage.backbone) for stage in self.config.pretext]
        stages += [(task.size, name) for task in self.config.tasks.values() for name in task.starts]
        sizes = [size for size, name in stages if not self.config.backbones[name].of_tables]
        sizes += [self.config.features.size] if self.config.features.size else []
        return math.ceil(STORE_MARGIN * max(sizes) / STORE_STEP) * STORE_STEP

    def store(self, progress: Callable[[int, int], None] | None = None) -> ImageStore:
        """The decoded images of all rows and extras, built on first use and shared by all runs of the folder."""
        if self._store is None:
            folder = Path(self.config.runs) / ".store"
            names, paths = self.files.names, self.files.paths
            self._store = build_store(
                names, paths, folder, self.store_size, self.config.data.decode, progress=progress
            )
        return self._store

    _store: ImageStore | None = None

    def pictures(self, progress: Callable[[int, int], None] | None = None) -> Pictures:
        """The store, and which row owns each of its images."""
        if self._pictures is None:
            self._pictures = Pictures(self.store(progress), self.files)
        return self._pictures

    _pictures: Pictures | None = None

    def images_digest(self, ids: Iterable[str]) -> str:
        """Names the pictures of some rows as the stages see them."""
        known, names = self.contents, self.files.of(sorted(ids))
        return digest([[name, known[name]] for name in names], self.config.data.decode, self.store_size)

    def labels_digest(self, columns: Iterable[str], ids: np.ndarray | None = None) -> str:
        """Names the values of some train columns."""
        rows = np.sort(self.train.ids if ids is None else ids)
        frame = self.frame.loc[rows, list(columns)]
        return digest(
            list(frame.columns),
            [rows.tolist(), *([str(value) for value in frame[column]] for column in frame)],
        )

    @cached_property
    def lines(self) -> TableInputs:
        """The table as networks read it."""
        columns, group = list(self.config.data.columns), self.config.folds.group
        excluded = {group: "is the group of the folds"} if group in columns else {}
        tables = [self.train, self.test, *self.unlabelled]
        return TableInputs(tables, columns, self.config.data, excluded, self.config.seed)

    def inputs(self, backbone: str, ids: np.ndarray, checkpoint: Path | None = None) -> Inputs:
        """What a backbone reads of all rows: pictures, or lines of the table.

        Args:
            backbone: its name in the config.
            ids: of a table the rows that teach how its cells are read, where no checkpoint says so.
            checkpoint: what the backbone starts from.
        """
        section = self.config.backbones[backbone]
        if not section.of_tables:
            return self.pictures()
        weights = None if section.weights is None else Path(section.weights)
        return self.lines.inputs(section, ids, checkpoint or weights)

    def inputs_of(
        self, task: Task, fold: int | None, checkpoints: Mapping[str, Path | None] | None = None
    ) -> Inputs:
        """What a task's backbone reads, or its backbones, joined by id.

        Args:
            task: of the resolved config.
            fold: whose rows teach how a table's cells are read, as in `rows_to_read`.
            checkpoints: backbone -> what it starts from.
        """
        known = checkpoints or {}
        parts = {
            name: self.inputs(name, self.rows_to_read(name, fold), known.get(name)) for name in task.starts
        }
        return JoinedInputs(parts) if task.joined else next(iter(parts.values()))

    def inputs_digest(self, backbone: str, ids: np.ndarray) -> str:
        """Names what a backbone reads of some rows."""
        section = self.config.backbones[backbone]
        return self.lines.digest(section, ids) if section.of_tables else self.images_digest(ids)

    def extra_of(self, backbone: str) -> np.ndarray:
        """The ids of what only pretraining reads: unlabelled images, or rows of unlabelled tables."""
        if not self.config.backbones[backbone].of_tables:
            return self.extra
        return np.concatenate([self.extra[:0], *(table.ids for table in self.unlabelled)])

    def rows_to_read(self, backbone: str, fold: int | None) -> np.ndarray:
        """The rows that teach how a table's cells are read where no pretraining did so.

        Without labels: with test rows all of them, so that validation and test rows are treated alike; else those
        that a fold trains on. A `fold` below 0 is the refit.
        """
        train = self.train.ids if fold is None or fold < 0 or len(self.test) else self.plan.train_ids(fold)
        return np.concatenate([train, self.test.ids, self.extra_of(backbone)])

    def count_of(self, backbone: str | Sequence[str], ids: np.ndarray) -> int:
        """How many inputs of some rows a backbone, or joined ones, read: a row may own several images."""
        return len(ids) if self._tables_alone(backbone) else len(self.files.of(ids))

    def machine_of(self, backbone: str | Sequence[str]) -> Machine:
        """Where and how a backbone, or joined ones, compute: those of tables in float32, where NCHW means nothing."""
        if not self._tables_alone(backbone):
            return self.machine
        return dataclasses.replace(self.machine, precision="fp32", channels_last=False)

    def views_of(self, backbone: str | Sequence[str]) -> list[str]:
        """The views of test-time augmentation; a line of a table has one, unless a picture is beside it."""
        return ["identity"] if self._tables_alone(backbone) else list(self.config.features.views)

    def _tables_alone(self, backbone: str | Sequence[str]) -> bool:
        return all(self.config.backbones[name].of_tables for name in several(backbone))

    def _unlabelled(self, data: Data) -> list[Table]:
        names = [name for name in data.unlabelled if name.lower().endswith(TABLE_SUFFIXES)]
        if names and not self.has_lines:
            raise UserError(
                f"data.unlabelled: expected globs of images, received the table {names[0]!r}, which no backbone of "
                "tables reads; leave it out"
            )
        tables = read_unlabelled(self.root, names, data.id, {*self.train.ids, *self.test.ids})
        few = SMOKE_ROWS["unlabelled"]
        return [some_rows(table, None, few) for table in tables] if self.smoke else tables

    def _no_rows(self) -> Table:
        return dataclasses.replace(self.train, frame=self.train.frame.iloc[:0], lists={})

    def _label(self, key: str, column: str) -> pd.Series:
        try:
            return self.train.column(column, key)
        except ValueError as error:
            raise UserError(str(error)) from error

    def _columns(self, name: str, task: Task) -> pd.DataFrame:
        if task.kind == "word2vec":
            known = [*self.train.lists, *map(str, self.train.frame.columns)]
            for column in task.columns:
                if known.count(column) > 1:
                    raise UserError(
                        f"tasks.{name}.columns: expected a name for one thing, received {column!r}, which is a list "
                        "(data.lists) and a column of the table; name the list otherwise"
                    )
                if column not in known:
                    near = closest(column, known)
                    raise UserError(
                        f"tasks.{name}.columns: expected lists (data.lists) or columns out of {', '.join(known[:12])}, "
                        f"received {column!r}" + (f"; did you mean {near!r}?" if near else "")
                    )
            return self.frame.filter(task.columns)
        return pd.DataFrame({column: self._label(f"tasks.{name}.columns", column) for column in task.columns})

    def _plan(self, config: Config) -> FoldPlan:
        folds = config.folds
        columns: dict[str, pd.Series | None] = {
            key: self._label(f"folds.{key}", name) if (name := getattr(folds, key)) else None
            for key in ("group", "stratify", "column")
        }
        return make_plan(self.train.ids, folds, config.seed, **columns)
