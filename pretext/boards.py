"""Jigsaw boards: the geometry of tiles, cutting them from pictures, and laying them in any order."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..training.views import VIEWS

SMALLEST_TILE = 4

# View k shows at (i, j) the pixel (a, b) = (i, j), or (j, i) where _SWAPS; then a and b are counted from the other
# end where _BACKWARDS says so.
_SWAPS = torch.tensor([name in {"rot90", "rot270", "transpose", "antitranspose"} for name in VIEWS])
_BACKWARDS = torch.tensor(
    [
        (
            name in {"vflip", "rot180", "rot270", "antitranspose"},
            name in {"hflip", "rot180", "rot90", "antitranspose"},
        )
        for name in VIEWS
    ]
)


@dataclass(frozen=True)
class Layout:
    """Where the T = grid² equal tiles of a board lie, in the picture and on the board.

    Tiles and slots are numbered row by row. The board is `size` pixels wide: `grid` tiles with `gap` pixels
    of background between neighbours, and what the division leaves, less than `grid` pixels, as a border of
    background, the odd pixel of it right and below. The picture is cut into grid x grid equal cells of
    `cell = tile + gap + jitter` pixels; a tile shows `tile` pixels of its cell, shifted by 0..jitter in each
    direction. So an ordered board without jitter is the picture with lines of background drawn over it, and
    without gap and border it is the picture.

    Args:
        size: side of the board, pixels.
        grid: tiles a side, at least 2.
        gap: background between neighbouring tiles, pixels.
        jitter: largest shift of a tile in its cell, pixels.

    Raises:
        ValueError: no tile of at least 4 pixels fits.

    Example:
        >>> layout = Layout(size=96, grid=3, gap=2, jitter=2)
        >>> layout.tile, layout.cell, layout.picture, layout.border
        (30, 34, 102, 2)
    """

    size: int
    grid: int
    gap: int = 0
    jitter: int = 0

    def __post_init__(self) -> None:
        if self.tile < SMALLEST_TILE:
            raise ValueError(
                f"size: expected at least {SMALLEST_TILE} pixels a tile, received size {self.size} with grid "
                f"{self.grid} and gap {self.gap} ({self.tile} a tile); choose a larger size or a smaller gap"
            )

    @property
    def tiles(self) -> int:
        """T."""
        return self.grid**2

    @property
    def tile(self) -> int:
        """Side of a tile, pixels."""
        return (self.size - (self.grid - 1) * self.gap) // self.grid

    @property
    def cell(self) -> int:
        """Side of a cell of the picture, pixels."""
        return self.tile + self.gap + self.jitter

    @property
    def picture(self) -> int:
        """Side of the picture that is cut, pixels: a multiple of the grid."""
        return self.grid * self.cell

    @property
    def border(self) -> int:
        """Background that the division leaves around the tiles, pixels in all."""
        return self.size - self.grid * self.tile - (self.grid - 1) * self.gap


def tile_lines(
    layout: Layout, tiles: Tensor, shifts: Tensor, k: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The picture's rows and columns that each tile shows.

    A tile of the turned picture is a turned tile of the upright one: with `k` the lines are those of the
    upright picture, rising, and what is read there has still to be turned.

    Args:
        layout: the geometry.
        tiles: (B, n) tiles 0..T - 1.
        shifts: (B, n, 2) whole shifts down and right, 0..jitter, of those tiles.
        k: (B,) the views that the pictures are turned to before cutting, indices of `VIEWS`; None: upright.

    Returns:
        rows (B, n, t) and columns (B, n, t) in the picture, whole numbers in 0..picture - 1.
    """
    cells = torch.stack([tiles // layout.grid, tiles % layout.grid], dim=-1) * layout.cell
    corners = cells + shifts + layout.gap // 2  # (B, n, 2)
    if k is not None:
        swap, backwards = (table.to(k.device)[k][:, None] for table in (_SWAPS, _BACKWARDS))
        corners = torch.where(swap[..., None], corners.flip(-1), corners)
        corners = torch.where(backwards, layout.picture - layout.tile - corners, corners)
    lines = corners[..., None] + torch.arange(layout.tile, device=corners.device)  # (B, n, 2, t)
    return lines[:, :, 0], lines[:, :, 1]


def cut(pictures: Tensor, layout: Layout, tiles: Tensor, shifts: Tensor) -> Tensor:
    """Cut tiles from pictures, without interpolation.

    Args:
        pictures: (B, C, P, P) with P = `layout.picture`.
        layout: the geometry.
        tiles: (B, n) tiles 0..T - 1.
        shifts: (B, n, 2) whole shifts down and right, 0..jitter.

    Returns:
        (B, C, n, t, t).
    """
    rows, columns = tile_lines(layout, tiles, shifts)  # (B, n, t)
    pixels = rows[:, :, :, None] * layout.picture + columns[:, :, None, :]  # (B, n, t, t)
    index = pixels.flatten(1)[:, None].expand(-1, pictures.shape[1], -1)
    return pictures.flatten(2).gather(2, index).unflatten(2, pixels.shape[1:])


def assemble(tiles: Tensor, layout: Layout, background: float = 0.0) -> Tensor:
    """Lay tiles on boards, tile i of the stack on slot i.

    Args:
        tiles: (B, C, T, t, t).
        layout: the geometry.
        background: the value between and around the tiles.

    Returns:
        (B, C, size, size).
    """
    boards = tiles.new_full((*tiles.shape[:2], layout.size, layout.size), background)
    _slots(boards, layout).copy_(tiles.unflatten(2, (layout.grid, layout.grid)))
    return boards


def take_apart(boards: Tensor, layout: Layout) -> Tensor:
    """Take the tiles off boards: `take_apart(assemble(tiles))` is `tiles`.

    Args:
        boards: (B, C, size, size).
        layout: the geometry.

    Returns:
        (B, C, T, t, t), tile i from slot i.
    """
    return _slots(boards, layout).flatten(2, 3)


def shuffle(tiles: Tensor, perm: Tensor) -> Tensor:
    """Order tiles so that slot s holds tile perm[b, s].

    Args:
        tiles: (B, C, T, t, t).
        perm: (B, T), `perm[b, slot]` is the source tile shown at `slot`.

    Returns:
        (B, C, T, t, t).
    """
    batch = torch.arange(len(tiles), device=tiles.device)[:, None]
    return tiles.transpose(1, 2)[batch, perm].transpose(1, 2)


def unshuffle(tiles: Tensor, perm: Tensor) -> Tensor:
    """Put tiles back: `unshuffle(shuffle(tiles, perm), perm)` is `tiles`."""
    return shuffle(tiles, perm.argsort(dim=1))


def random_permutations(count: int, tiles: int, unshuffled: float, generator: torch.Generator) -> Tensor:
    """Draw an order for each board, all orders equally likely, a share of them left in order.

    Args:
        count: B boards.
        tiles: T.
        unshuffled: share of boards that keep the order, 0..1.
        generator: every draw comes from it.

    Returns:
        (B, T) long on the generator's device: `perm[b, slot]` is the source tile shown at `slot`.
    """
    device = generator.device
    # Doubles: two equal keys in one row, whose order argsort would choose, are as good as impossible.
    keys = torch.rand((count, tiles), generator=generator, device=device, dtype=torch.float64)
    keep = torch.rand((count, 1), generator=generator, device=device, dtype=torch.float64) < unshuffled
    return torch.where(keep, torch.arange(tiles, device=device), keys.argsort(dim=1))


def normalise_tiles(tiles: Tensor, smallest_std: float = 2 / 255) -> Tensor:
    """Give each channel of each tile mean 0 and standard deviation 1 (Noroozi and Favaro 2016, section 4.2).

    Args:
        tiles: (B, C, T, t, t) in 0..1.
        smallest_std: tiles flatter than this are divided by it, so that noise is not blown up; a constant
            tile becomes 0.

    Returns:
        (B, C, T, t, t).
    """
    std, mean = torch.std_mean(tiles, dim=(-2, -1), correction=0, keepdim=True)  # (B, C, T, 1, 1)
    return (tiles - mean) / std.clamp_min(smallest_std)


def _slots(boards: Tensor, layout: Layout) -> Tensor:
    """A view of the slots of boards: (B, C, size, size) -> (B, C, grid, grid, t, t)."""
    start, pitch = layout.border // 2, layout.tile + layout.gap
    stop = start + layout.grid * pitch - layout.gap
    inner = boards[..., start:stop, start:stop]
    return inner.unfold(2, layout.tile, pitch).unfold(3, layout.tile, pitch)
