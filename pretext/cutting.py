"""Shuffled tiles of a batch of pictures, as every jigsaw starts."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..configs.pretext import TileOptions
from ..training.augment import dihedral_, random_boxes, sample_patches, shrink
from ..training.colours import grey
from ..training.draws import uniform
from .boards import Layout, tile_lines

RATIO = (0.8, 1.25)
"""Width over height of the crops; narrow, since every picture is squeezed to a square."""


def shuffled_tiles(
    batch: Tensor,
    layout: Layout,
    options: TileOptions,
    orders: Callable[[int], Tensor],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Crop, flip or turn, cut with a shift for each tile, shuffle, and drop colours.

    Only pixels that a tile shows are read, each once, straight from the batch: bilinearly, without anti-aliasing, after
    whole-number shrinking of images much larger than the picture.

    Args:
        batch: (B, C, H, W) uint8.
        layout: the geometry.
        options: what to draw from.
        orders: draws the (B, T) orders of so many pictures from the same generator.
        generator: every draw comes from it.

    Returns:
        tiles (B, C, T, t, t) float32 in 0..1, and `perm` (B, T) long: `perm[b, slot]` is the source tile shown at
        `slot`, tiles and slots numbered row by row.
    """
    device, count = batch.device, len(batch)
    k = torch.randint(0, 8 if options.dihedral else 1, (count,), generator=generator, device=generator.device)
    images = shrink(batch, layout.picture, options.crop[0])  # (B, C, H', W') in 0..1
    height, width = images.shape[-2:]
    boxes = random_boxes(count, height, width, options.crop, RATIO, generator)
    shape = (count, layout.tiles, 2)
    shifts = torch.randint(0, layout.jitter + 1, shape, generator=generator, device=generator.device)
    perm = orders(count)
    drop = uniform(generator, (count,)) < options.colour_drop

    rows, columns = (line.to(device, torch.float32) for line in tile_lines(layout, perm, shifts, k))
    tiles = sample_patches(images, boxes, layout.picture, rows, columns)  # (B, C, T, t, t)
    tiles = dihedral_(tiles, k)
    colourless = drop.nonzero()[:, 0].to(device)
    if len(colourless):
        tiles[colourless] = grey(tiles[colourless]).expand(-1, tiles.shape[1], -1, -1, -1)
    return tiles, perm.to(device)
