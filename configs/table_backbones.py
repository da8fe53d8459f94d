"""Options of the backbones of tables."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .heads import Options

Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
Width = Annotated[int, Field(ge=1, le=256)]

SHORTEST = 4
"""Positions of the 1-D CNN's first convolution that its two poolings leave one of."""


class TableInputOptions(Options):
    """How the columns of a table become features: the same for every backbone of tables."""

    category_width: Literal["auto"] | Width = "auto"
    """Numbers that stand for a level of a category; `auto`: 2 to 32, the more the more levels the column has."""
    numbers: Literal["plain", "piecewise"] = "plain"
    """`plain`: a number as it is; `piecewise`: its place between the column's quantiles, through a layer of its own."""
    number_width: Width = 8
    """Features of each number, for `numbers: piecewise`."""


class TabnetOptions(TableInputOptions):
    """TabNet: a few steps, each of which chooses the columns that it looks at (Arik and Pfister 2021)."""

    category_width: Literal["auto"] | Width = 1
    """Numbers that stand for a level of a category; the paper's is 1."""
    n_d: Annotated[int, Field(ge=1)] = 8
    """Features that each step adds to the output."""
    n_a: Annotated[int, Field(ge=1)] = 8
    """Features from which each step chooses the columns of the next."""
    steps: Annotated[int, Field(ge=1)] = 3
    gamma: Annotated[float, Field(ge=1.0)] = 1.3
    """At 1 a column is used in one step only; above, in more of them."""
    shared: Annotated[int, Field(ge=0)] = 2
    """Layers of each feature transformer whose weights all steps share."""
    independent: Annotated[int, Field(ge=0)] = 2
    """Layers of each feature transformer that are the step's own."""
    virtual_batch: Annotated[int, Field(ge=2)] = 128
    """Rows over which batch norm takes its statistics."""
    momentum: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Share of a virtual batch in the running statistics, as torch counts it: 1 - the paper's. With pytorch-tabnet's
    .02 they lag behind in trainings of fewer than some hundred steps, and predictions suffer."""
    mask: Literal["sparsemax", "entmax"] = "sparsemax"
    sparsity: Annotated[float, Field(ge=0.0)] = 1e-3
    """Weight of the masks' entropy in the loss, the paper's lambda."""
    group_scale: Literal["none", "mean"] = "none"
    """What a column of several features gets of its share of attention: each the whole, or an even part."""
    initial_norm: bool = False
    """Pass the features through batch norm first; numbers are standardised without it, from unmasked cells only."""
    forbid_masked: bool = False
    """Give masked and missing cells no attention at all; the paper gives them a logit of 0."""

    @model_validator(mode="after")
    def _a_layer(self) -> "TabnetOptions":
        if self.shared + self.independent == 0:
            raise ValueError("shared or independent above 0, so that a step has a layer")
        return self


class MlpOptions(TableInputOptions):
    """Layers of equal width on piecewise-linear features of the numbers (Gorishniy et al. 2022)."""

    numbers: Literal["plain", "piecewise"] = "piecewise"
    """`plain`: a number as it is; `piecewise`: its place between the column's quantiles, through a layer of its own."""
    width: Annotated[int, Field(ge=1)] = 256
    depth: Annotated[int, Field(ge=1)] = 3
    """Layers, each with a ReLU."""
    dropout: Dropout = 0.1
    """After each layer."""


class ResidualMlpOptions(TableInputOptions):
    """Pre-norm residual blocks of two layers (the ResNet of Gorishniy et al. 2021)."""

    width: Annotated[int, Field(ge=1)] = 256
    depth: Annotated[int, Field(ge=1)] = 3
    """Blocks."""
    expansion: Annotated[float, Field(gt=0.0)] = 2.0
    """Width inside a block over `width`."""
    dropout: Dropout = 0.1
    """Between the two layers of a block."""
    residual_dropout: Dropout = 0.0
    """Of what a block adds."""


class Cnn1dOptions(TableInputOptions):
    """A layer whose outputs are laid out as a signal, and four convolutions over it."""

    hidden: Annotated[int, Field(ge=SHORTEST)] = 1024
    """Width of the first layer: `channels` times the length of the signal."""
    channels: Annotated[int, Field(ge=1)] = 128
    filters: Annotated[int, Field(ge=1)] = 384
    """Channels of every convolution."""
    dropout_input: Dropout = 0.1
    """Before the first layer."""
    dropout: Dropout = 0.2
    """Before each convolution."""
    dropout_output: Dropout = 0.1
    """Of the features."""

    @model_validator(mode="after")
    def _a_signal(self) -> "Cnn1dOptions":
        if self.hidden % self.channels or self.hidden < SHORTEST * self.channels:
            raise ValueError(
                f"hidden a multiple of channels and at least {SHORTEST} times as many, "
                f"which are {self.hidden} and {self.channels}"
            )
        return self
