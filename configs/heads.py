"""Options of the heads and of their augmentation."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Strength = Annotated[float, Field(ge=0.0, le=1.0)]


class Options(BaseModel):
    """Frozen options that forbid unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    def check_size(self, size: int) -> None:
        """Raise a ValueError saying what is expected if inputs of `size` pixels do not suit the options."""


class RegressionOptions(Options):
    """A head of one or several numeric columns, standardised on the fold's training rows."""

    range: tuple[float, float] | None = None
    """Smallest and largest possible value; predictions are clipped to it."""

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


class ColourJitter(Options):
    """Strengths of the random colour changes, each a factor in [1 - s, 1 + s]; hue in turns, [-s, s]."""

    brightness: Strength = 0.0
    contrast: Strength = 0.0
    saturation: Strength = 0.0
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0


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
    colour: ColourJitter = ColourJitter()

    @field_validator("crop", "ratio")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError("the smaller value first")
        return value
