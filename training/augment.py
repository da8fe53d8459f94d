"""Random changes of a batch of images: parameters drawn for each sample, work done in batches on the device.

Each operation means what torchvision's of the same name means for one image (`transforms.v2.functional`),
here with one parameter a sample. Coordinates follow `align_corners=False`: pixel i covers [i, i + 1), its
centre is i + .5.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..configs.heads import Affine, HeadAugment
from .blurring import blur, kernel_size
from .colours import colour_jitter, grey
from .draws import chosen, uniform
from .occlusion import erase, erase_boxes, shuffle_cells
from .views import VIEWS, apply_view
from .warping import random_affine, shift

_TRIES = 10


def augment_images(images: Tensor, options: HeadAugment, size: int, generator: torch.Generator) -> Tensor:
    """Crop, shift, flip or turn, warp, change colours, then spoil; each sample in its own way.

    In this order, by the names of the options: crop, pad, flips or dihedral, affine, colour (brightness, contrast,
    saturation, hue), grey, blur, noise, grid_shuffle, erase. The network then normalises, and mixes last (`mix`).

    What an option's default leaves out is neither drawn nor done. With a crop, pixels are interpolated bilinearly after
    a whole-number shrinking of much larger images (`shrink`). Without one (`crop: [1, 1]`) the picture is resized as
    for evaluation, and left alone where it has the size.

    Args:
        images: (B, C, H, W) uint8.
        options: what to draw from.
        size: side of the result, pixels.
        generator: every draw comes from it.

    Returns:
        (B, C, size, size) float32 in 0..1.

    Raises:
        ValueError: `images` is not such a batch.
    """
    if options.crop == (1.0, 1.0):
        crops = resize(images, size)
    else:
        sources = shrink(images, size, options.crop[0])  # (B, C, H', W')
        height, width = sources.shape[-2:]
        boxes = random_boxes(len(images), height, width, options.crop, options.ratio, generator)
        crops = resized_crop(sources, boxes, size)
    if options.pad:
        crops = shift(crops, options.pad, generator)
    # Turned afterwards: turning the coordinates makes grid_sample, whose reads must then run backwards or across
    # memory, three times as slow; turning the bytes before is slower too, since there are more of them.
    pictures = dihedral_(crops, random_views(len(images), options, generator))  # (B, C, size, size)
    if options.affine != Affine():
        pictures = random_affine(pictures, options.affine, generator)
    pictures = colour_jitter(pictures, options.colour, generator)
    return spoil(pictures, options, generator)


def spoil(images: Tensor, options: HeadAugment, generator: torch.Generator) -> Tensor:
    """Take away colours and sharpness, add noise, shuffle cells, erase a part, in place.

    Noise comes to every sample, each with a strength of its own; the others to a share of the samples, drawn anew
    for each operation, and the rest keep every bit.

    Args:
        images: (B, C, size, size) float in 0..1; changed.
        options: what to draw from.
        generator: every draw comes from it.

    Returns:
        The same tensor, in 0..1.
    """
    count, size = len(images), images.shape[-1]
    if options.grey and images.shape[1] > 1:
        some = chosen(generator, count, options.grey).to(images.device)
        images[some] = grey(images[some]).expand(-1, images.shape[1], -1, -1)
    if options.blur.p:
        some = chosen(generator, count, options.blur.p)
        sigmas = uniform(generator, (count,), *options.blur.sigma)[some]
        some = some.to(images.device)
        if len(some):
            images[some] = blur(images[some], sigmas, kernel_size(options.blur.sigma[1], size))
    if options.noise:
        strengths = uniform(generator, (count, 1, 1, 1), 0.0, options.noise)
        noise = torch.randn(images.shape, generator=generator, device=generator.device)
        images.addcmul_(strengths.to(images), noise.to(images)).clamp_(0.0, 1.0)
    if options.grid_shuffle.p:
        some, grid = chosen(generator, count, options.grid_shuffle.p), options.grid_shuffle.grid
        orders = uniform(generator, (count, grid**2)).argsort(1)[some]
        some = some.to(images.device)
        images[some] = shuffle_cells(images[some], orders, grid)
    if options.erase.p:
        some = chosen(generator, count, options.erase.p)
        boxes = erase_boxes(count, size, size, options.erase, generator)[some]
        some = some.to(images.device)
        images[some] = erase(images[some], boxes)
    return images


def random_views(count: int, options: HeadAugment, generator: torch.Generator) -> Tensor:
    """Draw a flip or turn for each sample, all allowed ones equally likely.

    Args:
        count: B samples.
        options: which views are allowed.
        generator: every draw comes from it.

    Returns:
        (B,) long on the generator's device: indices of `VIEWS`.
    """
    if options.dihedral:
        return torch.randint(0, 8, (count,), generator=generator, device=generator.device)
    k = torch.zeros(count, dtype=torch.long, device=generator.device)
    for wanted, bit in ((options.hflip, 1), (options.vflip, 2)):
        if wanted:
            k += bit * torch.randint(0, 2, (count,), generator=generator, device=generator.device)
    return k


def resize(images: Tensor, size: int) -> Tensor:
    """Resize a batch for evaluation: bilinear with anti-aliasing, as Pillow does.

    Args:
        images: (B, C, H, W) uint8.
        size: side of the result, pixels.

    Returns:
        (B, C, size, size) float32 in 0..1; the exact pixels where H = W = size.

    Raises:
        ValueError: `images` is not such a batch.
    """
    check_images(images)
    unit = images.float().div_(255)
    if unit.shape[-2:] == (size, size):
        return unit
    return F.interpolate(unit, size=(size, size), mode="bilinear", antialias=True).clamp_(0.0, 1.0)


def shrink(images: Tensor, size: int, smallest: float) -> Tensor:
    """Average blocks of f x f pixels, f as large as leaves the smallest crop at `size`.

    Bilinear interpolation reads 2 x 2 pixels; without this a store of three times the size would be read in
    every third pixel.

    Args:
        images: (B, C, H, W) uint8.
        size: side that the crops are brought to, pixels.
        smallest: smallest share of the area that a crop keeps.

    Returns:
        (B, C, H // f, W // f) float32 in 0..1.

    Raises:
        ValueError: `images` is not such a batch.
    """
    check_images(images)
    unit = images.float().div_(255)
    factor = int(min(images.shape[-2:]) * math.sqrt(smallest) / size + 1e-6)
    return F.avg_pool2d(unit, factor) if factor > 1 else unit


def random_boxes(
    count: int,
    height: int,
    width: int,
    crop: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """Draw crops as torchvision's `RandomResizedCrop` does: uniform area, log-uniform aspect ratio.

    Ten pairs are tried for each sample; if none fits into the image, the largest centred crop of an allowed
    ratio is taken (Szegedy et al. 2015, section 6).

    Args:
        count: B, samples.
        height, width: H and W of the images, pixels.
        crop: smallest and largest share of the area.
        ratio: smallest and largest width / height.
        generator: every draw comes from it.

    Returns:
        (B, 4) float32 whole numbers on the generator's device: top, left, height, width in pixels.
    """
    area = height * width * uniform(generator, (count, _TRIES), *crop)  # (B, tries)
    aspect = uniform(generator, (count, _TRIES), math.log(ratio[0]), math.log(ratio[1])).exp()
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)
    w, h = w.gather(1, first)[:, 0], h.gather(1, first)[:, 0]  # (B,)
    top = (uniform(generator, (count,)) * (height - h + 1)).floor()
    left = (uniform(generator, (count,)) * (width - w + 1)).floor()
    boxes = torch.stack([top, left, h, w], dim=1)

    whole = width / height
    central_w = round(height * ratio[1]) if whole > ratio[1] else width
    central_h = round(width / ratio[0]) if whole < ratio[0] else height
    central = torch.tensor(
        [(height - central_h) // 2, (width - central_w) // 2, central_h, central_w],
        dtype=boxes.dtype,
        device=boxes.device,
    )
    return torch.where(fits.any(1, keepdim=True), boxes, central).float()


def resized_crop(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut a box from each image and bring it to one size, bilinearly, without anti-aliasing.

    The same as `F.interpolate(crop, size, mode="bilinear")` on each crop: no pixel outside the box is read.

    Args:
        images: (B, C, H, W) float.
        boxes: (B, 4) top, left, height, width in pixels.
        size: side of the result, pixels.

    Returns:
        (B, C, size, size) float.
    """
    line = torch.arange(size, device=images.device, dtype=images.dtype).expand(len(images), 1, size)
    return sample_patches(images, boxes, size, line, line)[:, :, 0]


def sample_patches(images: Tensor, boxes: Tensor, size: int, rows: Tensor, columns: Tensor) -> Tensor:
    """Read square patches of the cropped and resized picture without making the picture.

    Args:
        images: (B, C, H, W) float.
        boxes: (B, 4) top, left, height, width of the crop, pixels of the image.
        size: side of the picture that the crop is thought to be resized to, pixels.
        rows: (B, n, s) float: the rows, 0..size - 1, that patch n takes from the picture.
        columns: (B, n, s) float: its columns.

    Returns:
        (B, C, n, s, s) float.
    """
    count, patches, side = rows.shape
    top, left, height, width = boxes.to(images.device, images.dtype)[..., None, None].unbind(1)  # (B, 1, 1)

    def unit(line: Tensor, start: Tensor, length: Tensor, pixels: int) -> Tensor:
        """Centres of picture pixels in the image, held at the border of the box, in grid_sample's -1..1."""
        source = torch.minimum(((line + 0.5) * (length / size) - 0.5).clamp_(min=0), length - 1) + start
        return (2 * source + 1) / pixels - 1

    y = unit(rows, top, height, images.shape[-2])  # (B, n, s)
    x = unit(columns, left, width, images.shape[-1])
    # Lines (x0, 0, x1, 0, ...) plus y times (0, 1, 0, 1, ...): one pass over the grid, ten times as fast as
    # stacking whole grids of x and y.
    across = torch.stack([x, torch.zeros_like(x)], dim=-1).view(count, patches, 1, 2 * side)
    odd = torch.tensor([0.0, 1.0], device=x.device, dtype=x.dtype).repeat(side)
    grid = torch.addcmul(across, y[..., None], odd).view(count, patches * side, side, 2)
    read = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return read.unflatten(2, (patches, side))  # (B, C, n, s, s)


def dihedral(images: Tensor, k: Tensor) -> Tensor:
    """Flip and turn each image in its own way, without interpolation.

    Args:
        images: (B, ..., H, W), H = W unless every k is below 4.
        k: (B,) indices of `VIEWS`; 0 is identity.

    Returns:
        The same shape and values.
    """
    return dihedral_(images.clone(), k)


def dihedral_(images: Tensor, k: Tensor) -> Tensor:
    """`dihedral` in place: fresh memory costs the processor more than the turning."""
    k = k.cpu()  # one wait for the device instead of one for each view
    for value, name in enumerate(VIEWS[1:], start=1):
        where = (k == value).nonzero()[:, 0].to(images.device)  # (samples of this view,)
        if len(where):
            images[where] = apply_view(images.index_select(0, where), name)
    return images


def check_images(images: Tensor) -> None:
    """Raise a ValueError unless these are a batch as the store gives it."""
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(
            "images: expected a batch (B, C, H, W) of uint8, "
            f"received {tuple(images.shape)} of {images.dtype}; give the pixels as the store holds them"
        )
