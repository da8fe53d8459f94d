"""Tile jigsaw: every tile goes through the backbone alone, and the joined features tell the order.

After Noroozi and Favaro 2016: a siamese network over the tiles, gaps and shifts between them, each tile normalised by
itself, so that neither edges nor brightness tell the neighbours. The answer is the source of every slot, or which of P
fixed orders it is.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..backbones.timm_backbone import TimmBackbone
from ..configs.pretext import TilesOptions
from .boards import Layout, normalise_tiles, random_permutations
from .cutting import shuffled_tiles
from .health import spread
from .permutations import far_apart
from .sheet import PREVIEWED, as_pixels, sheet
from .solving import solve


class Tiles(nn.Module):
    """The tiles pretext: shuffled tiles in, logits over sources of slots or over orders out.

    In training mode a share of the pictures stays in order; in evaluation mode all are shuffled, so that chance is
    exactly 1 / T a slot, or 1 / P an order.

    Args:
        backbone: the network that is pretrained.
        options: the config's options.
        size: side of the picture with its gaps, pixels; a tile has the same side as on a board of this size.

    Raises:
        ValueError: the tiles would be smaller than 4 pixels, or there are fewer than P orders.
    """

    orders: Tensor

    shows: ClassVar[str] = "Held-out pictures: shuffled | as they are | as the network puts them together."

    def __init__(self, backbone: TimmBackbone, options: TilesOptions, size: int) -> None:
        super().__init__()
        self.backbone, self.options = backbone, options
        self.layout = Layout(size, options.grid, options.gap, options.jitter)
        tiles = self.layout.tiles
        by_order = options.target == "permutations"
        orders = (
            torch.from_numpy(far_apart(tiles, options.permutations).copy())
            if by_order
            else torch.empty(0, tiles)
        )
        self.register_buffer("orders", orders.long(), persistent=False)  # (P, T), the ordered one first
        self.head = nn.Sequential(
            nn.Linear(tiles * backbone.dim, options.hidden),
            nn.ReLU(),
            nn.Linear(options.hidden, len(orders) if by_order else tiles**2),
        )

    @staticmethod
    def input_size(options: TilesOptions, size: int) -> int:
        """Side of what the backbone sees, pixels: a tile."""
        return Layout(size, options.grid, options.gap, options.jitter).tile

    def views(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Cut and shuffle: crop, flip or turn, jitter each tile, drop colours, normalise each tile by itself.

        Args:
            batch: (B, C, H, W) uint8.
            generator: every draw comes from it.

        Returns:
            `tiles` (B, C, T, t, t) float32, normalised; `perm` (B, T) long: `perm[b, slot]` is the source tile shown at
            `slot`, tiles and slots numbered row by row; with `target: permutations` also `order` (B,) long, the place
            of `perm` among the P orders.
        """
        unshuffled = self.options.unshuffled if self.training else 0.0
        chosen = torch.empty(0, dtype=torch.long)

        def draw(count: int) -> Tensor:
            nonlocal chosen
            if not len(self.orders):
                return random_permutations(count, self.layout.tiles, unshuffled, generator)
            device = generator.device
            chosen = torch.randint(0, len(self.orders), (count,), generator=generator, device=device)
            keep = torch.rand((count,), generator=generator, device=device, dtype=torch.float64) < unshuffled
            chosen = torch.where(keep, 0, chosen)
            return self.orders.to(device)[chosen]

        tiles, perm = shuffled_tiles(batch, self.layout, self.options, draw, generator)
        if self.options.tile_norm:
            tiles = normalise_tiles(tiles)
        else:
            tiles = self.backbone.normalise_(tiles.flatten(2, 3)).unflatten(2, tiles.shape[2:4])
        views = {"tiles": tiles, "perm": perm}
        return views | {"order": chosen.to(batch.device)} if len(self.orders) else views

    def forward(self, views: Mapping[str, Tensor]) -> Tensor:
        """Say where the tiles come from; all tiles of a batch go through the backbone in one call.

        Args:
            views: what `views` returned.

        Returns:
            (B, T, T) logits [slot, tile], or (B, P) logits of the orders.
        """
        tiles = views["tiles"].transpose(1, 2)  # (B, T, C, t, t)
        features = self.backbone(tiles.flatten(0, 1)).unflatten(0, tiles.shape[:2])  # (B, T, D)
        logits = self.head(features.flatten(1))
        return logits if len(self.orders) else logits.unflatten(1, (self.layout.tiles, self.layout.tiles))

    def loss(self, outputs: Tensor, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy over the tiles of every slot, or over the orders.

        Args:
            outputs: what `forward` returned.
            views: what `views` returned.

        Returns:
            `loss` in nats (log T or log P by chance), and `tile_accuracy` (1 / T by chance) or `order_accuracy`
            (1 / P).
        """
        logits = outputs.float()
        if len(self.orders):
            right = (logits.detach().argmax(-1) == views["order"]).float().mean()
            return {"loss": F.cross_entropy(logits, views["order"]), "order_accuracy": right}
        loss = F.cross_entropy(logits.flatten(0, 1), views["perm"].flatten())
        return {"loss": loss, "tile_accuracy": (logits.detach().argmax(-1) == views["perm"]).float().mean()}

    def measure(self, outputs: Tensor, views: Mapping[str, Tensor]) -> dict[str, float]:
        """Score whole pictures.

        Args:
            outputs: what `forward` returned.
            views: what `views` returned, in evaluation mode.

        Returns:
            `tile_accuracy`: share of slots that are right; `board_accuracy`: share of pictures with every slot right.
            Orders are decoded to slots; slots are assigned one to one for the second measure, as for boards.
        """
        perm, solved = views["perm"].cpu(), self.solve(outputs)
        slots = solved if len(self.orders) else outputs.argmax(-1).cpu()
        return {
            "tile_accuracy": float((slots == perm).double().mean()),
            "board_accuracy": float((solved == perm).all(1).double().mean()),
        }

    def solve(self, outputs: Tensor) -> Tensor:
        """(B, T) long on the CPU: the source of every slot, each tile once."""
        return self.orders.cpu()[outputs.argmax(-1).cpu()] if len(self.orders) else solve(outputs)

    def health(self, features: Tensor) -> Iterator[tuple[str, float]]:
        """Yield signs of collapse; see `spread`."""
        yield from spread(features)

    @torch.no_grad()
    def preview(self, batch: Tensor, generator: torch.Generator) -> Image.Image:
        """Draw the first pictures of a batch: shuffled, as they were, and as the network puts them together.

        Args:
            batch: (B, C, H, W) uint8.
            generator: every draw comes from it.

        Returns:
            A picture with one row for each of up to 6 pictures: shuffled | truth | prediction; see `sheet`.
        """
        training = self.training
        self.eval()
        try:
            views = self.views(batch[:PREVIEWED].to(self.orders.device), generator)
            predicted = self.solve(self(views))
        finally:
            self.train(training)
        tiles = as_pixels(views["tiles"].cpu(), self.backbone, self.options.tile_norm)
        return sheet(tiles, views["perm"].cpu(), predicted, self.layout)
