"""Options of SimSiam on the rows of a table."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .joint import SiameseOptions


class SimSiamRowsOptions(SiameseOptions):
    """SimSiam on rows: two corrupted views of a row, or of a row and a near one, predict each other's projection."""

    corruption: Literal["auto"] | Annotated[float, Field(ge=0.0, lt=1.0)] = "auto"
    """Share of the cells of each view that take a value of another row, drawn anew in each step; `auto`: .3, and 0
    with `neighbours`, which were best alone. SCARF's .6 was behind on two tables (docs/benchmarks.md)."""
    neighbours: Annotated[int, Field(ge=0)] = 0
    """k: the second view is one of the row's k nearest others; 0: it is the row itself."""
    width: Annotated[int, Field(ge=4, le=65_536, multiple_of=4)] = 256
    """Width of projections and predictions; the predictor's hidden layer has a quarter of it."""
    layers: Literal[2, 3] = 2
    """Layers of the projection."""

    @model_validator(mode="after")
    def _views_that_differ(self) -> "SimSiamRowsOptions":
        if not self.neighbours and self.corruption == 0:
            raise ValueError("corruption above 0 with neighbours: 0, or both views are the row itself")
        return self

    @property
    def share(self) -> float:
        """What `corruption` means."""
        if self.corruption == "auto":
            return 0.0 if self.neighbours else 0.3
        return self.corruption
