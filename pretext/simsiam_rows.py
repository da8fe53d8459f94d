"""SimSiam on rows of a table: two views of a row should predict each other's projection; see `siamese`.

Views are corrupted as in Bahri et al. 2022, "SCARF: Self-Supervised Contrastive Learning using Random Feature
Corruption", or the second one is a near row, as in Szubert et al. 2019, "Structure-preserving visualisation of high
dimensional single-cell datasets" (ivis); both papers also need rows that are pushed apart, SimSiam does not.
"""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor

from ..backbones.table_backbone import TableBackbone
from ..configs.simsiam_rows import SimSiamRowsOptions
from .heat_map import ROWS, panels
from .neighbours import NeighbourPairs, Rows, kept, nearest_rows, seconds_to_compare
from .siamese import Siamese

NEAREST = "nearest.safetensors"


class SimSiamRows(Siamese):
    """SimSiam on rows: two views of each row in, their projections z and predictions p out.

    Args:
        backbone: the network that is pretrained, f.
        options: the config's options.
        size: of no meaning for tables; every pretext is given one.

    Attributes:
        shows, preview_rows: what `preview` draws, for the report, and of how many rows.
        until_finished: the file of the nearest rows, which is of no use after the training.

    Example:
        >>> from jigstack.backbones.table_build import build_table_backbone
        >>> from jigstack.datasets.table_column import TableColumn
        >>> backbone = build_table_backbone("mlp", [TableColumn("age"), TableColumn("pay")], {})
        >>> method = SimSiamRows(backbone, SimSiamRowsOptions(width=16))
        >>> views = method.views(torch.zeros(4, 2), torch.Generator().manual_seed(0))
        >>> method(views)["p"].shape
        torch.Size([2, 4, 16])
    """

    preview_rows: ClassVar[int] = ROWS
    until_finished: ClassVar[tuple[str, ...]] = (NEAREST,)
    shows: ClassVar[str] = (
        "Held-out rows, a line each, in up to 200 columns: as they are | view 1 | view 2. Numbers go from blue, 3 "
        "standard deviations below the mean, to red, 3 above; missing cells are black."
    )

    def __init__(self, backbone: TableBackbone, options: SimSiamRowsOptions, size: int = 0) -> None:
        super().__init__(backbone, options, options.layers)
        self.options, self.size = options, size

    def sources(
        self,
        trained: Rows,
        held: Rows,
        folder: Path | None = None,
        key: str = "",
        stop: Callable[[], bool] = lambda: False,
    ) -> tuple[Rows, Rows]:
        """What a training reads: with `neighbours` pairs, whose second rows are always trained ones.

        Args:
            trained: the rows to learn from.
            held: the rows that are measured.
            folder: where the nearest rows are kept for a training that goes on; None: nowhere.
            key: names rows and options.
            stop: asked while they are looked for.

        Returns:
            The two, or a `NeighbourPairs` of each.

        Raises:
            ValueError: there are not more trained rows than `neighbours`.
            Interrupted: `stop` became true.
        """
        k, columns = self.options.neighbours, self.backbone.columns
        if not k:
            return trained, held

        def find() -> dict[str, Tensor]:
            return {
                "trained": nearest_rows(trained, columns, k, stop=stop),
                "held": nearest_rows(trained, columns, k, held, stop),
            }

        nearest = find() if folder is None else kept(folder / NEAREST, key, find)
        return (
            NeighbourPairs(trained, trained, nearest["trained"]),
            NeighbourPairs(held, trained, nearest["held"]),
        )

    def seconds_before(self, values: Tensor, count: int) -> float:
        """What `sources` takes, from a part of it.

        Args:
            values: (M, D) rows like those to learn from, where they will lie.
            count: how many these are.
        """
        k = self.options.neighbours
        return seconds_to_compare(values, self.backbone.columns, k, count) if k else 0.0

    def views(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw two views of every row: of the row itself, or of the row and the one beside it.

        Each cell is corrupted with probability `corruption`, for itself: it takes the value that its column has in a
        row of the batch, drawn for this cell alone.

        Args:
            batch: (B, D), as `TableColumn` says, or (B, 2, D) pairs.
            generator: every draw comes from it.

        Returns:
            `views` (2, B, D).
        """
        pairs = torch.stack([batch, batch]) if batch.ndim == 2 else batch.transpose(0, 1)  # (2, B, D)
        drawn = torch.rand(pairs.shape, generator=generator, device=generator.device)
        donors = torch.randint(pairs.shape[1], pairs.shape, generator=generator, device=generator.device)
        others = pairs[:1].expand_as(pairs).gather(1, donors.to(batch.device))
        return {"views": others.where((drawn < self.options.share).to(batch.device), pairs)}

    @torch.no_grad()
    def preview(self, batch: Tensor, generator: torch.Generator) -> Image.Image:
        """Draw the first rows of a batch and their views.

        Args:
            batch: (B, D) or (B, 2, D), as of `views`.
            generator: every draw comes from it.

        Returns:
            A picture of up to 32 rows and 200 columns, evenly chosen: row | view 1 | view 2. See `heat_map`.
        """
        first, second = self.views(batch, generator)["views"].cpu()
        rows = (batch if batch.ndim == 2 else batch[:, 0]).cpu()
        hidden = torch.zeros_like(rows, dtype=torch.bool)
        return panels([(each, hidden) for each in (rows, first, second)], self.backbone.columns)
