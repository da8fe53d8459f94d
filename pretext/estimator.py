"""The masked pretext as an estimator of scikit-learn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ..backbones import load_backbone, read_seen, save_backbone
from ..backbones.checkpoint import SEEN, weights_file
from ..backbones.peer_checkpoint import CONVERTED
from ..configs.errors import ConfigError, KeyPath, UserError, closest
from ..configs.masked import MaskedOptions
from ..configs.rates import ADAMW
from ..configs.registry import TABLE_BACKBONES, load
from ..configs.schema import Backbone, Pretext
from ..configs.validation import validate
from ..datasets.files import read_json
from ..datasets.frames import column_names, encoded, frame_of, row_ids, told_of_rows
from ..datasets.table_cells import Kind
from ..datasets.table_rows import TableRows
from ..datasets.table_schema import TableSchema
from ..training.device import machine_of_tables
from ..training.fit import Record, fit
from ..training.randomness import generator, kept_generators
from .filled_frame import fill_frame
from .filling import column_skill, impute, outlier_score
from .masked import MaskedTable
from .parts import load_parts, save_parts
from .pretrain import COLUMNS, PretrainWork, StoredInputs, begin, split_held

FEWEST = 4
"""Rows of a training: two that are learned from, two that are held out."""
CHUNK = 1024
_OF_THE_FIT = ("ratio", "epochs", "batch", "lr", "weight_decay")
_Checked = TypeVar("_Checked", bound=BaseModel)


class MaskedTablePretrainer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Learn a table without labels: hidden cells are predicted from the others (`pretext.masked.MaskedTable`).

    Columns may hold numbers, texts, booleans and dates, with cells missing; the rows of `fit` say what is what
    (`TableSchema`). Training is that of a run's pretext `masked`, with AdamW and gradients clipped at norm 1. A
    twentieth of the rows, at most 512 and at least 2, is held out to measure `column_skill_`.

    Args:
        backbone: `tabnet`, `mlp`, `resmlp` or `cnn1d`.
        ratio: share of the cells that are hidden, above 0 and below 1.
        epochs: passes over the rows.
        batch: rows of a step; all, if there are fewer.
        lr: peak learning rate; .02 suits TabNet, .001 the others.
        weight_decay: of AdamW.
        steps: what numbers pass before they are standardised, as under `backbones.<name>.steps` of a config.
        kinds: column -> `number`, `boolean`, `date` or `category`, where it is not what it looks like.
        options: of the backbone, as under `backbones.<name>.options`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        random_state: of all draws; an int makes two fits equal on one device.
        verbose: epochs between two printed lines; 0: none.

    Attributes:
        schema_: how cells become what the network reads; `schema_.dropped` says which columns are left out and why.
        backbone_: the trained network.
        method_: the pretext on it; None if a checkpoint without a decoder was loaded.
        column_skill_: column of the network -> how well it is predicted on held-out rows: R² of a number, the
            explained share of a category's entropy; 0 by chance.
        history_: the losses of each epoch; of a run's pretraining all that its `history.json` tells of one.
        of_run_: whether it was loaded from a run's pretraining, of which is known what its backbone reads, not which
            other columns stood between: rows may have more of them.
        seen_ids_: the index of the rows that were trained on, as text; row numbers of an array. None of a converted
            checkpoint that does not tell.
        n_features_in_: columns of `fit`.
        feature_names_in_: their names, if all were text; the columns of an array are called x0, x1, ...

    Example:
        >>> frame = pd.DataFrame({"a": range(0, 60, 3), "b": ["x", "y"] * 10, "c": [None, *range(0, 57, 3)]})
        >>> pretrainer = MaskedTablePretrainer(epochs=1, random_state=0, kinds={"a": "number"}).fit(frame)
        >>> pretrainer.transform(frame).shape
        (20, 8)
        >>> int(pretrainer.impute(frame).isna().sum().sum())
        0
    """

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def __init__(
        self,
        backbone: str = "tabnet",
        *,
        ratio: float = 0.6,
        epochs: int = 100,
        batch: int = 256,
        lr: float = 0.02,
        weight_decay: float = 0.0,
        steps: Sequence[Any] = (),
        kinds: Mapping[str, Kind] | None = None,
        options: Mapping[str, Any] | None = None,
        device: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.ratio = ratio
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = steps
        self.kinds = kinds
        self.options = options
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> "MaskedTablePretrainer":
        """Train on rows without labels.

        Args:
            X: (N, D) 4 rows or more, a DataFrame or an array.
            y: not looked at.

        Raises:
            ValueError: too few rows, no column that tells something, or a parameter out of range.
        """
        section, options, machine = (
            backbone_section(self.backbone, self.steps, self.options),
            self._pretext(),
            machine_of_tables(self.device),
        )
        frame = frame_of(self, X, reset=True, fewest=FEWEST)
        seed = seed_from(self.random_state)
        inputs = schema_rows(frame, section, self.kinds, seed)
        work = PretrainWork(options, inputs.owners, inputs, section, None, None, machine, seed)
        seen, held = split_held(work)
        self.history_: list[dict[str, float]] = []
        with kept_generators():
            training = begin(work)
            for record in fit(training, StoredInputs(inputs, seen, machine)):
                self.history_.append(record.scalars)
                tell(record, self.verbose)
        self.seed_, self.schema_, self.of_run_ = seed, inputs.schema, False
        method: MaskedTable = training.method.cpu().eval()
        self.method_: MaskedTable | None = method
        self.backbone_: Any = method.backbone
        self.seen_ids_ = [str(frame.index[row]) for row in inputs.store.rows(seen)]
        batches = StoredInputs(inputs, held).batch(torch.arange(len(held))).split(CHUNK)
        self.column_skill_ = column_skill(method, batches, generator(seed, "skill"))
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed rows.

        Args:
            X: (N, D) rows with the columns of `fit`.

        Returns:
            (N, dim) float32 features, or what `set_output` says.
        """
        values = self._encoded(X)
        return self._of(values, self.backbone_, self.backbone_).numpy()

    def impute(self, X: Any) -> pd.DataFrame:
        """Fill missing cells from the other cells of their rows.

        Args:
            X: (N, D) rows with the columns of `fit`.

        Returns:
            The rows with their index, all columns and all cells that they have as they were: numbers in their units,
            texts as a level that `fit` saw. Columns of `schema_.dropped`, and those that went into a decomposition or
            a row's scale, keep their gaps. Texts that are numbers become numbers where one is filled.
        """
        method = self._method("impute")
        frame = self._frame(X)
        values = encoded(self.schema_, frame)
        filled = self._of(torch.from_numpy(values), method, lambda batch: impute(method, batch))
        result = fill_frame(frame, self.schema_, values, filled.numpy())
        if self.of_run_ and isinstance(X, pd.DataFrame):
            return X.assign(**{str(name): result[name] for name in result.columns})
        return result.set_axis(X.columns, axis=1) if isinstance(X, pd.DataFrame) else result

    def outlier_score(self, X: Any, draws: int = 8) -> NDArray[np.float32]:
        """How badly the cells of a row fit each other.

        Args:
            X: (N, D) rows with the columns of `fit`.
            draws: how often cells are hidden; the score's noise falls with its root.

        Returns:
            (N,): 1 is as bad as knowing the columns' distributions only, above 1 unusual; NaN where no known cell was
            hidden. Which cells are hidden depends on a row's place: the same rows in the same order score the same.
        """
        method = self._method("outlier_score")
        draw = generator(self.seed_, "outliers")
        return self._of(
            self._encoded(X), method, lambda batch: outlier_score(method, batch, draw, draws)
        ).numpy()

    def save(self, folder: str | PathLike[str]) -> None:
        """Write a checkpoint that `load`, and `init:` of a run's pretext or task, can start from.

        A run that starts from it takes the index of the rows (row numbers of an array) for the ids that it has seen:
        make the id column the index before `fit`, so that a run can tell leaks.
        """
        check_is_fitted(self)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        method = self._method("save")
        self.schema_.save(folder)
        names = column_names(self) if hasattr(self, "feature_names_in_") else None
        own = {
            "params": {name: plain(getattr(self, name)) for name in _OF_THE_FIT}
            | {
                # A generator cannot be written; the seed that it gave stands below.
                "random_state": state if isinstance(state := plain(self.random_state), int) else None,
                "kinds": self.kinds if self.kinds is None else dict(self.kinds),
                "options": self.options if self.options is None else dict(self.options),
                "steps": backbone_section(self.backbone, self.steps, self.options).model_dump(mode="json")[
                    "steps"
                ],
            },
            "names": names,
            "columns": len(column_names(self)),
            "skill": self.column_skill_,
            "history": self.history_,
            "seed": self.seed_,
            "of_run": self.of_run_,
        }
        pretext = self._pretext().model_copy(update={"options": method.options.model_dump(mode="json")})
        card = {
            "pretext": pretext.model_dump(mode="json"),
            "rows": len(self.seen_ids_),
            "parts": save_parts(method, folder),
            "estimator": own,
        }
        save_backbone(self.backbone_, folder, card, self.seen_ids_)

    @classmethod
    def load(cls, folder: str | PathLike[str], device: str = "auto") -> "MaskedTablePretrainer":
        """Read what `save` wrote, or the pretraining of a run.

        Args:
            folder: a checkpoint's: what `save` wrote, or `runs/NAME/pretext/PRETEXT` of a run, whose rows may have more
                columns than its backbone reads. Where no decoder was kept, as by another pretext than `masked`, there
                are embeddings and a start for heads, but no `impute` and no `outlier_score`.
            device: as in the constructor.

        Raises:
            ValueError: files are missing or do not belong together, or the backbone is not one of tables.
        """
        path = weights_file(folder).parent
        backbone, card = load_backbone(path)
        if backbone.modality != "table":
            raise ValueError(f"folder: expected a backbone of tables, received one of images in {path}")
        new: Any = cls(card["kind"], options=card["options"], device=device)
        new.schema_, new.backbone_, new.method_ = TableSchema.load(path), backbone.eval(), None
        untold = CONVERTED in card and not (path / SEEN).is_file()
        new.seen_ids_ = None if untold else sorted(read_seen(path))
        own = card.get("estimator") or _of_a_run(path, card, new.schema_)
        new.set_params(**own["params"])
        new.n_features_in_, new.seed_, new.of_run_ = own["columns"], own["seed"], own["of_run"]
        new.history_ = own["history"]
        if own["skill"]:
            new.column_skill_ = own["skill"]
        if own["names"] is not None:
            new.feature_names_in_ = np.array(own["names"], dtype=object)
        if "parts" in card:
            method = MaskedTable(backbone, checked(MaskedOptions, card["pretext"]["options"])).eval()
            load_parts(method, path, card["parts"])
            new.method_ = method
        return new

    @property
    def _n_features_out(self) -> int:
        return self.backbone_.dim

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "backbone_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []  # float32 whatever comes
        return tags

    def _pretext(self) -> Pretext:
        values = {name: plain(getattr(self, name)) for name in _OF_THE_FIT}
        options = {"ratio": values.pop("ratio")}
        checked(MaskedOptions, options)
        fixed = {"name": "masked", "kind": "masked", "optimiser": "adamw", "clip": 1.0, "options": options}
        return checked(Pretext, values | fixed)

    def _method(self, name: str) -> MaskedTable:
        check_is_fitted(self)
        if self.method_ is None:
            raise ValueError(
                f"{name}: expected a pretrainer with its decoder, received one loaded from a checkpoint without: "
                "that of another pretext than masked, or of an older jigstack; pretrain again with masked "
                "(jigstack pretrain CONFIG --replace), or fit a MaskedTablePretrainer"
            )
        return self.method_

    def _frame(self, X: Any) -> pd.DataFrame:
        """(N, D) the columns of `fit`."""
        if self.of_run_ and isinstance(X, pd.DataFrame):
            X = X.loc[:, [name for name in column_names(self) if name in X]]
        return frame_of(self, X, reset=False)

    def _encoded(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return torch.from_numpy(encoded(self.schema_, self._frame(X)))

    def _of(self, values: Tensor, module: torch.nn.Module, call: Callable[[Tensor], Tensor]) -> Tensor:
        """What a call says of all rows, some at a time, on the device; the module is then on the CPU again."""
        machine = machine_of_tables(self.device)
        machine.place(module)
        try:
            with torch.no_grad():
                return torch.cat([call(part.to(machine.device)).cpu() for part in values.split(CHUNK)])
        finally:
            module.cpu()


def _of_a_run(path: Path, card: Mapping[str, Any], schema: TableSchema) -> dict[str, Any]:
    """What `save` would have noted, of a run's pretraining: parameters by which to fit alike, and what it measured."""
    given = card.get("pretext", {})
    adamw = (
        {} if given.get("optimiser") != "adamw" else {name: given[name] for name in ("lr", "weight_decay")}
    )
    params = dict(zip(("lr", "weight_decay"), ADAMW[card["kind"]], strict=True))
    params |= {name: value for name, value in adamw.items() if value != "auto"}
    params |= {name: given[name] for name in ("epochs", "batch") if name in given}
    params |= {name: given["options"][name] for name in ("ratio",) if name in given.get("options", {})}
    params |= {"steps": card.get("steps", []), "kinds": {each.name: each.kind for each in schema.sources}}
    history, skill = (
        read_json(path / name) if (path / name).is_file() else [] for name in ("history.json", COLUMNS)
    )
    return {
        "params": params,
        "names": list(schema.names),
        "columns": len(schema.names),
        "skill": skill,
        "history": [each["scalars"] for each in history],
        "seed": card.get("seed", 0),
        "of_run": True,
    }


def backbone_section(kind: str, steps: Sequence[Any], options: Mapping[str, Any] | None) -> Backbone:
    """The part of a config that a backbone of tables would have.

    Raises:
        UserError: the kind, a step or an option is unknown, or out of range.
    """
    if kind not in TABLE_BACKBONES:
        near = closest(kind, TABLE_BACKBONES)
        raise UserError(
            f"backbone: expected one of {', '.join(TABLE_BACKBONES)}, received {kind!r}"
            + (f"; did you mean {near!r}?" if near else "")
        )
    own = dict(options or {})
    checked(load(TABLE_BACKBONES[kind].options), own, ("options",))
    return checked(Backbone, {"kind": kind, "steps": list(steps), "options": own})


def schema_rows(
    frame: pd.DataFrame, section: Backbone, kinds: Mapping[str, Kind] | None, seed: int
) -> TableRows:
    """Rows as a schema that was fitted on them encodes them; their ids are only good for telling them apart."""
    names = [str(name) for name in frame.columns]
    with told_of_rows():
        schema = TableSchema.fit(frame, names, steps=section.steps, kinds=kinds, seed=seed)
        return TableRows(schema.encode(frame), row_ids(len(frame)), schema)


def checked(model: type[_Checked], values: Mapping[str, Any], under: KeyPath = ()) -> _Checked:
    """Parameters as the config's own model.

    Args:
        model: of the config.
        values: the parameters, or what one of them holds.
        under: the name of that one.

    Raises:
        ConfigError: one or several are out of range.
    """
    found, problems = validate(model, dict(values), under)
    if not isinstance(found, model):
        told = [replace(problem, where="parameter") for problem in problems]
        raise ConfigError("the estimator's parameters", told)
    return found


def plain(value: Any) -> Any:
    """A Python number, where a search over parameters gave one of numpy."""
    return value.item() if isinstance(value, np.generic) else value


def seed_from(random_state: Any) -> int:
    """What scikit-learn calls `random_state`, as a seed."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def tell(record: Record, every: int) -> None:
    """Print a line for every so many epochs; 0: none."""
    if every and record.epoch % every == 0:
        scalars = "  ".join(f"{name} {value:.4f}" for name, value in record.scalars.items())
        print(f"epoch {record.epoch}/{record.epochs}  {scalars}")
