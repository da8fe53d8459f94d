"""The benchmark of wide tables on a small one: every part is measured, and the whole run ends."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "wide.py"


def measured(folder: Path, *flags: str) -> list[dict]:
    out = folder / "wide.json"
    command = [sys.executable, str(SCRIPT), "--rows", "200", "--columns", "12", "--out", str(out), *flags]
    subprocess.run(command, check=True, capture_output=True)
    return json.loads(out.read_text())["parts"]


def test_every_part_is_measured(tmp_path: Path):
    parts = {
        part["what"]: part
        for part in measured(tmp_path, "--steps", "2", "--batch", "16", "--kinds", "tabnet")
    }
    assert list(parts) == ["table", "fit", "encode", "tabnet masked", "tabnet head", "tabnet predict"]
    assert all(0.05 < part["peak"] < 20 for part in parts.values())
    peaks = [part["peak"] for part in parts.values()]
    assert peaks == sorted(peaks)
    assert [what for what in parts if "rows" in parts[what]] == list(parts)[3:]


def test_a_whole_run_goes_from_files_to_predictions(tmp_path: Path):
    [part] = measured(tmp_path, "--run", "mlp", "--csv", "--folder", str(tmp_path / "disk"))
    assert part["what"] == "run mlp csv" and 0.1 < part["peak"] < 20
    assert (tmp_path / "disk/runs/mlp-csv/predictions/y.parquet").is_file()
