"""Options of the pretexts."""

from typing import Annotated

from pydantic import Field

from .heads import Options


class JigsawOptions(Options):
    """Board jigsaw: cut the picture to grid x grid tiles, shuffle them, say where each came from."""

    grid: Annotated[int, Field(ge=2, le=5)] = 3
    gap: Annotated[int, Field(ge=0, le=16)] = 2
    """Background pixels between neighbouring tiles, so that borders cannot simply be matched."""
    jitter: Annotated[int, Field(ge=0, le=16)] = 2
    """Largest random shift of a tile's crop inside its cell, pixels; each tile has its own."""
    tile_norm: bool = False
    """Give every tile zero mean and unit variance, so that its brightness does not tell its place."""
    colour_drop: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    """Share of boards shown in grey."""
    unshuffled: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """Share of boards left in order."""
    dihedral: bool = True
    """Flip and turn the whole picture at random before it is cut."""
    crop: tuple[Annotated[float, Field(gt=0.0, le=1.0)], Annotated[float, Field(gt=0.0, le=1.0)]] = (0.7, 1.0)
    """Smallest and largest share of the area that a random crop of the picture keeps."""
