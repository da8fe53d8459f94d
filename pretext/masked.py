"""Masked cells: a share of each row's cells is hidden, and the network predicts them from the others.

After Arik and Pfister 2021, "TabNet", section "Tabular self-supervised learning", on any backbone of tables. The loss
is ours: theirs divides by the variance of a batch, which can be 0; see `CellLoss`.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from ..backbones.table_backbone import TableBackbone
from ..backbones.tabnet import TabNet
from ..configs.masked import MaskedOptions
from .cell_loss import CellLoss, CellLosses, skill_of
from .filling import fill, predicted
from .health import spread
from .heat_map import ROWS, heat_map
from .masked_peer import PeerReconstruction, cells_of, peer_loss
from .table_decoder import TableDecoder


class MaskedTable(nn.Module):
    """The masked pretext: rows with hidden cells in, predictions of all cells out.

    Args:
        backbone: the network that is pretrained.
        options: the config's options.
        size: of no meaning for tables; every pretext is given one.

    Attributes:
        keeps_parts: checkpoints hold the decoder too, which imputes and tells outliers.
        shows, preview_rows: what `preview` draws, for the report, and of how many rows.
        measured_rows: what `measure` is given at a time: all held rows, since its skill is no mean over batches.
        cells: the loss of each cell.
        decoder: from the features to the predictions; of `mode: pytorch-tabnet` a `PeerReconstruction`.

    Raises:
        ValueError: `mode: pytorch-tabnet` on another backbone than a TabNet of plain numbers.

    Example:
        >>> from jigstack.backbones.table_build import build_table_backbone
        >>> from jigstack.datasets.table_column import TableColumn
        >>> backbone = build_table_backbone("tabnet", [TableColumn("age"), TableColumn("pay")], {})
        >>> method = MaskedTable(backbone, MaskedOptions())
        >>> views = method.views(torch.zeros(4, 2), torch.Generator().manual_seed(0))
        >>> method(views)["numbers"].shape
        torch.Size([4, 2])
    """

    keeps_parts: ClassVar[bool] = True
    preview_rows: ClassVar[int] = ROWS
    measured_rows: ClassVar[int] = 512
    shows: ClassVar[str] = (
        "Held-out rows, a line each, in up to 200 columns: as they are | with hidden cells in grey | as the network "
        "fills them. Numbers go from blue, 3 standard deviations below the mean, to red, 3 above; missing cells are "
        "black."
    )

    def __init__(self, backbone: TableBackbone, options: MaskedOptions, size: int = 0) -> None:
        super().__init__()
        self.backbone, self.options, self.size = backbone, options, size
        self.cells = CellLoss(backbone.columns)
        self.decoder: TableDecoder | PeerReconstruction
        if options.mode == "pytorch-tabnet":
            self.decoder = PeerReconstruction(backbone, options)
            return
        shares = [
            share
            for column in backbone.columns
            if column.kind == "category"
            for share in column.shares or [1 / max(1, len(column.levels))] * len(column.levels)
        ]
        self.decoder = TableDecoder(
            backbone.dim, len(self.cells.numbers), torch.tensor(shares, dtype=torch.float64), options
        )

    def views(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw which cells are hidden: each with probability `ratio`, for itself.

        Args:
            batch: (B, D), as `TableColumn` says.
            generator: every draw comes from it.

        Returns:
            `values` (B, D) the batch, and `masked` (B, D) bool.
        """
        drawn = torch.rand(batch.shape, generator=generator, device=generator.device)
        return {"values": batch, "masked": (drawn < self.options.ratio).to(batch.device)}

    def forward(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Predict all cells from those that are not hidden.

        Args:
            views: what `views` returned.

        Returns:
            `numbers` (B, Dn) standardised values, `levels` (B, L) logits of the known levels of all categories, and
            where it is asked for `sparsity`, the mean entropy of TabNet's masks, nats. Of `mode: pytorch-tabnet`
            `features` and `reconstructed`, (B, E) each, and in evaluation `numbers` and `levels` that follow from them.
        """
        values, masked = views["values"], views["masked"]
        if isinstance(self.decoder, PeerReconstruction):
            assert isinstance(self.backbone, TabNet)
            outputs = self.decoder(self.backbone, values, masked)
            if not self.training:
                outputs["numbers"], outputs["levels"] = cells_of(self.backbone, self.cells, outputs)
            return outputs
        outputs = {}
        if self.options.sparsity and isinstance(self.backbone, TabNet):
            features, outputs["sparsity"] = self.backbone.penalised(values, masked)
        else:
            features = self.backbone(values, masked)
        outputs["numbers"], outputs["levels"] = self.decoder(features)
        return outputs

    def loss(self, outputs: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean over all hidden cells whose value is known, in float32 at least.

        Args:
            outputs: what `forward` returned.
            views: what `views` returned.

        Returns:
            `loss` (0 or more; 1 for who knows only the columns' means and shares; 0 where no known cell is hidden),
            with `sparsity` its weighted part added; and `numbers` and `levels`, the means of each kind there is. Of
            `mode: pytorch-tabnet` `loss` alone, see `peer_loss`.
        """
        if "reconstructed" in outputs:
            return {"loss": self._peer_loss(outputs, views)}
        means = self.compare(outputs, views).means
        losses = {name: value if name == "loss" else value.detach() for name, value in means.items()}
        if "sparsity" in outputs:
            losses["loss"] = losses["loss"] + self.options.sparsity * outputs["sparsity"].float()
            losses["sparsity"] = outputs["sparsity"].detach().float()
        return losses

    def compare(self, outputs: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> CellLosses:
        """The loss of each hidden cell; arguments as of `loss`."""
        numbers, levels = (
            each if each.dtype == torch.float64 else each.float()
            for each in (outputs["numbers"], outputs["levels"])
        )
        return self.cells(numbers, levels, views["values"], views["masked"])

    def measure(self, outputs: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> dict[str, float]:
        """Judge predictions for rows that are not trained on.

        Args:
            outputs: what `forward` returned in evaluation mode.
            views: what `views` returned.

        Returns:
            `loss`: as that of training, without `sparsity`, 1 if there is nothing to predict; `skill`: the median of
            what `skill_of` says of the columns, 0 if it says nothing; `accuracy`, with categories: the share of the
            hidden ones whose likeliest level is right.
        """
        cells = self.compare(outputs, views)
        counted = int(cells.counted_numbers.sum() + cells.counted_levels.sum())
        loss = self._peer_loss(outputs, views) if "reconstructed" in outputs else cells.mean
        chance = self.cells.by_chance(views["values"], views["masked"])
        skill = skill_of(cells.by_column.detach(), chance.by_column).cpu().nanquantile(0.5)
        measured = {
            "loss": float(loss.detach()) if counted else 1.0,
            "skill": float(skill.nan_to_num(0.0)),
        }
        if len(self.cells.categories):
            place, _ = self.cells.places(views["values"])
            right = self.cells.most_likely(outputs["levels"]) == place
            asked = cells.counted_levels
            measured["accuracy"] = float((right & asked).sum() / asked.sum().clamp_min(1))
        return measured

    def health(self, features: Tensor) -> Iterator[tuple[str, float]]:
        """Yield signs of collapse; see `spread`."""
        yield from spread(features)

    @torch.no_grad()
    def preview(self, batch: Tensor, generator: torch.Generator) -> Image.Image:
        """Draw the first rows of a batch: as they are, with hidden cells, and with the predictions in these.

        Args:
            batch: (B, D), as `TableColumn` says.
            generator: every draw comes from it.

        Returns:
            A picture of up to 32 rows and 200 columns, evenly chosen: truth | masked | predicted. See `heat_map`.
        """
        views = self.views(batch[:ROWS], generator)
        absent = self.backbone.input.missing(views["values"])
        filled = fill(self, views["values"], views["masked"] | absent, predicted(self, views))
        return heat_map(views["values"].cpu(), views["masked"].cpu(), filled.cpu(), self.backbone.columns)

    def _peer_loss(self, outputs: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> Tensor:
        asked = (views["masked"] & self.cells.known(views["values"]))[:, self.backbone.input.slots]
        reconstructed, features = (
            each if each.dtype == torch.float64 else each.float()
            for each in (outputs["reconstructed"], outputs["features"])
        )
        return peer_loss(reconstructed, features, asked.to(features.dtype))
