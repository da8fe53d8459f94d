"""One backbone with one or several heads."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..configs.heads import HeadAugment, Mix
from ..configs.schema import Unfreeze
from ..datasets.findings import did_you_mean
from ..datasets.targets import Target
from ..scoring.losses import mean_loss
from ..training.fit import freeze
from ..training.mix import mix
from ..training.modality import changed, rows_of, seen

PENALTY = "(penalty)"
"""The output that is no task's: how widely a TabNet spreads its attention. No task's name has brackets."""


class _Heads(nn.ModuleDict):
    """A `ModuleDict` that takes names of its own methods too, such as `type` and `half`: tasks may be called so."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        self._modules.update({name: module})  # pyright: ignore[reportArgumentType, reportCallIssue]


class HeadNetwork(nn.Module):
    """A backbone with a linear head for each task; with one task it is an ordinary fine-tuned network.

    Args:
        backbone: gives (B, D) features; see `build_backbone`.
        targets: the fitted target of each task, in the order of the heads.
        size: side of the input, pixels.
        augment: random changes of training images; `mix` resolved (`training.mix.resolve_mix`).
        weights: factor of each task's loss.
        frozen: `none`, `all`, or names of backbone stages that keep their weights and batch statistics.
        unfreeze: when the other stages begin to learn; None: with the first step.

    Raises:
        ValueError: `frozen` names a stage that the backbone does not have, or `augment.mix` is still `auto`, or is
            asked for with joined backbones.
    """

    def __init__(
        self,
        backbone: Any,
        targets: Mapping[str, Target],
        *,
        size: int,
        augment: HeadAugment,
        weights: Mapping[str, float],
        frozen: str | Sequence[str] = "none",
        unfreeze: Unfreeze | None = None,
    ) -> None:
        super().__init__()
        if augment.mix == "auto":
            raise ValueError(
                "augment.mix: expected options or None, received 'auto', which depends on the length of the training; "
                "give what training.mix.resolve_mix(task) says"
            )
        if augment.mix is not None and backbone.modality == "joined":
            raise ValueError(
                "augment.mix: expected None with joined backbones, received options: categories of a table have "
                "no blend"
            )
        self.backbone = backbone
        self.targets = dict(targets)
        self.size = size
        self.augment = augment
        self.weights = dict(weights)
        self.heads = _Heads({name: nn.Linear(backbone.dim, target.width) for name, target in targets.items()})
        for name, target in targets.items():
            # So a head predicts the training mean, or equal odds, whatever the backbone says.
            nn.init.zeros_(self.heads[name].weight)  # pyright: ignore[reportArgumentType]
            with torch.no_grad():
                self.heads[name].bias.copy_(torch.from_numpy(target.start))  # pyright: ignore[reportCallIssue]
        self.frozen_stages = frozen_stages(backbone, frozen)
        for stage in self.frozen_stages:
            freeze(backbone.stages()[stage])
        self.unfreeze = unfreeze
        self.still = set(self.frozen_stages)

    def thaw(self, epoch: int) -> set[str]:
        """Begin an epoch: the stages that stay as they are in it, which `apply_modes` then puts to eval."""
        later = [stage for stage in self.backbone.stages() if stage not in self.frozen_stages]
        frozen = later[: len(later) - thawed_stages(epoch, len(later), self.unfreeze)]
        self.still = {*self.frozen_stages, *frozen}
        return self.still

    def apply_modes(self) -> None:
        """Put the normalisation layers of frozen stages to eval, so that their running statistics stay."""
        modules = self.backbone.stage_modules()
        for stage in self.still:
            for module in modules[stage]:
                module.eval()

    def views(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
        """Changed inputs (B, ...) as the backbone reads them and encoded targets {task: (B, D)}; mixed in training."""
        inputs = changed(self.backbone, batch["inputs"], self.augment, self.size, generator)
        targets = batch["targets"]
        if self.training and isinstance(self.augment.mix, Mix):
            inputs, targets = mix(inputs, targets, self.augment.mix, generator)
        return {"inputs": inputs, "targets": targets}

    def forward(self, views: dict[str, Any]) -> dict[str, Tensor]:
        """Raw outputs {task: (B, D)}; in training with the `PENALTY` of a backbone that has one."""
        if not self.training or not hasattr(self.backbone, "penalised"):
            features = self.backbone(views["inputs"])
            return {name: head(features) for name, head in self.heads.items()}
        features, penalty = self.backbone.penalised(views["inputs"])
        return {**{name: head(features) for name, head in self.heads.items()}, PENALTY: penalty}

    def loss(self, outputs: dict[str, Tensor], views: dict[str, Any]) -> dict[str, Tensor]:
        """The weighted sum over tasks as `loss`, and each task's own mean over what is labelled."""
        parts = {}
        for name, target in self.targets.items():
            parts[name] = mean_loss(target.loss, outputs[name].float(), views["targets"][name])
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
        if PENALTY in outputs:
            total = total + self.backbone.sparsity * outputs[PENALTY].float()
        # The total is first and stays, even if a task is called `loss`.
        return {"loss": total} | (parts if len(parts) > 1 else {}) | {"loss": total}

    def view_outputs(self, batch: Any, views: Sequence[str], size: int | None = None) -> dict[str, Tensor]:
        """Predict fixed views of plainly resized images, or the lines of a table.

        Args:
            batch: (B, C, H, W) uint8, or (B, D); of joined backbones part -> one of these.
            views: V names of `training.views.VIEWS`.
            size: side of the input, pixels; None: that of the training.

        Returns:
            {task: (B, V, D)} raw outputs in float32.
        """
        stacked = seen(self.backbone, batch, views, size or self.size)  # (V * B, ...)
        outputs = self.forward({"inputs": stacked})
        return {
            name: output.float().unflatten(0, (len(views), rows_of(batch))).transpose(0, 1)
            for name, output in outputs.items()
        }


def thawed_stages(epoch: int, stages: int, unfreeze: Unfreeze | None) -> int:
    """How many of the stages learn in an epoch, counted from the top.

    Example:
        >>> [thawed_stages(epoch, 4, Unfreeze(after=2, every=1)) for epoch in range(7)]
        [0, 0, 1, 2, 3, 4, 4]
    """
    if unfreeze is None or (epoch >= unfreeze.after and unfreeze.every == 0):
        return stages
    if epoch < unfreeze.after:
        return 0
    return min(stages, 1 + (epoch - unfreeze.after) // unfreeze.every)


def frozen_stages(backbone: Any, frozen: str | Sequence[str]) -> list[str]:
    """The stages that `freeze` means, checked against the backbone; a part of joined ones stands for its stages."""
    stages = list(backbone.stages())
    if isinstance(frozen, str):
        return stages if frozen == "all" else []
    if backbone.modality == "joined":
        whole = {part: [stage for stage in stages if stage.startswith(f"{part}.")] for part in backbone.parts}
        frozen = list(dict.fromkeys(stage for name in frozen for stage in whole.get(name, [name])))
        stages = [*backbone.parts, *stages]
    unknown = [name for name in frozen if name not in stages]
    if unknown:
        hints = "".join(did_you_mean(name, stages) for name in unknown)
        raise ValueError(f"freeze: expected stages of the backbone {stages}, received {unknown}.{hints}")
    return list(frozen)
