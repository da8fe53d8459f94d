"""Options of the heads and of their augmentation."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Strength = Annotated[float, Field(ge=0.0, le=1.0)]


class Options(BaseModel):
    """Frozen options that forbid unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    optimiser: ClassVar[Literal["adamw", "sgd"]] = "adamw"
    """What trains a pretext whose config says `optimiser: auto`."""

    def check_size(self, size: int) -> None:
        """Raise a ValueError saying what is expected if inputs of `size` pixels do not suit the options."""


def _not_falling(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the smaller value first")
    return value


class RegressionOptions(Options):
    """A head of one or several numeric columns, standardised on the fold's training rows."""

    range: tuple[float, float] | None = None
    """Smallest and largest possible value; predictions are clipped to it."""
    loss: Literal["squared", "pearson"] = "squared"
    """`pearson`: 1 - the mean Pearson correlation, for scores that look at order and proportion alone."""
    centre: Literal["row", "column"] | None = None
    """What `pearson` correlates: the columns within each `row` (null; three or more of them), or the rows of a batch
    within each `column`. A row's predictions then have no unit; those of columns have theirs."""

    @model_validator(mode="after")
    def _of_pearson(self) -> "RegressionOptions":
        if self.loss == "squared" and self.centre is not None:
            raise ValueError("centre left out with loss: squared, which does not read it")
        if self.correlates == "row" and self.range is not None:
            raise ValueError("range left out with loss: pearson within rows, whose predictions have no unit")
        return self

    @property
    def correlates(self) -> Literal["row", "column"] | None:
        """What the loss correlates within; None: nothing."""
        return (self.centre or "row") if self.loss == "pearson" else None

    @field_validator("range")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("the smaller value first")
        return value


class OnehotOptions(Options):
    """A head of one column's classes, trained by cross-entropy."""

    ordinal: bool | None = None
    """Export the expectation Σ p·class too; null: when every class is a number."""
    smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Label smoothing of the cross-entropy."""


class DateOptions(Options):
    """A head of one column of dates: years, ISO dates, year-month, datetimes, in one column mixed as they come."""

    dayfirst: bool = False
    """Read 3/4/1910 as the third of April."""
    earliest: float = 1.0
    """Fractional year below which a value is taken for a mistake."""
    latest: float = 2200.0
    """Fractional year above which a value is taken for a mistake."""
    invalid: Literal["error", "missing"] = "error"
    """What to do with values that are no dates of the range: stop and name them, or name and leave them out."""

    @model_validator(mode="after")
    def _a_range(self) -> "DateOptions":
        if not self.earliest < self.latest:
            raise ValueError(
                f"earliest before latest, which are {self.earliest:g} and {self.latest:g}; both are fractional years"
            )
        return self


class Word2vecOptions(Options):
    """A head of the mean vector of a row's names, embedded by word2vec over all labelled rows."""

    vector_size: Annotated[int, Field(ge=2, le=1024)] = 20
    window: Annotated[int, Field(ge=1)] = 1
    epochs: Annotated[int, Field(ge=1)] = 100
    min_count: Annotated[int, Field(ge=1)] = 1
    sample: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Threshold above which frequent names are dropped at random; gensim's own default 0.001 drops most of a small
    vocabulary."""
    weighting: Literal["mean", "idf"] = "mean"
    """How a row's names are averaged: equally, or by their inverse document frequency."""
    loss: Literal["cosine", "squared"] = "cosine"
    separator: Annotated[str, Field(min_length=1)] | None = None
    """What divides the names in a table column; null: white space. Lists need none."""


class ColourJitter(Options):
    """Strengths of the random colour changes, each a factor in [1 - s, 1 + s]; hue in turns, [-s, s]."""

    brightness: Strength = 0.0
    contrast: Strength = 0.0
    saturation: Strength = 0.0
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0


class Affine(Options):
    """Random turn, shift, scale and shear around the centre, bilinear; what comes from outside is mirrored."""

    degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    """Largest turn to either side."""
    translate: Strength = 0.0
    """Largest shift to either side as a share of the side."""
    scale: tuple[Annotated[float, Field(gt=0.0)], Annotated[float, Field(gt=0.0)]] = (1.0, 1.0)
    shear: Annotated[float, Field(ge=0.0, lt=90.0)] = 0.0
    """Largest shear along x to either side, degrees."""

    @field_validator("scale")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _not_falling(value)


class Blur(Options):
    """Gaussian blur of a share of the samples."""

    p: Strength = 0.0
    sigma: tuple[Annotated[float, Field(gt=0.0)], Annotated[float, Field(gt=0.0)]] = (0.1, 2.0)
    """Smallest and largest standard deviation, pixels."""

    @field_validator("sigma")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _not_falling(value)


class Erase(Options):
    """Random erasing of a rectangle (Zhong et al. 2020) in a share of the samples."""

    p: Strength = 0.0
    area: tuple[Annotated[float, Field(gt=0.0, le=1.0)], Annotated[float, Field(gt=0.0, le=1.0)]] = (
        0.02,
        0.33,
    )
    """Smallest and largest share of the area."""
    ratio: tuple[Annotated[float, Field(gt=0.0)], Annotated[float, Field(gt=0.0)]] = (0.3, 3.3)
    """Smallest and largest height over width."""

    @field_validator("area", "ratio")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _not_falling(value)


class GridShuffle(Options):
    """Cut a share of the samples into grid x grid cells and shuffle these."""

    p: Strength = 0.0
    grid: Annotated[int, Field(ge=2, le=16)] = 4


class Mix(Options):
    """Blend pairs of samples and their targets: mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019)."""

    p: Strength = 0.8
    """Share of the batches that are mixed."""
    mixup: Annotated[float, Field(ge=0.0)] = 0.4
    """α of the Beta(α, α) from which each sample's share is drawn; 0: no mixup."""
    cutmix: Annotated[float, Field(ge=0.0)] = 0.4
    """The same for cutmix; where both are on, each has half of the mixed batches."""

    @model_validator(mode="after")
    def _one_is_on(self) -> "Mix":
        if self.mixup == 0 and self.cutmix == 0:
            raise ValueError("mixup or cutmix above 0; write `mix: null` for none")
        return self


class HeadAugment(Options):
    """Random changes of a training image, drawn for each sample, done in batches on the device."""

    crop: tuple[Annotated[float, Field(gt=0.0, le=1.0)], Annotated[float, Field(gt=0.0, le=1.0)]] = (0.6, 1.0)
    """Smallest and largest share of the area that a random crop keeps; [1, 1]: no crop."""
    ratio: tuple[Annotated[float, Field(gt=0.0)], Annotated[float, Field(gt=0.0)]] = (0.8, 1.25)
    """Smallest and largest aspect ratio of the crop."""
    hflip: bool = True
    vflip: bool = False
    dihedral: bool = False
    """All eight flips and quarter turns with equal chance; contains hflip and vflip."""
    pad: Annotated[int, Field(ge=0, le=256)] = 0
    """Pixels that are mirrored around the resized picture before a window of the input size is cut at random."""
    affine: Affine = Affine()
    colour: ColourJitter = ColourJitter()
    grey: Strength = 0.0
    """Share of the samples shown in grey."""
    blur: Blur = Blur()
    noise: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Largest standard deviation of Gaussian noise, each sample's drawn below it; black to white is 1."""
    grid_shuffle: GridShuffle = GridShuffle()
    erase: Erase = Erase()
    mix: Literal["auto"] | Mix | None = "auto"
    """`auto`: on for training from scratch over 100 epochs or more, off otherwise."""

    @field_validator("crop", "ratio")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _not_falling(value)
