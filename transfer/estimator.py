"""TabNet with a head as estimators of scikit-learn, from scratch or from a pretrained backbone."""

import copy
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, column_or_1d

from ..backbones import build_backbone
from ..backbones.tabnet import TabNet
from ..configs.heads import HeadAugment, OnehotOptions, RegressionOptions
from ..configs.schema import Task
from ..datasets.frames import column_names, encoded, frame_of, row_ids
from ..datasets.onehot import OnehotTarget
from ..datasets.regression import RegressionTarget
from ..datasets.table_cells import Kind
from ..datasets.table_rows import TableRows
from ..datasets.targets import Target
from ..pretext.estimator import (
    MaskedTablePretrainer,
    backbone_section,
    checked,
    plain,
    schema_rows,
    seed_from,
    tell,
)
from ..training.device import machine_of_tables
from ..training.fit import FitOptions, Training, fit
from ..training.optimiser import parameter_groups
from ..training.randomness import kept_generators, reseed_global
from .importance import mean_attention
from .network import HeadNetwork
from .prediction import predict_views
from .rows import LabelledInputs

HEAD = "y"
_OF_THE_FIT = ("epochs", "batch", "lr", "weight_decay", "freeze")


class _TabNetEstimator(BaseEstimator):
    """What both estimators share; each says what its target is and how predictions are read."""

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def __init__(
        self,
        *,
        pretrained: MaskedTablePretrainer | str | PathLike[str] | None = None,
        epochs: int = 50,
        batch: int = 256,
        lr: float = 0.02,
        weight_decay: float = 0.0,
        freeze: str | Sequence[str] = "none",
        steps: Sequence[Any] = (),
        kinds: Mapping[str, Kind] | None = None,
        options: Mapping[str, Any] | None = None,
        device: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.pretrained = pretrained
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.weight_decay = weight_decay
        self.freeze = freeze
        self.steps = steps
        self.kinds = kinds
        self.options = options
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """(D,) the share of attention of each column of `fit`; they sum to 1.

        Raises:
            AttributeError: a step made columns that are none of the table's; see `column_importances_`.
        """
        check_is_fitted(self)
        names = column_names(self)
        made = [name for name in self.column_importances_ if name not in names]
        if made:
            raise AttributeError(
                f"feature_importances_: expected columns of the table, received {made[0]!r}, which a step made; see "
                "column_importances_"
            )
        return np.array([self.column_importances_.get(name, 0.0) for name in names])

    def __sklearn_clone__(self) -> "_TabNetEstimator":
        """A clone without the fit, with the same fitted pretrainer: that one is where the fit starts."""
        start = self.pretrained
        fitted = isinstance(start, MaskedTablePretrainer) and hasattr(start, "backbone_")
        params: dict[str, Any] = {
            name: value if name == "pretrained" and fitted else clone(value, safe=False)
            for name, value in self.get_params(deep=False).items()
        }
        new = type(self)(**params)
        for name in ("_metadata_request", "_sklearn_output_config"):
            if hasattr(self, name):
                setattr(new, name, copy.deepcopy(getattr(self, name)))
        return new

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.target_tags.required = True
        return tags

    def _train(self, frame: pd.DataFrame, target: Target, labels: pd.DataFrame) -> None:
        """Fit the network on rows and their labels, which have the same order."""
        task = self._task(target.kind)  # pyright: ignore[reportAttributeAccessIssue]
        machine, seed = machine_of_tables(self.device), seed_from(self.random_state)
        with kept_generators():
            inputs, backbone = self._start(frame, seed)
            network = HeadNetwork(
                backbone,
                {HEAD: target},
                size=task.size,
                augment=HeadAugment(mix=None),
                weights={HEAD: 1.0},
                frozen=task.freeze,
            )
            groups = parameter_groups(
                backbone.stages(), network.heads.parameters(), weight_decay=task.rates()[1]
            )
            training = Training(network, groups, FitOptions.of(task), machine, seed, ("finetune", HEAD))
            source = LabelledInputs(inputs, inputs.owners, {HEAD: target.encode(labels)}, machine)
            self.history_: list[dict[str, float]] = []
            for record in fit(training, source):
                self.history_.append(record.scalars)
                tell(record, self.verbose)
        self.schema_ = inputs.schema
        self.column_importances_ = mean_attention(backbone, inputs.store, np.arange(len(inputs)), machine)
        self.network_: HeadNetwork = network.cpu().eval()

    def _start(self, frame: pd.DataFrame, seed: int) -> tuple[TableRows, TabNet]:
        """The rows as the backbone reads them, and the backbone before its first step."""
        start = self.pretrained
        if start is None:
            section = backbone_section("tabnet", self.steps, self.options)
            inputs = schema_rows(frame, section, self.kinds, seed)
            reseed_global(seed, "finetune", HEAD, "init")
            return inputs, build_backbone(section, inputs.takes, 0)
        if idle := [name for name in ("steps", "kinds", "options") if getattr(self, name)]:
            raise ValueError(
                f"{', '.join(idle)}: expected none with pretrained, whose own hold, received "
                f"{getattr(self, idle[0])!r}; give them to the pretrainer"
            )
        if isinstance(start, (str, PathLike)):
            start = MaskedTablePretrainer.load(start)
        if not isinstance(start, MaskedTablePretrainer):
            raise TypeError(
                f"pretrained: expected a MaskedTablePretrainer, a folder or None, received {start!r}"
            )
        if not hasattr(start, "backbone_"):
            blank: Any = clone(start)
            start = blank.fit(frame)
        if not isinstance(start.backbone_, TabNet):
            raise ValueError(  # noqa: TRY004 (the type of what a parameter holds)
                f"pretrained: expected a backbone tabnet, received {start.backbone_.kind}; fit "
                "MaskedTablePretrainer(backbone='tabnet')"
            )
        schema = start.schema_
        inputs = TableRows(encoded(schema, frame), row_ids(len(frame)), schema)
        return inputs, copy.deepcopy(start.backbone_)

    def _task(self, kind: str) -> Task:
        values = {name: plain(getattr(self, name)) for name in _OF_THE_FIT}
        return checked(Task, values | {"kind": kind, "columns": [HEAD], "clip": 1.0})

    def _decoded(self, X: Any) -> NDArray[np.float32]:
        """(N, K) what the head says of rows, decoded."""
        check_is_fitted(self)
        frame = frame_of(self, X, reset=False)
        inputs = TableRows(encoded(self.schema_, frame), row_ids(len(frame)), self.schema_)
        machine = machine_of_tables(self.device)
        return predict_views([self.network_], inputs.store, inputs.owners, ["identity"], machine)[HEAD][:, 0]


class TabNetClassifier(ClassifierMixin, _TabNetEstimator):
    """TabNet with a head of classes, trained by cross-entropy.

    Columns may hold numbers, texts, booleans and dates, with cells missing. Training is that of a run's
    heads on a TabNet (Arik and Pfister 2021), with AdamW, gradients clipped at norm 1 and the last weights.

    Args:
        pretrained: where the backbone starts: a `MaskedTablePretrainer`, or the folder of one or of a run's
            pretraining. One that is fitted is taken as it is, also by `sklearn.base.clone`, and so by every fold of a
            cross-validation, whose scored rows it may have seen (without labels); one that is not fitted is fitted
            first, on the rows of `fit` and no others. None: random weights.
        epochs: passes over the rows.
        batch: rows of a step; all, if there are fewer.
        lr: peak learning rate.
        weight_decay: of AdamW.
        freeze: `none`, `all`, or the backbone's stages to keep fixed: `stem`, `shared`, `step1`, ...
        steps, kinds, options: as of `MaskedTablePretrainer`, whose own hold where there is one.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        random_state: of all draws; an int makes two fits equal on one device.
        verbose: epochs between two printed lines; 0: none.

    Attributes:
        column_importances_: column of the network -> its share of the attention, the mean of the paper's aggregate
            mask over the rows of `fit`; they sum to 1.
        feature_importances_: (D,) the same for the columns of `fit`, 0 for those of `schema_.dropped`. It is not there
            where a decomposition made other columns.
        schema_: how cells become what the network reads.
        network_: the trained network.
        history_: the losses of each epoch.
        n_features_in_: D, the columns of `fit`.
        feature_names_in_: their names, if all were text; the columns of an array are called x0, x1, ...
        classes_: (C,) the classes, sorted.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> model = TabNetClassifier(epochs=1, random_state=0).fit(X, np.where(X[:, 0] > 0, "up", "down"))
        >>> model.predict_proba(X[:1]).shape
        (1, 2)
    """

    def fit(self, X: Any, y: Any) -> "TabNetClassifier":
        """Train on labelled rows.

        Args:
            X: (N, D) 2 rows or more, a DataFrame or an array.
            y: (N,) classes, 2 or more.

        Raises:
            ValueError: rows or labels that cannot be learned from, or a parameter out of range.
        """
        frame = frame_of(self, X, y, reset=True, fewest=2)
        y = column_or_1d(y, warn=True)
        check_consistent_length(frame, y)
        check_classification_targets(y)
        self.classes_, places = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y: expected two or more classes, received one class, {self.classes_[0]!s}; add rows of another"
            )
        labels = pd.DataFrame({HEAD: places})
        try:
            target = OnehotTarget.code(HEAD, [HEAD], OnehotOptions(ordinal=False), labels)
        except ValueError as error:  # which is worded for a config
            raise ValueError(
                f"y: expected classes, received {len(self.classes_)} different values in {len(frame)} rows; use "
                "TabNetRegressor, or join rare classes"
            ) from error
        self._train(frame, target.fit(labels), labels)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """(N, C) the probability of each class of `classes_`; rows sum to 1."""
        return self._decoded(X)

    def predict(self, X: Any) -> NDArray:
        """(N,) the likeliest class."""
        likeliest = self._decoded(X).argmax(1)
        return self.classes_[likeliest]


class TabNetRegressor(RegressorMixin, _TabNetEstimator):
    """TabNet with a head of one or several numbers, standardised, trained by squared error.

    Args and attributes are those of `TabNetClassifier`, but for `classes_`.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> TabNetRegressor(epochs=1, random_state=0).fit(X, X[:, :2]).predict(X[:1]).shape
        (1, 2)
    """

    def fit(self, X: Any, y: Any) -> "TabNetRegressor":
        """Train on labelled rows.

        Args:
            X: (N, D) 2 rows or more, a DataFrame or an array.
            y: (N,) or (N, K) numbers, none missing.

        Raises:
            ValueError: rows or labels that cannot be learned from, or a parameter out of range.
        """
        frame = frame_of(self, X, y, reset=True, fewest=2)
        numbers = check_array(y, ensure_2d=False, dtype="numeric", input_name="y", estimator=self).astype(
            float
        )
        check_consistent_length(frame, numbers)
        names = [HEAD] if numbers.ndim == 1 else [f"{HEAD}{k}" for k in range(numbers.shape[1])]
        labels = pd.DataFrame(numbers.reshape(len(numbers), -1), columns=names)
        target = RegressionTarget.code(HEAD, names, RegressionOptions(), labels)
        self._flat = numbers.ndim == 1
        self._train(frame, target.fit(labels), labels)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """(N,) or (N, K) in the units of `y`, as it was given."""
        values = self._decoded(X).astype(np.float64)
        return values[:, 0] if self._flat else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output, tags.target_tags.single_output = True, True
        return tags
