"""The random views of joint-embedding pretexts: drawn for each sample, made in batches on the device.

Each operation means what torchvision's of the same name means for one float image; the distribution is that of
SimSiam's transform.
"""

import torch
from torch import Tensor

from ..configs.joint import ViewAugment
from .augment import dihedral_, random_boxes
from .blurring import blur, kernel_size
from .colours import grey, jitter_in_any_order
from .cropping import antialiased_crop
from .draws import chosen, uniform

_TURNS = torch.tensor([0, 4, 3, 5])  # identity, rot90, rot180, rot270 among `views.VIEWS`
_BRIGHT = 0.5


def random_view(images: Tensor, options: ViewAugment, size: int, generator: torch.Generator) -> Tensor:
    """Draw one view of every image: crop and mirror, turn, change colours, then grey, blur and solarise some.

    What an option leaves out is neither drawn nor done.

    Args:
        images: (B, C, H, W) uint8.
        options: what to draw from.
        size: side of the views, pixels.
        generator: every draw comes from it.

    Returns:
        (B, C, size, size) float32 in 0..1.

    Raises:
        ValueError: `images` is not such a batch.
    """
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(
            "images: expected a batch (B, C, H, W) of uint8, "
            f"received {tuple(images.shape)} of {images.dtype}; give the pixels as the store holds them"
        )
    count, channels, height, width = images.shape
    boxes = random_boxes(count, height, width, options.crop, options.ratio, generator)
    shares = torch.tensor([options.vflip, options.hflip], dtype=torch.float64, device=generator.device)
    mirrored = uniform(generator, (count, 2)) < shares
    views = antialiased_crop(images.float().div_(255), boxes, size, mirrored).clamp_(0.0, 1.0)
    if options.rot90:
        quarters = torch.randint(0, 4, (count,), generator=generator, device=generator.device)
        views = dihedral_(views, _TURNS[quarters.cpu()])
    if channels == 3:
        some = chosen(generator, count, options.colour_p).to(images.device)
        views[some] = jitter_in_any_order(views[some], options.colour, generator)
        some = chosen(generator, count, options.grey).to(images.device)
        views[some] = grey(views[some]).expand(-1, channels, -1, -1)
    if share := options.blur_share(size):
        some = chosen(generator, count, share)
        sigmas = uniform(generator, (count,), *options.sigma)[some]
        if len(some):
            some = some.to(images.device)
            views[some] = blur(views[some], sigmas, kernel_size(options.sigma[1], size))
    if options.solarise:
        some = chosen(generator, count, options.solarise).to(images.device)
        bright = views[some]
        views[some] = torch.where(bright >= _BRIGHT, 1 - bright, bright)
    return views
