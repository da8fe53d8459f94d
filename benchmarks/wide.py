"""What a wide table costs: fitting the quantile step on all columns and encoding the rows, with the memory taken.

A third of the columns is skewed, a tenth holds few values, a fifth misses cells. Seconds are given by wall clock and by
processor time, which a busy machine disturbs less; memory is the most that the process ever held, with the table.

    OMP_NUM_THREADS=1 python benchmarks/wide.py --rows 300000 --columns 2000 --out wide.json
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jigstack.configs.steps import QuantileStep
from jigstack.datasets.table_schema import TableSchema


def make_frame(rows: int, columns: int) -> pd.DataFrame:
    """Numbers of several shapes, float32."""
    rng = np.random.default_rng(0)
    x = np.empty((rows, columns), dtype=np.float32)
    for start in range(0, columns, 50):  # drawn at once they would be held twice
        x[:, start : start + 50] = rng.standard_normal((rows, min(50, columns - start)), dtype=np.float32)
    x[:, ::3] = np.exp(x[:, ::3])
    x[:, 1::10] = np.round(x[:, 1::10] * 3)
    x[::17, ::5] = np.nan
    return pd.DataFrame(x, columns=[f"c{number}" for number in range(columns)], copy=False)


def peak() -> float:
    """The most memory held so far, GiB."""
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measured(what: str, action: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    """What one action took, printed, and what it gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = action()
    taken = {
        "what": what,
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": peak(),
    }
    print(
        f"{what:7s} wall {taken['wall']:6.1f} s, processor {taken['cpu']:6.1f} s, peak {taken['peak']:.2f} GiB",
        flush=True,
    )
    return taken, result


def main() -> None:
    """Measure, print, and write the JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--columns", type=int, default=2_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    made, frame = measured("table", lambda: make_frame(options.rows, options.columns))
    fitted, schema = measured(
        "fit", lambda: TableSchema.fit(frame, list(frame.columns), steps=[QuantileStep()])
    )
    encoded, _ = measured("encode", lambda: schema.encode(frame))
    if options.out is not None:
        figures = {
            "rows": options.rows,
            "columns": options.columns,
            "parts": [made, fitted, encoded],
        }
        options.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
