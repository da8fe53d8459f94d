"""The config of a run: every key, its type, its default and its range; where the data are stands in `data`.

Models are frozen and forbid unknown keys. ``"auto"`` stands for a value that the run resolves once from the
data and the machine and writes to its ``config.yaml``; from then on the value in the file is the value that
runs.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from .data import Data, Folds
from .heads import DateOptions, HeadAugment, OnehotOptions, RegressionOptions, Word2vecOptions
from .rates import suited
from .section import Auto, Count, Name, Section, Share, rising, several
from .steps import Step


class Backbone(Section):
    """A network that turns an input into `dim` features: `timm` reads pictures, the others lines of the table."""

    kind: Literal["timm", "tabnet", "mlp", "resmlp", "cnn1d"] = "timm"
    name: str = "resnet18"
    """A timm model name."""
    weights: str | None = None
    """null: random; `pretrained`: timm's download; or a checkpoint file."""
    options: dict[str, Any] = {}
    """Of a timm model further keyword arguments of `timm.create_model`; `small_stem: true` gives a ResNet the stem of
    CIFAR's (3 x 3, no stride, no pooling), for inputs of 32 to 64 pixels. Of the others their own options."""
    columns: Annotated[list[str], Field(min_length=1)] = ["*"]
    """Which of `data.columns` a network of tables reads: names, or patterns such as `"f*"`."""
    steps: list[Step] = []
    """What the numbers of a table pass before they are standardised, in order."""

    @model_validator(mode="after")
    def _only_what_is_read(self) -> "Backbone":
        if idle := sorted(self.model_fields_set & self._idle()):
            raise ValueError(f"{', '.join(idle)} left out with kind: {self.kind}, which does not read it")
        if self.weights == "pretrained" and self.of_tables:
            raise ValueError(
                f"weights null or a checkpoint with kind: {self.kind}, of which nobody offers any"
            )
        return self

    @model_serializer(mode="wrap")
    def _what_is_read(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A run's config is read back: a key that nothing reads does not stand in it."""
        return {key: value for key, value in handler(self).items() if key not in self._idle()}

    def _idle(self) -> set[str]:
        return {"name"} if self.of_tables else {"columns", "steps"}

    @property
    def of_tables(self) -> bool:
        """Whether it reads lines of the table."""
        return self.kind != "timm"


class Optimisation(Section):
    """What every trained stage has."""

    size: Annotated[int, Field(ge=16, le=1024)] = 96
    """Side of the square input, pixels; a table has none."""
    epochs: Count = 30
    batch: Annotated[int, Field(ge=2)] = 64
    lr: Auto | Annotated[float, Field(gt=0)] = "auto"
    """Peak learning rate; `auto`: of adamw 1e-3 on pictures, .02 on a tabnet and 3e-3 on other networks of tables; of
    sgd .05 · batch / 256 (Goyal et al. 2017)."""
    weight_decay: Auto | Annotated[float, Field(ge=0)] = "auto"
    """`auto`: .05 for adamw, on a tabnet 0; 1e-4 for sgd."""
    warmup: Share = 0.1
    """Share of the steps with a rising learning rate."""
    schedule: Literal["cosine", "onecycle"] = "cosine"
    """`cosine`: linear rise, then a cosine to zero; `onecycle`: rise and fall by cosines, from lr/25 to lr/250,000."""
    restarts: Annotated[int, Field(ge=0, le=50)] = 0
    """How many times the cosine starts again at the full rate, in equal parts."""
    accumulate: Count = 1
    """Batches whose gradients are averaged before the weights change."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """Largest gradient norm; null: no clipping."""

    @model_validator(mode="after")
    def _restarts_of_a_cosine(self) -> "Optimisation":
        if self.restarts and self.schedule != "cosine":
            raise ValueError(f"restarts left out with schedule: {self.schedule}; only a cosine starts again")
        return self

    def rates(
        self, optimiser: Literal["adamw", "sgd"] = "adamw", kind: str | Sequence[str] = "timm"
    ) -> tuple[float, float]:
        """Peak learning rate and weight decay, with what `auto` means for an optimiser on one or several kinds."""
        lr, decay = suited(optimiser, kind, self.batch * self.accumulate)
        return (
            lr if self.lr == "auto" else self.lr,
            decay if self.weight_decay == "auto" else self.weight_decay,
        )


class Pretext(Optimisation):
    """One self-supervised pretraining; its checkpoint serves any number of tasks."""

    name: Name
    kind: str
    """A registered pretext: jigsaw, tiles, simsiam, dino or lejepa of pictures, masked or simsiam_rows of tables."""
    backbone: str = "auto"
    init: str | None = None
    """null: the backbone's own weights; the name of an earlier pretext; or a checkpoint file."""
    reuse: str | None = None
    """A run directory or `backbone.safetensors` taken as it is, without training."""
    scope: Literal["auto", "transductive", "inductive", "asymmetric"] = "auto"
    """Rows seen: train and test / one checkpoint per fold without its validation groups / train rows only."""
    epochs: Count = 100
    optimiser: Auto | Literal["adamw", "sgd"] = "auto"
    """`sgd`: momentum .9, all weights decay; `auto`: sgd for simsiam and simsiam_rows, adamw for the others."""
    collapse: Literal["stop", "warn"] = "stop"
    """After three epochs in which all inputs get the same features: end the training with advice, or only warn."""
    snapshot: Literal["last", "probe"] = "last"
    """The checkpoint to keep: the `last` epoch's, or that of the best `probe`, which reads labels."""
    options: dict[str, Any] = {}
    """Of the kind of pretext."""


class Probe(Section):
    """How frozen features are tested on the tasks' labels, without training: by neighbours and by a ridge."""

    every: Annotated[int, Field(ge=0)] = 10
    """Epochs of a pretraining between two probes; 0: after the last one only."""
    neighbours: Count = 20
    rows: Annotated[int, Field(ge=10)] = 5000
    """At most so many labelled rows; more are drawn from once."""


class EarlyStopping(Section):
    """Stop on an inner grouped split of the fold's training rows; the scored fold is never looked at."""

    share: Annotated[float, Field(gt=0.0, le=0.5)] = 0.1
    patience: Count = 5


class Unfreeze(Section):
    """Training that starts with a frozen backbone, whose stages thaw from the top (Howard and Ruder 2018)."""

    after: Count = 1
    """Epochs in which only the heads learn."""
    every: Annotated[int, Field(ge=0)] = 0
    """Epochs between one stage's thawing and the next's; 0: all thaw at once."""


FROZEN_KEYS = ("kind", "columns", "options", "init", "backbone", "size", "folds", "learner", "table")
"""What a task reads whose learner trains no network."""


class Task(Optimisation):
    """One head. Tasks that differ only in their target share one network when `transfer.joint` holds."""

    kind: Literal["regression", "onehot", "date", "word2vec"]
    columns: Annotated[list[str], Field(min_length=1)]
    """Table columns; for word2vec names of `data.lists`, or columns of names."""
    learner: Literal["network", "ridge", "knn", "lightgbm"] = "network"
    """`network`: fine-tuned; the others learn from the frozen backbone's features, which are computed once, and read
    kind, columns, options, init, backbone, size, folds and table alone."""
    table: bool = False
    """Whether `data.columns` join the features of a frozen backbone."""
    init: str | list[str] = "scratch"
    """The name of a pretext, `scratch`, or a checkpoint file; a list: one for each of joined backbones."""
    backbone: str | list[str] = "auto"
    """A list: the features of these backbones side by side, joined by id; at most one reads pictures. `auto`: that of
    each pretext under `init`, or the only one."""
    freeze: Literal["none", "all"] | list[str] = "none"
    """`none`, `all`, or the backbone's stages to keep fixed, of joined ones `<backbone>` or `<backbone>.<stage>`."""
    unfreeze: Unfreeze | None = None
    """Heads first, then the backbone, all at once or stage by stage; null: all learn from the first step."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Learning-rate factor from each stage to the one below it."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of this head's loss in a joint network."""
    folds: Auto | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = "auto"
    """The folds to train, `auto`: all. A task without all folds is compared but never stacked."""
    augment: HeadAugment = HeadAugment()
    early_stopping: EarlyStopping | None = None
    options: dict[str, Any] = {}
    """Of the kind of head."""

    @model_validator(mode="after")
    def _something_thaws(self) -> "Task":
        if self.unfreeze is not None and self.freeze == "all":
            raise ValueError("unfreeze left out with freeze: all, under which nothing thaws")
        return self

    @model_validator(mode="after")
    def _only_what_is_read(self) -> "Task":
        if self.frozen and (idle := sorted(self.model_fields_set & self._idle())):
            raise ValueError(
                f"{', '.join(idle)} left out with learner: {self.learner}, which trains no network and reads "
                f"{', '.join(FROZEN_KEYS)}"
            )
        if self.table and not self.frozen:
            raise ValueError(
                "table left out with learner: network, whose backbone reads all; ridge, knn and lightgbm read it, and "
                "stacks do"
            )
        return self

    @model_serializer(mode="wrap")
    def _what_is_read(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A run's config is read back: a key that nothing reads does not stand in it."""
        return {key: value for key, value in handler(self).items() if key not in self._idle()}

    def _idle(self) -> set[str]:
        return set(type(self).model_fields) - set(FROZEN_KEYS) if self.frozen else {"table"}

    @property
    def frozen(self) -> bool:
        """Whether a learner on frozen features takes the place of a network."""
        return self.learner != "network"

    @property
    def joined(self) -> bool:
        """Whether it learns from the features of several backbones."""
        return not (isinstance(self.init, str) and isinstance(self.backbone, str))

    @property
    def starts(self) -> dict[str, str]:
        """Of a resolved config: each backbone and the `init` that it starts from, in the order of their features."""
        return dict(zip(several(self.backbone), several(self.init), strict=True))

    def head_options(self) -> "HeadOptions":
        """The checked options of this kind of head."""
        return HEAD_OPTIONS[self.kind](**self.options)


HeadOptions = RegressionOptions | OnehotOptions | DateOptions | Word2vecOptions
HEAD_OPTIONS: dict[
    str, type[RegressionOptions] | type[OnehotOptions] | type[DateOptions] | type[Word2vecOptions]
] = {
    "regression": RegressionOptions,
    "onehot": OnehotOptions,
    "date": DateOptions,
    "word2vec": Word2vecOptions,
}


class Transfer(Section):
    """How the heads are trained."""

    joint: Auto | bool = "auto"
    """One network with several heads (`auto`: yes on a CPU) or one network a task."""
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    """Decay of the moving average of the weights, which predicts; 0: the last weights."""
    seeds: Count = 1
    """Networks to average in each fold."""
    final: Literal["folds", "refit", "both"] = "folds"
    """Test rows come from the fold models, one network on all labelled rows (never scored), or both."""
    importance: list[Literal["attention", "permutation"]] = ["attention"]
    """How much each column counts in networks of tables, on rows that a fold's network did not learn from: the
    `attention` of TabNets, which costs next to nothing, and by how much a head is worse when a column is shuffled
    (`permutation`; of any network of one table, for each column a prediction of up to 1,000 rows a fold)."""


View = Literal["identity", "hflip", "vflip", "rot180", "rot90", "rot270", "transpose", "antitranspose"]


class Features(Section):
    """Test-time augmentation and its statistics."""

    views: Auto | Literal["none", "hflip", "d4"] | Annotated[list[View], Field(min_length=1)] = "auto"
    """`auto`: those that training augmentation contains."""
    size: Annotated[int, Field(ge=16, le=1024)] | None = None
    """Side of the input at prediction, pixels; null: that of each task's training. Frozen tasks keep their own."""
    stats: Annotated[list[Literal["mean", "var", "max", "min"]], Field(min_length=1)] = [
        "mean",
        "var",
        "max",
        "min",
    ]


Metric = Literal["rmse", "mae", "r2", "pearson", "pearson_columns", "accuracy", "logloss", "auc", "f1", "qwk"]


class Stack(Section):
    """Level 2: what is predicted, how it is scored, and by which models."""

    target: str | list[str]
    """The train column or columns to predict."""
    metric: Metric = "rmse"
    """`pearson`: the mean over rows of the correlation over two or more target columns; `pearson_columns`: the mean
    over the target columns of the correlation over rows."""
    models: Annotated[list[Literal["lightgbm", "ridge"]], Field(min_length=1)] = ["lightgbm", "ridge"]
    members: list[str] = []
    """The tasks whose features are stacked; empty: every task trained on all folds."""
    table: bool = False
    """Whether `data.columns` join the features: numbers as they are, classes one-hot, missing values kept."""
    submit: str = "best"
    """`best`: the rung with the best nested score; or a rung's name."""
    range: tuple[float, float] | None = None
    """Smallest and largest allowed prediction; values outside are clipped."""

    @field_validator("range")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        return rising(value)

    @model_validator(mode="after")
    def _enough_to_correlate(self) -> "Stack":
        if self.metric == "pearson" and len(self.columns) < 2:
            raise ValueError(
                "two or more columns as target with metric: pearson, which correlates within a row; pearson_columns "
                "takes one"
            )
        return self

    @property
    def columns(self) -> list[str]:
        """The target columns as a list."""
        return [self.target] if isinstance(self.target, str) else list(self.target)


class Config(Section):
    """A whole run."""

    name: Name
    runs: str = "runs"
    seed: Annotated[int, Field(ge=0)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+|mps)$")] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    channels_last: Auto | bool = "auto"
    plugins: list[str] = []
    """Python files of yours that register pretexts, relative to the working directory."""
    deterministic: bool = False
    """Bitwise repeatable CUDA kernels (slower); a CPU run always is."""
    compile: bool = False
    """Whether training steps of pretexts and heads are compiled (torch.compile; needs a C++ compiler, on CUDA Triton).
    The first step takes a minute or more; on a CPU a ResNet gains nothing, a TabNet a fifth and more
    (docs/benchmarks.md)."""
    threads: Auto | Count = "auto"
    """Threads in all; `auto`: one for each processor core that the process may use."""
    processes: Count = 1
    """Fold models trained side by side, each with its share of the threads; on two cores one after the other is faster
    (docs/benchmarks.md)."""
    data: Data
    folds: Folds = Folds()
    backbones: dict[Name, Backbone] = Field(default={"img": Backbone()}, min_length=1)
    pretext: list[Pretext] = []
    probe: Probe = Probe()
    tasks: dict[Name, Task] = {}
    transfer: Transfer = Transfer()
    features: Features = Features()
    stack: dict[Name, Stack] = {}
