"""Options of the pretexts."""

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .heads import Options

SMALLEST_TILE = 8
"""Pixels along a side."""


class TileOptions(Options):
    """What every jigsaw has: how the picture is cut and what is done to the tiles."""

    grid: Annotated[int, Field(ge=2, le=5)] = 3
    gap: Annotated[int, Field(ge=0, le=16)] = 2
    """Background pixels between neighbouring tiles, so that borders cannot simply be matched."""
    jitter: Annotated[int, Field(ge=0, le=16)] = 2
    """Largest random shift of a tile's crop inside its cell, pixels; each tile has its own."""
    colour_drop: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    """Share of boards shown in grey."""
    unshuffled: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """Share of boards left in order."""
    dihedral: bool = True
    """Flip and turn the whole picture at random before it is cut."""
    crop: tuple[Annotated[float, Field(gt=0.0, le=1.0)], Annotated[float, Field(gt=0.0, le=1.0)]] = (0.7, 1.0)
    """Smallest and largest share of the area that a random crop of the picture keeps."""

    @field_validator("crop")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError("the smaller value first")
        return value

    def check_size(self, size: int) -> None:
        """Refuse boards whose tiles are below 8 pixels: nothing is left to recognise on them.

        Args:
            size: Side of the board, pixels.

        Raises:
            ValueError: naming the smallest size that these options allow.
        """
        smallest = self.grid * SMALLEST_TILE + (self.grid - 1) * self.gap
        if size < smallest:
            raise ValueError(
                f"at least {smallest} pixels, so that each tile of a {self.grid} x {self.grid} board with a"
                f" gap of {self.gap} keeps {SMALLEST_TILE}"
            )


class JigsawOptions(TileOptions):
    """Board jigsaw: cut the picture to grid x grid tiles, shuffle them, say where each came from."""

    tile_norm: bool = False
    """Give every tile zero mean and unit variance, so that its brightness does not tell its place."""


class TilesOptions(TileOptions):
    """Tile jigsaw: every tile goes through the backbone alone, and the joined features tell the order."""

    tile_norm: bool = True
    """Give every tile zero mean and unit variance, so that its brightness does not tell its place."""
    target: Literal["slots", "permutations"] = "slots"
    """`slots`: the source of every slot; `permutations`: which of P fixed orders it is."""
    permutations: Annotated[int, Field(ge=2, le=10_000)] = 100
    """P, for `target: permutations`: orders chosen for a large Hamming distance between any two."""
    hidden: Annotated[int, Field(ge=1)] = 512
    """Width of the layer that joins the tiles' features."""

    @model_validator(mode="after")
    def _so_many_orders(self) -> "TilesOptions":
        orders = math.factorial(self.grid**2)
        if self.target == "permutations" and self.permutations > orders:
            raise ValueError(
                f"permutations of at most {orders}, the orders of {self.grid} x {self.grid} tiles, "
                f"which are {self.permutations}"
            )
        return self
