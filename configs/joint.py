"""Options of the joint-embedding pretexts and of the random views that they compare."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from .heads import Blur, ColourJitter, Options, Strength

Area = Annotated[float, Field(gt=0.0, le=1.0)]
Width = Annotated[int, Field(ge=4, le=65_536)]
SHARP_UP_TO = 64
"""Pixels along a side up to which `blur: auto` blurs nothing, as CIFAR's recipes do."""
SMALL = 64
"""Pixels along a side up to which a projection has two layers."""


def _not_falling(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the smaller value first")
    return value


class ViewAugment(Options):
    """How a random view of an image is drawn; the defaults are those of SimSiam's paper (Chen and He 2021)."""

    crop: tuple[Area, Area] = (0.2, 1.0)
    """Smallest and largest share of the area that a crop keeps."""
    ratio: tuple[Annotated[float, Field(gt=0.0)], Annotated[float, Field(gt=0.0)]] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of the crop."""
    hflip: Strength = 0.5
    """Share of the views that are mirrored left to right."""
    vflip: Strength = 0.0
    """Share of the views that are mirrored top to bottom."""
    rot90: bool = False
    """Turn by a random number of quarters: for pictures without an upper side, such as microscopy."""
    colour: ColourJitter = ColourJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    """Strengths of the colour changes, done in an order drawn for each view."""
    colour_p: Strength = 0.8
    """Share of the views whose colours change."""
    grey: Strength = 0.2
    """Share of the views shown in grey."""
    blur: Literal["auto"] | Blur = "auto"
    """`auto`: half of the views above 64 pixels, none below."""
    solarise: Strength = 0.0
    """Share of the views whose bright half is inverted."""

    @field_validator("crop", "ratio")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _not_falling(value)

    def blur_at(self, size: int) -> Blur:
        """What `blur` means for views of `size` pixels."""
        if self.blur == "auto":
            return Blur(p=0.5 if size > SHARP_UP_TO else 0.0)
        return self.blur


class SiameseOptions(Options):
    """What SimSiam has on pictures and on rows."""

    optimiser: ClassVar[Literal["adamw", "sgd"]] = "sgd"

    width: Annotated[int, Field(ge=4, le=65_536, multiple_of=4)] = 2048
    """Width of projections and predictions; the predictor's hidden layer has a quarter of it."""
    statistics: Literal["view", "joint"] = "view"
    """Whether each view has its own batch statistics, as in the paper, or all views of a batch share them."""
    steady_predictor: bool = True
    """Keep the predictor's rate at its peak, as in the paper."""


class SimSiamOptions(SiameseOptions):
    """SimSiam: two views of an image predict each other's projection; with more views FastSiam."""

    views: Annotated[int, Field(ge=2, le=4)] = 2
    """Views of each image: 2 as in the paper, to 4 (FastSiam, Pototzky et al. 2022)."""
    layers: Literal["auto", 2, 3] = "auto"
    """Layers of the projection; `auto`: 2 up to 64 pixels, as for CIFAR (Chen and He 2021, appendix D), 3 above."""
    augment: ViewAugment = ViewAugment()

    def layers_at(self, size: int) -> int:
        """What `layers` means for views of `size` pixels."""
        if self.layers == "auto":
            return 2 if size <= SMALL else 3
        return self.layers


class MultiCropOptions(Options):
    """Large and small crops of an image."""

    local_views: Annotated[int, Field(ge=0, le=10)] = 4
    """Small crops of each image."""
    local_size: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Side of the small crops as a share of the large ones'."""
    augment: ViewAugment = ViewAugment(
        crop=(0.4, 1.0), colour=ColourJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    )
    """How large crops are drawn."""
    local_augment: ViewAugment = ViewAugment(
        crop=(0.05, 0.4), colour=ColourJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    )
    """How small crops are drawn."""

    def local_pixels(self, size: int) -> int:
        """Side of the small crops beside large ones of `size` pixels, a multiple of 8."""
        return max(8, round(size * self.local_size / 8) * 8)

    def check_size(self, size: int) -> None:
        if self.local_views and self.local_pixels(size) < 16:
            raise ValueError(
                f"small crops of at least 16 pixels, which are {self.local_pixels(size)} with local_size "
                f"{self.local_size:g}; raise size or local_size, or set local_views to 0"
            )


class DinoOptions(MultiCropOptions):
    """DINO: a student that sees all crops answers as its slowly following average does to the large ones."""

    outputs: Width = 1024
    """K, the learned directions; the paper's 65,536 are for a million images."""
    hidden: Width = 1024
    bottleneck: Width = 256
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    """Of the teacher at the start; it rises to 1. The paper's .996 is for longer trainings."""
    student_temperature: Annotated[float, Field(gt=0.0)] = 0.1
    teacher_temperature: Annotated[float, Field(gt=0.0)] = 0.04
    centre_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Of the mean that is taken from the teacher's answers, so that no direction wins everywhere."""

    @model_validator(mode="after")
    def _sharper_teacher(self) -> "DinoOptions":
        if self.teacher_temperature > self.student_temperature:
            raise ValueError(
                "teacher_temperature of at most student_temperature, which are "
                f"{self.teacher_temperature:g} and {self.student_temperature:g}: a blunt teacher teaches nothing"
            )
        return self


class LejepaOptions(MultiCropOptions):
    """LeJEPA: the views of an image lie close together, all images in a Gaussian cloud."""

    views: Annotated[int, Field(ge=2, le=4)] = 2
    """Large crops of each image."""
    hidden: Width = 1024
    width: Width = 64
    """D of the projections that are to be Gaussian."""
    weight: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    """λ, of the Gaussian part; the paper explores .01 to .1."""
    slices: Annotated[int, Field(ge=1)] = 256
    """Random directions along which the Gaussian is tested in each step."""
