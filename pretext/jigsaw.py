"""Board jigsaw: a picture is cut into tiles, which are shuffled; the network says which tile lies where.

After Noroozi and Favaro 2016 (tiles with gaps and jitter, so that edges cannot be matched), but the whole
board goes through the backbone once, as in Carlucci et al. 2019 (JiGen), and a head names the source tile of
every slot.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..backbones.timm_backbone import TimmBackbone
from ..configs.pretext import JigsawOptions
from .boards import Layout, assemble, normalise_tiles, random_permutations, take_apart
from .cutting import shuffled_tiles
from .health import spread
from .sheet import PREVIEWED, as_pixels, sheet
from .solving import solve


class Jigsaw(nn.Module):
    """The jigsaw pretext: shuffled boards in, for every slot T logits over the source tiles out.

    In training mode a share of the boards stays in order and teaches the network how a whole picture looks;
    in evaluation mode all are shuffled, so that chance is exactly 1 / T. Background is 0 after normalisation,
    the mean colour.

    Args:
        backbone: the network that is pretrained.
        options: the config's options.
        size: side of a board, pixels; see `Layout` for sizes that the grid does not divide.

    Raises:
        ValueError: the tiles would be smaller than 4 pixels.
    """

    shows: ClassVar[str] = "Held-out pictures: shuffled | as they are | as the network puts them together."

    def __init__(self, backbone: TimmBackbone, options: JigsawOptions, size: int) -> None:
        super().__init__()
        self.backbone, self.options = backbone, options
        self.layout = Layout(size, options.grid, options.gap, options.jitter)
        self.head = nn.Linear(backbone.dim, self.layout.tiles**2)

    def views(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Cut and shuffle: crop, flip or turn, jitter each tile, drop colours, normalise, put together.

        Only pixels that a board shows are read, each once, straight from the batch: bilinearly, without
        anti-aliasing, after whole-number shrinking of images much larger than the board.

        Args:
            batch: (B, C, H, W) uint8.
            generator: every draw comes from it.

        Returns:
            `boards` (B, C, size, size) float32, normalised, and `perm` (B, T) long: `perm[b, slot]` is the
            source tile shown at `slot`, tiles and slots numbered row by row.
        """
        options, layout = self.options, self.layout
        unshuffled = options.unshuffled if self.training else 0.0
        stack, perm = shuffled_tiles(
            batch,
            layout,
            options,
            lambda count: random_permutations(count, layout.tiles, unshuffled, generator),
            generator,
        )
        if options.tile_norm:
            stack = normalise_tiles(stack)
        else:
            stack = self.backbone.normalise_(stack.flatten(2, 3)).unflatten(2, (layout.tiles, layout.tile))
        return {"boards": assemble(stack, layout), "perm": perm}

    def forward(self, views: Mapping[str, Tensor]) -> Tensor:
        """Say for every slot which tile it shows.

        Args:
            views: what `views` returned.

        Returns:
            (B, T, T) logits [slot, tile].
        """
        features = self.backbone(views["boards"])  # (B, D)
        return self.head(features).unflatten(1, (self.layout.tiles, self.layout.tiles))

    def loss(self, outputs: Tensor, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy over the tiles, averaged over slots and boards.

        Args:
            outputs: (B, T, T) logits.
            views: what `views` returned.

        Returns:
            `loss` in nats (log T by chance) and `tile_accuracy` (1 / T by chance).
        """
        logits, perm = outputs.float(), views["perm"]
        loss = F.cross_entropy(logits.flatten(0, 1), perm.flatten())
        return {"loss": loss, "tile_accuracy": (logits.detach().argmax(-1) == perm).float().mean()}

    def measure(self, outputs: Tensor, views: Mapping[str, Tensor]) -> dict[str, float]:
        """Score boards as a player would: every tile is used once.

        Args:
            outputs: (B, T, T) logits.
            views: what `views` returned, in evaluation mode.

        Returns:
            `tile_accuracy`: share of slots whose largest logit is right (1 / T by chance); `board_accuracy`:
            share of boards with every slot right after one-to-one assignment (1 / T! by chance).
        """
        perm = views["perm"].cpu()
        solved = solve(outputs)
        return {
            "tile_accuracy": float((outputs.argmax(-1).cpu() == perm).double().mean()),
            "board_accuracy": float((solved == perm).all(1).double().mean()),
        }

    def health(self, features: Tensor) -> Iterator[tuple[str, float]]:
        """Yield signs of collapse; see `spread`."""
        yield from spread(features)

    @torch.no_grad()
    def preview(self, batch: Tensor, generator: torch.Generator) -> Image.Image:
        """Draw the first boards of a batch: shuffled, as they were, and as the network puts them together.

        Args:
            batch: (B, C, H, W) uint8.
            generator: every draw comes from it.

        Returns:
            A picture with one row for each of up to 6 boards: shuffled | truth | prediction. A wrong tile of
            the prediction has a red frame.
        """
        training = self.training
        self.eval()
        try:
            views = self.views(batch[:PREVIEWED].to(self.head.weight.device), generator)
            predicted = solve(self(views))
        finally:
            self.train(training)
        boards = as_pixels(views["boards"].cpu(), self.backbone, self.options.tile_norm)
        return sheet(take_apart(boards, self.layout), views["perm"].cpu(), predicted, self.layout)
