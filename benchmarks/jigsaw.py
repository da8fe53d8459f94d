"""What batched boards are worth: our jigsaw against a Pillow loop that makes the same boards; and what `tiles` cost.

Paired and interleaved: each round times both ways one after the other, in changing order, on the same machine state;
reported are the median of the rounds' ratios and their spread. Both ways crop, resize bilinearly, flip or turn,
jitter, drop colours, normalise and lay out the same boards from the same draws (checked before timing). Pillow
anti-aliases and rounds to whole pixel values; we do neither.

A training step is nearly all network, so that its ratio cannot be large: it is here to say how large it is. The case
`tiles` is a step of the pretext `tiles` against a step of the boards, on the same pictures: its network sees T small
tiles in place of one board.

    python benchmarks/jigsaw.py --rounds 7 --threads 2 --out jigsaw.json
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jigstack.backbones import TimmBackbone
from jigstack.configs.pretext import JigsawOptions, TilesOptions
from jigstack.pretext.boards import random_permutations
from jigstack.pretext.cutting import RATIO
from jigstack.pretext.jigsaw import Jigsaw
from jigstack.pretext.tiles import Tiles
from jigstack.training.augment import random_boxes
from jigstack.training.draws import uniform
from PIL import Image
from torch import Tensor

BATCH = 64
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
_TURNS = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)


def pillow_views(jigsaw: Jigsaw, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """`Jigsaw.views` the usual way: one image after the other, with Pillow."""
    options, layout, backbone = jigsaw.options, jigsaw.layout, jigsaw.backbone
    count, tiles, side = len(batch), layout.tiles, layout.tile
    turns = torch.randint(0, 8 if options.dihedral else 1, (count,), generator=generator).tolist()
    boxes = random_boxes(
        count, *batch.shape[-2:], crop=options.crop, ratio=RATIO, generator=generator
    ).tolist()
    shifts = torch.randint(0, layout.jitter + 1, (count, tiles, 2), generator=generator).tolist()
    perm = random_permutations(count, tiles, options.unshuffled if jigsaw.training else 0.0, generator)
    drops = (uniform(generator, (count,)) < options.colour_drop).tolist()
    background = tuple(round(255 * value) for value in backbone.mean)
    slots = [layout.border // 2 + i * (side + layout.gap) for i in range(layout.grid)]
    boards = []
    for pixels, (top, left, height, width), turn, shift, order, drop in zip(
        batch.numpy(), boxes, turns, shifts, perm.tolist(), drops, strict=True
    ):
        image = Image.fromarray(pixels.transpose(1, 2, 0)).resize(
            (layout.picture, layout.picture),
            Image.Resampling.BILINEAR,
            (left, top, left + width, top + height),
        )
        if (operation := _TURNS[turn]) is not None:
            image = image.transpose(operation)
        if drop:
            image = image.convert("L").convert("RGB")
        board = Image.new("RGB", (layout.size, layout.size), background)
        for slot, tile in enumerate(order):
            row, column = divmod(tile, layout.grid)
            y = row * layout.cell + layout.gap // 2 + shift[slot][0]
            x = column * layout.cell + layout.gap // 2 + shift[slot][1]
            place = (slots[slot % layout.grid], slots[slot // layout.grid])
            board.paste(image.crop((x, y, x + side, y + side)), place)
        boards.append(np.asarray(board))
    stack = torch.from_numpy(np.stack(boards)).permute(0, 3, 1, 2).float().div_(255)  # (B, C, S, S)
    return {"boards": backbone.normalise(stack).contiguous(), "perm": perm}


def check_same(jigsaw: Jigsaw, batch: Tensor) -> float:
    """Mean difference of the two ways' boards in 0..1 from the same draws; more than rounding explains is an error."""
    ours = jigsaw.views(batch, torch.Generator().manual_seed(0))
    theirs = pillow_views(jigsaw, batch, torch.Generator().manual_seed(0))
    difference = float((ours["boards"] - theirs["boards"]).abs().mean()) * float(np.mean(jigsaw.backbone.std))
    if not torch.equal(ours["perm"], theirs["perm"]) or difference > 0.02:
        raise RuntimeError(f"the two ways make different boards: mean difference {difference:.3f} of 1")
    return difference


def paired(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int, clock: str, other: str = "pillow"
) -> Mapping[str, Any]:
    """Seconds of both in each round, one after the other, in changing order, after a warm-up."""
    ways = {"ours": ours, other: theirs}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for number in range(rounds):
        for name in list(ways) if number % 2 else reversed(ways):
            start = CLOCKS[clock]()
            ways[name]()
            seconds[name].append(CLOCKS[clock]() - start)
    ratios = [b / a for a, b in zip(seconds["ours"], seconds[other], strict=True)]
    return {
        "ours_per_s": BATCH / statistics.median(seconds["ours"]),
        f"{other}_per_s": BATCH / statistics.median(seconds[other]),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "seconds": seconds,
    }


def photos(count: int, side: int) -> Tensor:
    """Smooth random pictures (B, 3, side, side) uint8: on noise, anti-aliasing would be all the difference."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (fine * 255).round().to(torch.uint8)


def boards_case(size: int, rounds: int, clock: str, repeats: int = 5) -> dict[str, Any]:
    """Cutting boards alone, `repeats` batches a measurement."""
    jigsaw, batch = make(size)
    difference = check_same(jigsaw, batch)

    def timed(views: Callable[..., object]) -> Callable[[], object]:
        generator = torch.Generator().manual_seed(0)
        return lambda: [views(batch, generator) for _ in range(repeats)]

    result = paired(timed(jigsaw.views), timed(lambda *a: pillow_views(jigsaw, *a)), rounds, clock)
    scaled = {key: result[key] * repeats for key in ("ours_per_s", "pillow_per_s")}
    return {"case": "boards", "size": size, **result, **scaled, "difference": difference}


def step_case(size: int, rounds: int, clock: str) -> dict[str, Any]:
    """A whole training step: boards, forward, backward, AdamW, of one network in fp32."""
    jigsaw, batch = make(size)
    pillow = partial(pillow_views, jigsaw)
    both = stepping(jigsaw, jigsaw.views, batch), stepping(jigsaw, pillow, batch)
    return {"case": "step", "size": size, **paired(*both, rounds, clock)}


def tiles_case(size: int, rounds: int, clock: str) -> dict[str, Any]:
    """The same step of the tiles and of the boards of equal pictures."""
    jigsaw, batch = make(size)
    options = TilesOptions()
    tiles = Tiles(TimmBackbone("resnet18", 3, Tiles.input_size(options, size)), options, size)
    both = stepping(tiles, tiles.views, batch), stepping(jigsaw, jigsaw.views, batch)
    return {"case": "tiles", "size": size, **paired(*both, rounds, clock, "boards")}


def stepping(method: Any, views: Callable[..., dict[str, Tensor]], batch: Tensor) -> Callable[[], None]:
    """A training step as a function, with draws and an optimiser of its own."""
    optimiser = torch.optim.AdamW(method.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        drawn = views(batch, generator)
        loss = method.loss(method(drawn), drawn)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def make(size: int) -> tuple[Jigsaw, Tensor]:
    """A ResNet-18 jigsaw with the default options and a batch from a store of 1.3 times the size."""
    torch.manual_seed(0)
    jigsaw = Jigsaw(TimmBackbone("resnet18", 3, size), JigsawOptions(), size)
    return jigsaw, photos(BATCH, round(1.3 * size))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="paired rounds of each case")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument(
        "--clock",
        choices=sorted(CLOCKS),
        default="wall",
        help="cpu: processor seconds, with --threads 1 the fairer measure on a machine that others use too",
    )
    measures = {"boards": boards_case, "step": step_case, "tiles": tiles_case}
    parser.add_argument("--cases", nargs="+", choices=list(measures), default=list(measures))
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    cases = [measures[case](size, chosen.rounds, chosen.clock) for case in chosen.cases for size in (64, 96)]
    print(
        f"batch {BATCH}, {chosen.threads} threads, {chosen.rounds} rounds; images a second, median of the ratios"
    )
    print(f"{'case':8} {'px':>4} {'ours':>8} {'other':>8}         {'ratio':>7}   spread   (images a second)")
    for case in cases:
        other = "boards" if case["case"] == "tiles" else "pillow"
        print(
            f"{case['case']:8} {case['size']:4d} {case['ours_per_s']:8.1f} {case[f'{other}_per_s']:8.1f} {other} "
            f"{case['ratio']:6.2f}x   {case['ratio_min']:.2f}..{case['ratio_max']:.2f}"
        )
    if chosen.out is not None:
        about = {
            "torch": torch.__version__,
            "threads": chosen.threads,
            "clock": chosen.clock,
            "machine": platform.processor(),
        }
        chosen.out.write_text(json.dumps({**about, "batch": BATCH, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
