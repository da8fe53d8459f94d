"""Board jigsaw: a picture is cut into tiles, which are shuffled; the network says which tile lies where.

After Noroozi and Favaro 2016 (tiles with gaps and jitter, so that edges cannot be matched), but the whole
board goes through the backbone once, as in Carlucci et al. 2019 (JiGen), and a head names the source tile of
every slot.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ..backbones.timm_backbone import TimmBackbone
from ..configs.pretext import JigsawOptions
from ..training.augment import dihedral_, grey, random_boxes, sample_patches, shrink, uniform
from .boards import (
    Layout,
    assemble,
    normalise_tiles,
    random_permutations,
    take_apart,
    tile_lines,
    unshuffle,
)

# Width over height of the crops; narrow, since every board is squeezed to a square.
RATIO = (0.8, 1.25)
_PREVIEWED = 6
_WRONG = (220, 30, 30)


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
        options, layout, device = self.options, self.layout, batch.device
        count, tiles = len(batch), layout.tiles
        k = torch.randint(
            0, 8 if options.dihedral else 1, (count,), generator=generator, device=generator.device
        )
        images = shrink(batch, layout.picture, options.crop[0])  # (B, C, H', W') in 0..1
        height, width = images.shape[-2:]
        boxes = random_boxes(count, height, width, options.crop, RATIO, generator)
        shape = (count, tiles, 2)
        shifts = torch.randint(0, layout.jitter + 1, shape, generator=generator, device=generator.device)
        unshuffled = options.unshuffled if self.training else 0.0
        perm = random_permutations(count, tiles, unshuffled, generator)
        drop = uniform(generator, (count,)) < options.colour_drop

        rows, columns = (line.to(device, torch.float32) for line in tile_lines(layout, perm, shifts, k))
        stack = sample_patches(images, boxes, layout.picture, rows, columns)  # (B, C, T, t, t)
        stack = dihedral_(stack, k)
        colourless = drop.nonzero()[:, 0].to(device)
        if len(colourless):
            stack[colourless] = grey(stack[colourless]).expand(-1, stack.shape[1], -1, -1, -1)
        if options.tile_norm:
            stack = normalise_tiles(stack)
        else:
            stack = self.backbone.normalise_(stack.flatten(2, 3)).unflatten(2, (tiles, layout.tile))
        return {"boards": assemble(stack, layout), "perm": perm.to(device)}

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
        """Yield signs of collapse, where all inputs get the same features.

        Args:
            features: (B, D) of different images.

        Yields:
            `feature_std`: standard deviation of the normalised features times √D, 1 if spread evenly, 0 if
            collapsed (Chen and He 2021, section 4.1); `feature_rank`: exp of the entropy of the singular
            values, 1..min(B, D) (Garrido et al. 2023, RankMe).
        """
        features = features.detach().float()
        unit = F.normalize(features, dim=1)
        yield "feature_std", float(unit.std(dim=0, correction=0).mean() * unit.shape[1] ** 0.5)
        values = torch.linalg.svdvals(features)
        shares = values / values.sum().clamp_min(1e-12) + 1e-7
        yield "feature_rank", float(torch.exp(-(shares * shares.log()).sum()))

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
            views = self.views(batch[:_PREVIEWED].to(self.head.weight.device), generator)
            predicted = solve(self(views))
        finally:
            self.train(training)
        boards, perm, layout = views["boards"].cpu(), views["perm"].cpu(), self.layout
        tiles = take_apart(self._as_pixels(boards), layout)  # (B, 3, T, t, t)
        guess = unshuffle(tiles, predicted).clone()
        wrong = unshuffle((predicted != perm)[:, None, :, None, None], predicted).expand_as(guess)
        frame = torch.ones(layout.tile, layout.tile, dtype=torch.bool)
        frame[2:-2, 2:-2] = False
        red = torch.tensor(_WRONG, dtype=torch.uint8).view(1, 3, 1, 1, 1)
        guess = torch.where(wrong & frame, red, guess)
        drawn = torch.stack([tiles, unshuffle(tiles, perm), guess], dim=1)  # (B, 3 columns, 3, T, t, t)
        sheets = assemble(drawn.flatten(0, 1), layout, background=255.0)
        sheets = F.pad(sheets, (4, 4, 4, 4), value=255).unflatten(0, (-1, 3))  # (B, 3, 3, S, S)
        page = sheets.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (B S, 3 S, 3)
        return Image.fromarray(page.contiguous().numpy())

    def _as_pixels(self, boards: Tensor) -> Tensor:
        """Undo the normalisation for the eye: (B, C, S, S) -> (B, 3, S, S) uint8."""
        if self.options.tile_norm:
            unit = boards / 5 + 0.5
        else:
            mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (self.backbone.mean, self.backbone.std))
            unit = boards * std + mean
        return unit.clamp(0, 1).mul(255).round().to(torch.uint8).expand(-1, 3, -1, -1)


def solve(logits: Tensor) -> Tensor:
    """Give every slot another tile so that the sum of log-probabilities is largest (Hungarian method).

    Args:
        logits: (B, T, T) [slot, tile], finite.

    Returns:
        (B, T) long on the CPU: the tile of each slot, each tile once.
    """
    scores = logits.detach().float().log_softmax(-1).cpu().numpy()
    assigned = np.stack([linear_sum_assignment(board, maximize=True)[1] for board in scores])  # (B, T)
    return torch.from_numpy(assigned).long()
