"""DINO: a student sees all crops of an image, a slowly following teacher the large ones; their answers should agree.

After Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers", with few outputs, as small data
sets have few things to tell apart. The teacher is what is kept.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from lightly.loss import DINOLoss
from lightly.models.modules.heads import ProjectionHead
from lightly.models.utils import update_momentum
from PIL import Image
from torch import Tensor, nn

from ..backbones.timm_backbone import TimmBackbone
from ..configs.joint import DinoOptions
from .health import spread
from .view_sets import agreement, draw_crops, each_view, view_sheet

GLOBAL_VIEWS = 2
_INITIAL_STD = 0.02


class Prototypes(nn.Module):
    """DINO's head: three layers to a bottleneck of unit length, then its cosine to K learned directions.

    The directions have unit length, so they are weight-normalised with a fixed norm of 1 (section 3.2).

    Args:
        dim: D of the features.
        hidden: width of the two hidden layers.
        bottleneck: width of what is normalised.
        outputs: K.
    """

    def __init__(self, dim: int, hidden: int, bottleneck: int, outputs: int) -> None:
        super().__init__()
        self.layers = ProjectionHead(
            [
                (dim, hidden, None, nn.GELU()),
                (hidden, hidden, None, nn.GELU()),
                (hidden, bottleneck, None, None),
            ]
        )
        for layer in self.layers.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=_INITIAL_STD)
                nn.init.zeros_(layer.bias)
        self.directions = nn.Linear(bottleneck, outputs, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features to (B, K) cosines."""
        bottleneck = F.normalize(self.layers(features), dim=-1)
        return F.linear(bottleneck, F.normalize(self.directions.weight, dim=-1))


class Dino(nn.Module):
    """The DINO pretext: two large and L small crops in, K cosines of the student and of the teacher out.

    Args:
        backbone: the network that learns; `exported` is its average, the teacher.
        options: the config's options.
        size: side of a large crop, pixels; the small ones have `options.local_size` of it.

    Raises:
        ValueError: the backbone cannot take the small crops.
    """

    shows: ClassVar[str] = "Held-out pictures: as they are | large crops | small crops."

    def __init__(self, backbone: TimmBackbone, options: DinoOptions, size: int) -> None:
        super().__init__()
        self.backbone, self.options, self.size = backbone, options, size
        if options.local_views:
            backbone.probe(options.local_pixels(size))
        self.head = Prototypes(backbone.dim, options.hidden, options.bottleneck, options.outputs)
        self.exported, self.teacher_head = copy.deepcopy(backbone), copy.deepcopy(self.head)
        for module in (self.exported, self.teacher_head):
            module.requires_grad_(False)
        self.criterion = DINOLoss(
            options.outputs,
            warmup_teacher_temp=options.teacher_temperature,
            teacher_temp=options.teacher_temperature,
            student_temp=options.student_temperature,
            center_momentum=options.centre_momentum,
        )

    def follow(self, share: float) -> None:
        """Move the teacher towards the student: its momentum rises from `options.momentum` to 1 by a cosine.

        Args:
            share: of the training that is done, 0..1.
        """
        momentum = 1 - (1 - self.options.momentum) * 0.5 * (1 + math.cos(math.pi * share))
        update_momentum(self.backbone, self.exported, momentum)
        update_momentum(self.head, self.teacher_head, momentum)

    def views(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the crops of every image.

        Args:
            batch: (B, C, H, W) uint8.
            generator: every draw comes from it.

        Returns:
            `views` (2, B, C, size, size) and, if there are small crops, `locals` (L, B, C, s, s), float32, normalised.
        """
        return draw_crops(batch, self.options, self.size, GLOBAL_VIEWS, self.backbone, generator)

    def forward(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Ask student and teacher.

        Args:
            views: what `views` returned.

        Returns:
            `student` (2 + L, B, K) of all crops, `teacher` (2, B, K) of the large ones, without gradient.
        """
        student = [each_view(self._ask_student, part, joint=True) for part in views.values()]
        with torch.no_grad():
            features = each_view(self.exported, views["views"], joint=True)
            teacher = each_view(self.teacher_head, features, joint=True)
        return {"student": torch.cat(student), "teacher": teacher}

    def _ask_student(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))

    def loss(self, outputs: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy of the student's answers to the teacher's, of other crops of the same image.

        Args:
            outputs: what `forward` returned.
            views: what `views` returned.

        Returns:
            `loss` in nats and `teacher_entropy`, that of the teacher's answers in nats: log K if it knows nothing,
            which is one of DINO's two collapses (section 5.3); in the other all answers are the same one.
        """
        student, teacher = outputs["student"].float(), outputs["teacher"].float()
        centred = (teacher - self.criterion.center) / self.options.teacher_temperature
        entropy = torch.distributions.Categorical(logits=centred).entropy().mean()
        return {"loss": self.criterion(list(teacher), list(student)), "teacher_entropy": entropy}

    def measure(self, outputs: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> dict[str, float]:
        """Judge crops of rows that are not trained on.

        Args:
            outputs: what `forward` returned in evaluation mode.
            views: what `views` returned.

        Returns:
            `agreement`: mean cosine of the teacher's answers to the two large crops of an image.
        """
        teacher = outputs["teacher"].float()
        return {"agreement": float(agreement(teacher - teacher.mean((0, 1))))}

    def health(self, features: Tensor) -> Iterator[tuple[str, float]]:
        """Yield signs of collapse; see `spread`."""
        yield from spread(features)

    @torch.no_grad()
    def preview(self, batch: Tensor, generator: torch.Generator) -> Image.Image:
        """Draw the first images of a batch, each with its crops.

        Args:
            batch: (B, C, H, W) uint8.
            generator: every draw comes from it.

        Returns:
            A picture with one row for each of up to 6 images: as it is | large crops | small crops.
        """
        views = self.views(batch, generator)
        return view_sheet(
            batch.cpu(), [view for part in views.values() for view in part.cpu()], self.backbone
        )
