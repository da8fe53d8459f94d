"""Options of the named steps that prepare the numbers of a table."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from .heads import Options

Text = Annotated[str, Field(min_length=1)]


class Columns(Options):
    """Which columns a step takes: numbers, dates and booleans as the steps before it left them; categories never."""

    columns: Annotated[tuple[Text, ...], Field(min_length=1)] = ("*",)
    """Names, or patterns such as `"f*"`."""


class StandardStep(Columns):
    """Mean 0 and standard deviation 1. Every number ends so; as a step it weighs the columns of an svd equally."""

    kind: Literal["standard"] = "standard"


class QuantileStep(Columns):
    """Ranks mapped to a normal distribution, column by column."""

    kind: Literal["quantile"] = "quantile"
    quantiles: Annotated[int, Field(ge=2, le=10_000)] = 1000
    """How many of a column's quantiles are kept; at most as many as there are rows. They are read off 32,768 rows drawn
    with the seed where there are more: a rank is then right within .3 % of the rows."""


class Log1pStep(Columns):
    """log(1 + x), for counts and amounts."""

    kind: Literal["log1p"] = "log1p"


class _Decomposition(Columns):
    n: Annotated[int, Field(ge=1, le=4096)] = 64
    """Components; of a group with fewer columns as many as it has. They take the place of their columns."""
    group: str | None = None
    """A regular expression whose first bracket captures the group of a column from its name: `^(chr[0-9XY]+):` makes
    one decomposition a chromosome. Columns that it does not match stay as they are; null: all columns are one group."""
    name: Text | None = None
    """What the components are called, before their number and behind the group; null: the kind."""

    @field_validator("group")
    @classmethod
    def _captures(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                brackets = re.compile(value).groups
            except re.error as error:
                raise ValueError(f"a regular expression; this one ends in: {error}") from error
            if not brackets:
                raise ValueError(
                    'a regular expression with a bracket around the group, such as "^(chr\\w+):"'
                )
        return value


class SvdStep(_Decomposition):
    """The leading components of a truncated singular value decomposition, without centring."""

    kind: Literal["svd"] = "svd"


class PcaStep(_Decomposition):
    """The leading principal components."""

    kind: Literal["pca"] = "pca"


class RowsStep(Columns):
    """Each row brought to one scale by itself."""

    kind: Literal["rows"] = "rows"
    how: Literal["standard", "total"] = "standard"
    """`standard`: mean 0 and standard deviation 1 over the row; `total`: a common sum, for counts."""
    total: Annotated[float, Field(gt=0)] | None = None
    """The sum that `total` gives every row; null: the median of the rows' sums."""


Step = Annotated[
    StandardStep | QuantileStep | Log1pStep | SvdStep | PcaStep | RowsStep, Field(discriminator="kind")
]
