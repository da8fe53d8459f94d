"""The stages of a run: what each reads, from which its key follows, and which files it writes."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..configs.registry import BUILT_IN
from ..configs.schema import Pretext, Task
from ..datasets.files import digest
from ..datasets.table_schema import FILES as SCHEMA_OUTPUTS
from ..pretext.parts import PARTS, keeps_parts
from ..pretext.pretrain import COLUMNS, outputs_with
from ..transfer.embedding import FILES as EMBEDDING_OUTPUTS
from ..transfer.finetune import REFIT, weight_files
from .checkpoints import checkpoint_file, file_digest, reused_folder
from .embeddings import Embedding, embeddings, frozen_tasks
from .manifest import Job, Stage, fold_folder
from .networks import Network, folds_of, importance_files, networks
from .versions import code_of, kind_of_head
from .workspace import Workspace

STACK_OUTPUTS = ("ladder.json", "model.json", "rungs.parquet", "importance.parquet*", "fold*/*.txt")
WATCHED = {"collapse", "snapshot"}
"""Options of a pretext that change no weights: the last epoch's are the same with another watch."""


class Stages:
    """All stages of a run, in an order in which each follows what it needs.

    Args:
        workspace: the data and the resolved config.
        folds: train only these folds; None: those of each task.
    """

    def __init__(self, workspace: Workspace, folds: Iterable[int] | None = None) -> None:
        self.workspace = workspace
        self.config = workspace.config
        self.only = None if folds is None else set(folds)
        self.networks = networks(self.config)
        self._keys: dict[tuple[str, int | None], str] = {}
        self.pretrain = [stage for options in self.config.pretext for stage in self._pretrain(options)]
        self.probe = [self._probe(stage) for stage in self.pretrain if self._probed(stage)]
        self.finetune = [
            self._finetune(network, fold) for network in self.networks for fold in self.folds(network.folds)
        ]
        self.predict = [self._predict(stage) for stage in self.finetune]
        self.importance = [stage for network in self.networks for stage in self._importance(network)]
        frozen = frozen_tasks(self.config)
        self.embed = [
            stage for embedding in embeddings(self.config).values() for stage in self._embed(embedding)
        ]
        self.frozen = [
            self._frozen(name, task, fold)
            for name, task in frozen.items()
            for fold in self.folds(folds_of(task))
        ]
        parts = {
            task: [stage for stage in self.predict if stage.job.name == network.name]
            for network in self.networks
            for task in network.tasks
        } | {name: [stage for stage in self.frozen if stage.job.name == name] for name in frozen}
        self.features = [self._features(task, stages) for task, stages in parts.items() if stages]
        self.stack = [self._stack(name) for name in self.config.stack] if self.only is None else []

    def folds(self, wanted: Sequence[int]) -> list[int]:
        """The fold models of a network or frozen task that wants some folds, the refit last."""
        folds = [fold for fold in wanted if self.only is None or fold in self.only]
        complete = len(wanted) == self.workspace.plan.n and self.only is None
        refit = [REFIT] if complete and self.config.transfer.final != "folds" else []
        return folds + refit

    def __iter__(self):
        levels = (
            self.pretrain,
            self.probe,
            self.finetune,
            self.predict,
            self.importance,
            self.embed,
            self.frozen,
            self.features,
            self.stack,
        )
        return iter([stage for level in levels for stage in level])

    def _machine(self, backbone: str | Sequence[str]) -> dict[str, Any]:
        machine = self.workspace.machine_of(backbone)
        return {
            "seed": self.config.seed,
            "precision": machine.precision,
            "channels_last": machine.channels_last,
            **(
                {"compile": True} if machine.compile else {}
            ),  # other roundings; absent, the keys of before hold
        }

    def _pretrain(self, options: Pretext) -> list[Stage]:
        stages = []
        for fold in self._pretrain_folds(options):
            inputs = {
                **code_of("pretrain", options.kind, self._kind(options.backbone)),
                **self._machine(options.backbone),
                **_flat(f"pretext.{options.name}", options.model_dump(mode="json", exclude=WATCHED)),
                **self._snapshot(options),
                **self._backbone(options.backbone),
                **self._init(f"pretext.{options.name}.init", options.init, fold),
                **self._inputs(options.backbone, pretrain_ids(self.workspace, options, fold)),
                "fold": fold,
            }
            for plugin in self.config.plugins if options.kind not in BUILT_IN else ():
                inputs[f"plugin {plugin}"] = file_digest(Path(plugin))
            if options.reuse is None and keeps_parts(options.kind):
                inputs["kept"] = PARTS  # what was finished before it was kept is done again
            folder = f"pretext/{options.name}" + ("" if fold is None else f"/{fold_folder(fold)}")
            schema = self._schema_files(options.backbone)
            outputs = outputs_with(schema, options.kind)
            if options.reuse is not None:
                source = reused_folder(options)
                inputs["reused file"] = file_digest(source / "backbone.safetensors")
                outputs = ("backbone.safetensors", "backbone.json", "seen.parquet", *schema)
                for name in (PARTS, COLUMNS):  # what tables have beside it, if it was kept
                    if schema and (source / name).is_file():
                        inputs[f"reused {name}"] = file_digest(source / name)
                        outputs = (*outputs, name)
            stage = Stage(
                Job("pretrain", options.name, fold), folder, inputs, outputs, training=options.reuse is None
            )
            self._keys[options.name, fold] = stage.key
            stages.append(stage)
        return stages

    def _snapshot(self, options: Pretext) -> dict[str, Any]:
        """What a pretraining reads beside pictures where probes choose its checkpoint."""
        if options.snapshot == "last":
            return {}
        name = f"pretext.{options.name}.snapshot"
        return {name: options.snapshot, "probe.every": self.config.probe.every, **self._probed_labels()}

    def _probed_labels(self) -> dict[str, Any]:
        tasks = self.config.tasks
        columns = sorted({column for task in tasks.values() for column in task.columns})
        codings = {
            name: task.model_dump(mode="json", include={"kind", "columns", "options"})
            for name, task in tasks.items()
        }
        return {
            "probe.neighbours": self.config.probe.neighbours,
            "probe.rows": self.config.probe.rows,
            **{
                key: value
                for name, coding in codings.items()
                for key, value in _flat(f"tasks.{name}", coding).items()
            },
            "plan": self.workspace.plan.hash,
            "labels": self.workspace.labels_digest(columns),
        }

    def _probed(self, pretrain: Stage) -> bool:
        """Whether there is something to probe: labels, and rows that a pretext of one fold has not seen."""
        return bool(self.config.tasks) and pretrain.job.fold != REFIT

    def _probe(self, pretrain: Stage) -> Stage:
        workspace, job = self.workspace, pretrain.job
        options = next(each for each in self.config.pretext if each.name == job.name)
        inputs = {
            **code_of("probe", self._kind(options.backbone)),
            **self._machine(options.backbone),
            "pretrain": pretrain.key,
            "fold": job.fold,
            **self._backbone(options.backbone),
            **self._probed_labels(),
            **self._inputs(options.backbone, workspace.train.ids),
        }
        return Stage(Job("probe", job.name, job.fold), pretrain.folder, inputs, ["probes.json"])

    def _pretrain_folds(self, options: Pretext) -> list[int | None]:
        if options.scope != "inductive" or options.reuse is not None:
            return [None]
        lists = [network.folds for network in self.networks]
        lists += [folds_of(task) for task in frozen_tasks(self.config).values()]
        return self._in_order(lists) or list(range(self.workspace.plan.n))

    def _in_order(self, lists: Iterable[Sequence[int]]) -> list[int | None]:
        """The fold models of several networks or tasks, each once, the refit last."""
        wanted = {fold for folds in lists for fold in self.folds(folds)}
        return [*sorted(wanted - {REFIT}), *({REFIT} & wanted)]

    def _finetune(self, network: Network, fold: int) -> Stage:
        workspace, task = self.workspace, network.shared
        ids = workspace.train.ids if fold == REFIT else workspace.plan.train_ids(fold)
        inputs: dict[str, Any] = {
            **code_of("finetune", *map(kind_of_head, network.tasks.values()), *map(self._kind, task.starts)),
            **self._machine(task.backbone),
            "network": network.name,
            "fold": fold,
            **{
                key: value
                for name, each in network.tasks.items()
                for key, value in _flat(
                    f"tasks.{name}", each.model_dump(mode="json", exclude={"folds", "learner"})
                ).items()
            },
            "transfer.ema": self.config.transfer.ema,
            "transfer.seeds": self.config.transfer.seeds,
            **self._of_each(task, lambda name, init: self._backbone(name) | self._init("init", init, fold)),
            "plan": workspace.plan.hash,
            **self._read(task, ids),
            **self._of_each(task, lambda name, init: self._reading(name, init, fold)),
            "labels": self._labels(network),
        }
        outputs = [*weight_files(self.config.transfer.seeds), "head.json", "history.json"]
        for name in task.starts:
            outputs += [f"{name}/{file}" if task.joined else file for file in self._schema_files(name)]
        return Stage(
            Job("finetune", network.name, fold),
            f"transfer/{network.name}/{fold_folder(fold)}",
            inputs,
            outputs,
            training=True,
        )

    def _labels(self, network: Network) -> str:
        columns = sorted({column for task in network.tasks.values() for column in task.columns})
        return self.workspace.labels_digest(columns)

    def _predict(self, finetune: Stage) -> Stage:
        workspace = self.workspace
        network = next(network for network in self.networks if network.name == finetune.job.name)
        inputs = {
            **code_of("predict", *map(self._kind, network.shared.starts)),
            "network": finetune.key,
            "features.views": workspace.views_of(network.shared.backbone),
            **self._read(network.shared, np.concatenate([workspace.train.ids, workspace.test.ids])),
            "test rows": digest(sorted(workspace.test.ids.tolist())),
        }
        if self.config.features.size is not None:
            inputs["features.size"] = self.config.features.size
        outputs = [f"{task}.parquet" for task in network.tasks]
        return Stage(Job("predict", network.name, finetune.job.fold), finetune.folder, inputs, outputs)

    def _importance(self, network: Network) -> list[Stage]:
        """What says how much each column counts: one stage for all folds of a network of tables, if it is asked for."""
        outputs = importance_files(self.config, network)
        folds = {
            f"fold {stage.job.fold}": stage.key
            for stage in self.finetune
            if stage.job.name == network.name and stage.job.fold != REFIT
        }
        if not outputs or not folds:
            return []
        inputs = {
            **code_of("importance", *map(self._kind, network.shared.starts)),
            "transfer.importance": list(self.config.transfer.importance),
            **folds,
            **self._read(network.shared, self.workspace.train.ids),
            "labels": self._labels(network),
        }
        return [Stage(Job("importance", network.name), f"transfer/{network.name}", inputs, outputs)]

    def _embed(self, embedding: Embedding) -> list[Stage]:
        """One stage, or one a fold model where the pretext that it starts from is inductive."""
        workspace = self.workspace
        ids = np.concatenate([workspace.train.ids, workspace.test.ids])
        tasks = [
            task
            for task in frozen_tasks(self.config).values()
            if embedding in Embedding.all_of(task, self.config)
        ]
        folds = self._in_order(map(folds_of, tasks))
        shared = (embedding.init, None) in self._keys or not any(
            name == embedding.init for name, _ in self._keys
        )
        stages = []
        for fold in [None] if folds and shared else folds:
            inputs = {
                **code_of("embed", self._kind(embedding.backbone)),
                **self._machine(embedding.backbone),
                **self._backbone(embedding.backbone),
                **self._init("init", embedding.init, fold),
                "size": embedding.size,
                "features.views": workspace.views_of(embedding.backbone),
                **self._inputs(embedding.backbone, ids),
                **self._reading(embedding.backbone, embedding.init, fold),
                "rows": digest(sorted(ids.tolist())),
            }
            folder = f"embeddings/{embedding.name}" + ("" if fold is None else f"/{fold_folder(fold)}")
            stages.append(Stage(Job("embed", embedding.name, fold), folder, inputs, EMBEDDING_OUTPUTS))
        return stages

    def embedded(self, task: Task, fold: int) -> list[Stage]:
        """The embeddings that one fold of a frozen task reads, of each of its backbones.

        They are shared ones, or those of the same fold's backbone.
        """
        return [
            next(
                stage
                for stage in self.embed
                if stage.job.name == embedding.name and stage.job.fold in (None, fold)
            )
            for embedding in Embedding.all_of(task, self.config)
        ]

    def _frozen(self, name: str, task: Task, fold: int) -> Stage:
        workspace = self.workspace
        keys = [stage.key for stage in self.embedded(task, fold)]
        inputs: dict[str, Any] = {
            **code_of("frozen", kind_of_head(task), task.learner, *map(self._kind, task.starts)),
            "seed": self.config.seed,
            **_flat(f"tasks.{name}", task.model_dump(mode="json", exclude={"folds"})),
            "fold": fold,
            "embedding": keys if task.joined else keys[0],
            "plan": workspace.plan.hash,
            "labels": workspace.labels_digest(task.columns),
            "test rows": digest(sorted(workspace.test.ids.tolist())),
            **self._table(task.table),
        }
        outputs = [f"{name}.parquet", "frozen.json"]
        return Stage(Job("frozen", name, fold), f"transfer/{name}/{fold_folder(fold)}", inputs, outputs)

    def _features(self, task: str, stages: Sequence[Stage]) -> Stage:
        parts = {f"fold {stage.job.fold}": stage.key for stage in stages}
        inputs = {
            **code_of("features"),
            "features.stats": list(self.config.features.stats),
            "final": self.config.transfer.final,
            **parts,
        }
        folds = [stage.job.fold for stage in stages]
        test_folds = (
            [fold for fold in folds if fold is not None and self.uses_for_test(fold)]
            if len(self.workspace.test)
            else []
        )
        names = [f"{task}.parquet", f"{task}.train.pkl", f"{task}.train.json"]
        for fold in test_folds:
            names += [f"{task}.test.{fold_folder(fold)}.pkl", f"{task}.test.{fold_folder(fold)}.json"]
        outputs = [f"predictions/{task}.parquet", *(f"features/{name}" for name in names)]
        return Stage(Job("features", task), ".", inputs, outputs)

    def uses_for_test(self, fold: int) -> bool:
        """Whether test rows take the predictions of this fold model."""
        final = self.config.transfer.final
        return final == "both" or (fold == REFIT) == (final == "refit")

    def _stack(self, name: str) -> Stage:
        options = self.config.stack[name]
        inputs: dict[str, Any] = {
            **code_of("stack", options.metric),
            "seed": self.config.seed,
            **_flat(f"stack.{name}", options.model_dump(mode="json")),
            "plan": self.workspace.plan.hash,
            "labels": self.workspace.labels_digest(options.columns),
            "test rows": digest(self.workspace.test.ids.tolist()),
            **{stage.name: stage.key for stage in self.features},
            **self._table(options.table),
        }
        return Stage(Job("stack", name), f"stack/{name}", inputs, STACK_OUTPUTS)

    def _table(self, read: bool) -> dict[str, Any]:
        """The columns of the table and what they hold, for a stage that reads them."""
        if not read:
            return {}
        return {"data.columns": list(self.config.data.columns), "table": self.workspace.table_digest}

    def _kind(self, backbone: str) -> str:
        return self.config.backbones[backbone].kind

    def _backbone(self, name: str) -> dict[str, Any]:
        backbone = self.config.backbones[name]
        inputs = _flat("backbone", backbone.model_dump(mode="json"))
        if backbone.weights not in (None, "pretrained"):
            inputs["backbone.weights file"] = file_digest(checkpoint_file(backbone.weights))
        return inputs

    def _of_each(self, task: Task, found: Callable[[str, str], dict[str, Any]]) -> dict[str, Any]:
        """What is found of a task's backbone and start; of joined ones under the name of each."""
        parts = {name: found(name, init) for name, init in task.starts.items()}
        if not task.joined:
            return next(iter(parts.values()))
        return {f"{name}: {key}": value for name, part in parts.items() for key, value in part.items()}

    def _read(self, task: Task, ids: np.ndarray) -> dict[str, Any]:
        """Names what a task's backbones read of some rows; pictures stand under `images`, joined or not."""
        found = self._of_each(task, lambda name, _: self._inputs(name, ids))
        return {"images" if key.endswith(": images") else key: value for key, value in found.items()}

    def _inputs(self, backbone: str, ids: np.ndarray) -> dict[str, Any]:
        kind = "table" if self.config.backbones[backbone].of_tables else "images"
        return {kind: self.workspace.inputs_digest(backbone, ids)}

    def _schema_files(self, backbone: str) -> tuple[str, ...]:
        """What a checkpoint needs beside it to read a table."""
        return SCHEMA_OUTPUTS if self.config.backbones[backbone].of_tables else ()

    def _reading(self, backbone: str, init: str, fold: int | None) -> dict[str, Any]:
        """The rows that teach how a table is read, where no checkpoint says so."""
        if init != "scratch" or not self.config.backbones[backbone].of_tables:
            return {}
        ids = self.workspace.rows_to_read(backbone, fold)
        return {"read by": self.workspace.inputs_digest(backbone, ids)}

    def _init(self, label: str, init: str | None, fold: int | None) -> dict[str, Any]:
        """The key of the checkpoint that a stage starts from; its name does not matter."""
        if init is None or init == "scratch":
            return {}
        if (init, fold) in self._keys:
            return {f"{label} key": self._keys[init, fold]}
        if (init, None) in self._keys:
            return {f"{label} key": self._keys[init, None]}
        return {f"{label} file": file_digest(checkpoint_file(init))}


def pretrain_ids(workspace: Workspace, options: Pretext, fold: int | None) -> np.ndarray:
    """The rows a pretext may see.

    Transductive: train, test and extra images or rows. Inductive: train rows outside the fold's validation
    groups, and extras.
    Asymmetric: all train rows and extras.
    """
    rows = [
        workspace.train.ids if fold is None or fold == REFIT else workspace.plan.train_ids(fold),
        workspace.extra_of(options.backbone),
    ]
    if options.scope == "transductive":
        rows.append(workspace.test.ids)
    return np.concatenate(rows)


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {
            name: part
            for key, inner in value.items()
            for name, part in _flat(f"{prefix}.{key}", inner).items()
        }
    return {prefix: value}
