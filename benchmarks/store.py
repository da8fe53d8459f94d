"""How much faster is reading decoded rows from the store than decoding the files with Pillow?

    python benchmarks/store.py --rounds 9 --json store.json

Makes synthetic JPEG photos, builds the store once, then reads the same random rows both ways in interleaved
pairs. The plain way is the usual loop of a data set class: open, draft, convert, resize, stacked to a batch.
Both ways use one thread and a warm page cache, as in the second epoch; a round reads several batches one after
the other, so that memory comes from the allocator and not fresh from the kernel, as in any loop. The median of
the paired ratios is reported with its quartiles.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from jigstack.configs.data import Decode
from jigstack.datasets.files import write_json
from jigstack.datasets.images import build_store
from PIL import Image
from PIL import __version__ as pillow_version

BATCHES = 4  # a round


def make_photos(folder: Path, n: int, width: int, height: int, seed: int) -> list[str]:
    """Write n JPEG photos of smooth colour with some texture, quality 90."""
    rng = np.random.default_rng(seed)
    paths = []
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((width, height))
        pixels = np.asarray(coarse, np.int16) + rng.integers(-12, 12, (height, width, 1), np.int16)
        path = folder / f"{i}.jpg"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        paths.append(str(path))
    return paths


def read_with_pillow(paths: list[str], size: int) -> torch.Tensor:
    """Decode a batch the plain way, (B, C, H, W) uint8; the draft mode is to Pillow's advantage."""
    batch = []
    for path in paths:
        with Image.open(path) as image:
            image.draft("RGB", (2 * size, 2 * size))
            square = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)
        batch.append(np.asarray(square).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(batch))


def main() -> None:
    """Measure, print a table, and write the JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=4096, help="images in the store")
    parser.add_argument("--batch", type=int, default=128, help="random rows read at a time")
    parser.add_argument("--size", type=int, default=96, help="side of the decoded square, pixels")
    parser.add_argument("--width", type=int, default=192, help="width of the files, pixels")
    parser.add_argument("--height", type=int, default=128, help="height of the files, pixels")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved pairs, at least 7")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    options = parser.parse_args()
    if options.rounds < 7:
        parser.error(f"--rounds: expected at least 7 for a median with a spread, received {options.rounds}")
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"making {options.rows} photos of {options.width} x {options.height} pixels ...", flush=True)
        paths = make_photos(folder, options.rows, options.width, options.height, options.seed)
        ids = [str(i) for i in range(options.rows)]
        start = time.perf_counter()
        store = build_store(ids, paths, folder / "store", options.size, Decode())
        build = time.perf_counter() - start
        rows = rng.choice(options.rows, options.batch, replace=False)
        if not torch.equal(read_with_pillow([paths[row] for row in rows], options.size), store.gather(rows)):
            sys.exit("the two ways disagree about the pixels: the comparison would mean nothing")
        seconds: dict[str, list[float]] = {"pillow": [], "store": []}
        for i in range(options.rounds + 1):
            draws = [rng.choice(options.rows, options.batch, replace=False) for _ in range(BATCHES)]
            for way in sorted(seconds, reverse=bool(i % 2)):  # the order alternates
                start = time.perf_counter()
                for rows in draws:
                    if way == "store":
                        store.gather(rows)
                    else:
                        read_with_pillow([paths[row] for row in rows], options.size)
                seconds[way].append((time.perf_counter() - start) / BATCHES)
        for values in seconds.values():
            del values[0]  # the first round warms caches and the allocator
    ratios = np.array(seconds["pillow"]) / np.array(seconds["store"])
    figures = {
        "what": f"{options.batch} random rows of {options.rows} at {options.size} px",
        "files": f"JPEG {options.width} x {options.height}",
        "rounds": options.rounds,
        "pillow_ms": 1e3 * float(np.median(seconds["pillow"])),
        "store_ms": 1e3 * float(np.median(seconds["store"])),
        "ratio_median": float(np.median(ratios)),
        "ratio_quartiles": np.quantile(ratios, [0.25, 0.75]).tolist(),
        "ratio_range": [float(ratios.min()), float(ratios.max())],
        "build_images_per_s": options.rows / build,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "versions": {"pillow": pillow_version, "numpy": np.__version__, "torch": torch.__version__},
    }
    low, high = figures["ratio_quartiles"]
    print(f"{figures['what']}, {figures['files']}, {options.rounds} interleaved pairs, one thread")
    print(f"{'way':<8}{'median ms':>12}")
    print(f"{'pillow':<8}{figures['pillow_ms']:>12.2f}\n{'store':<8}{figures['store_ms']:>12.2f}")
    print(f"ratio: median {figures['ratio_median']:.0f}, quartiles {low:.0f} to {high:.0f}")
    print(f"building the store: {figures['build_images_per_s']:.0f} images/s")
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
