"""Which pretext at equal time? Jigsaw, SimSiam, FastSiam, DINO and LeJEPA on two sets, judged by one fine-tuned head.

    python benchmarks/pretexts.py emoji path/to/emoji --minutes 4
    python benchmarks/pretexts.py paintings path/to/paintings --minutes 4

Every pretext gets the same processor time: its epochs follow from a few timed steps on one thread, are written to
`<runs>/<set>-epochs.json` and kept, so that the same line goes on where it was stopped. The rest is `jigstack ablate`:
same head, budget and folds, probes beside, paired differences with intervals. `chained` is SimSiam from the jigsaw's
checkpoint and so has twice the time.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jigstack
from jigstack.configs import load_config
from jigstack.pipeline.estimate import Noise
from jigstack.pipeline.workspace import Workspace
from jigstack.pretext.pretrain import build_pretext
from jigstack.training.fit import FitOptions, Training, fit
from jigstack.training.optimiser import parameter_groups
from jigstack.training.schedule import Schedule

STEPS = 6
UPRIGHT = {"dihedral": False}
TURNED: dict[str, Any] = {"rot90": True, "vflip": 0.5}
CROPS = {"crop": [0.4, 1.0], "colour": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}}
SMALL_CROPS = CROPS | {"crop": [0.05, 0.4]}

SETS: dict[str, dict[str, Any]] = {
    "emoji": {
        "data": {"id": "id", "train": ["train.csv"], "test": ["test.csv"], "images": "images/{id}.webp"},
        "folds": {"scheme": "stratified_group", "n": 3, "group": "concept", "stratify": "target"},
        "augment": {"hflip": False},
    },
    "paintings": {
        "data": {
            "id": "object_id",
            "train": ["train.csv"],
            "test": ["test.csv"],
            "unlabelled": ["photos/*.jpg"],
            "images": "photos/{object_id}.jpg",
        },
        "folds": {"scheme": "stratified_group", "n": 3, "group": "art_series_id", "stratify": "target"},
        "augment": {"dihedral": True},
    },
}


def pretexts(name: str) -> list[dict[str, Any]]:
    """The pretexts of a set, before their epochs are known."""
    turned = TURNED if name == "paintings" else {"hflip": 0.0}
    crops = {"augment": CROPS | turned, "local_augment": SMALL_CROPS | turned}
    return [
        {"name": "jigsaw", "kind": "jigsaw", "options": {} if name == "paintings" else UPRIGHT},
        {"name": "simsiam", "kind": "simsiam", "options": {"augment": turned}},
        {"name": "fastsiam", "kind": "simsiam", "options": {"views": 4, "augment": turned}},
        {"name": "dino", "kind": "dino", "options": crops},
        {"name": "lejepa", "kind": "lejepa", "options": crops},
    ]


def config(name: str, chosen: argparse.Namespace, epochs: dict[str, int]) -> dict[str, Any]:
    """The config of a set."""
    described = SETS[name]
    task = {
        "kind": "regression",
        "columns": ["target"],
        "size": chosen.size,
        "epochs": chosen.head_epochs,
        "options": {"range": [0, 3]},
        "augment": described["augment"],
    }
    return {
        "name": name,
        "runs": str(chosen.runs),
        "threads": 1,
        "data": described["data"] | {"root": str(chosen.data)},
        "folds": described["folds"],
        "backbones": {"img": {"name": chosen.backbone}},
        "pretext": [
            pretext | {"size": chosen.size, "epochs": epochs.get(pretext["name"], 1)}
            for pretext in pretexts(name)
        ],
        "tasks": {"era": task},
        "features": {"views": "none"},
    }


def equal_epochs(name: str, chosen: argparse.Namespace) -> dict[str, int]:
    """Epochs that cost every pretext the same processor time."""
    path = Path(chosen.runs) / f"{name}-epochs.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    workspace = Workspace(load_config(config(name, chosen, {})))
    workspace.machine.apply_threads()
    epochs = {}
    for options in workspace.config.pretext:
        method = build_pretext(options, workspace.config.backbones[options.backbone], 3)
        own = {id(parameter) for parameter in method.backbone.parameters()}
        heads = [parameter for parameter in method.parameters() if id(parameter) not in own]
        groups = parameter_groups(method.backbone.stages(), heads, weight_decay=0.0)
        training = Training(
            method, groups, FitOptions(1, options.batch, Schedule(0.0)), workspace.machine, 0, ("timing",)
        )
        marks: list[float] = []

        def stop(marks: list[float] = marks) -> bool:
            marks.append(time.process_time())
            return len(marks) > STEPS

        for _ in fit(training, Noise(workspace, "img"), stop):
            pass
        each = (marks[-1] - marks[0]) / STEPS / options.batch
        epochs[options.name] = max(1, round(chosen.minutes * 60 / (each * len(workspace.files))))
        print(
            f"{options.name}: {1 / each:.0f} images a processor second, {epochs[options.name]} epochs",
            flush=True,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(epochs, indent=1) + "\n", encoding="utf-8")
    return epochs


def main() -> None:
    """Find the epochs, then compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=sorted(SETS), help="the set")
    parser.add_argument("data", type=Path, help="its folder")
    parser.add_argument("--minutes", type=float, default=4.0, help="processor minutes of each pretext")
    parser.add_argument("--backbone", default="resnet10t", help="a timm model")
    parser.add_argument("--size", type=int, default=48, help="side of the input, pixels")
    parser.add_argument("--head-epochs", type=int, default=10, help="epochs of fine-tuning")
    parser.add_argument("--runs", type=Path, default=Path("runs/pretexts"), help="where the runs lie")
    chosen = parser.parse_args()
    epochs = equal_epochs(chosen.name, chosen)
    rows = ["jigsaw", "simsiam", "fastsiam", "dino", "lejepa", "chained"]
    jigstack.ablate(config(chosen.name, chosen, epochs), rows=rows, head="era")


if __name__ == "__main__":
    main()
