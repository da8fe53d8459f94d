"""Random views of a batch of images, for pretexts that compare two or more views of one picture."""

import torch
from torch import Tensor

from ..configs.heads import HeadAugment
from ..configs.joint import ViewAugment
from .augment import check_images, dihedral_, random_boxes, spoil
from .colours import shuffled_jitter_
from .cropping import crop
from .draws import chosen, uniform
from .views import VIEWS

_TURNS = tuple(VIEWS.index(name) for name in ("identity", "rot90", "rot180", "rot270"))


def random_view(images: Tensor, options: ViewAugment, size: int, generator: torch.Generator) -> Tensor:
    """Draw one view of each image: call it once for each view that is wanted.

    In this order: crop and resize, flips, quarter turn, colours (in an order of their own for each sample), grey,
    blur, solarise, as in SimSiam (Chen and He 2021, appendix A) and DINO (Caron et al. 2021). The network then
    normalises. Each operation is torchvision's of that name for one image; grey images keep what needs three channels.

    Args:
        images: (B, C, H, W) uint8, C = 1 or 3 wherever colours are changed; kept as they are.
        options: what to draw from.
        size: side of the result, pixels.
        generator: every draw comes from it.

    Returns:
        (B, C, size, size) float32 in 0..1.

    Raises:
        ValueError: `images` is not such a batch.
    """
    check_images(images)
    count, _, height, width = images.shape
    boxes = random_boxes(count, height, width, options.crop, options.ratio, generator)
    views = crop(images, boxes, size)  # (B, C, size, size)
    flips = (uniform(generator, (count,)) < options.hflip).long()
    flips += 2 * (uniform(generator, (count,)) < options.vflip).long()
    views = dihedral_(views, flips)
    if options.rot90:
        turns = torch.randint(0, 4, (count,), generator=generator, device=generator.device)
        views = dihedral_(views, torch.tensor(_TURNS, device=turns.device)[turns])
    views = shuffled_jitter_(views, options.colour, options.colour_p, generator)
    views = spoil(views, HeadAugment(grey=options.grey, blur=options.blur_at(size)), generator)
    if options.solarise:
        some = chosen(generator, count, options.solarise).to(views.device)
        views[some] = solarise(views[some])
    return views


def solarise(images: Tensor) -> Tensor:
    """Invert what is at least half bright: `torchvision.transforms.v2.functional.solarize` at .5.

    Args:
        images: float in 0..1, any shape.

    Returns:
        The same shape.
    """
    return torch.minimum(images, 1 - images)
