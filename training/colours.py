"""Changes of the colours of a batch of images, with a factor for each sample."""

import torch
from torch import Tensor

from ..configs.heads import ColourJitter
from .draws import chosen, uniform
from .parts import in_parts, part_size

_GREY = (0.2989, 0.587, 0.114)
_CONTRAST, _SATURATION, _HUE = 1, 2, 3


def colour_jitter(images: Tensor, strengths: ColourJitter, generator: torch.Generator) -> Tensor:
    """Change colours by factors drawn for each sample.

    The order is fixed (brightness, contrast, saturation, hue); that of `shuffled_jitter_` is drawn.

    Args:
        images: (B, C, H, W) float in 0..1.
        strengths: half widths of the ranges; what has strength 0 is neither drawn nor done.
        generator: every draw comes from it.

    Returns:
        (B, C, H, W) float in 0..1.
    """
    for name, change in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        strength = getattr(strengths, name)
        if strength:
            images = change(images, uniform(generator, (len(images),), 1 - strength, 1 + strength))
    if strengths.hue:
        images = hue(images, uniform(generator, (len(images),), -strengths.hue, strengths.hue))
    return images


def grey(images: Tensor) -> Tensor:
    """The luminance of RGB images (ITU-R 601), or a grey image itself.

    Args:
        images: (B, C, ...) float, C = 1 or 3.

    Returns:
        (B, 1, ...) float.

    Raises:
        ValueError: another number of channels.
    """
    if images.shape[1] == 1:
        return images
    if images.shape[1] != 3:
        raise ValueError(
            f"images: expected 1 or 3 channels for a change of colour, received {images.shape[1]}; "
            "switch the colour options off"
        )
    red, green, blue = images.unbind(1)
    return (red * _GREY[0]).add_(green, alpha=_GREY[1]).add_(blue, alpha=_GREY[2]).unsqueeze(1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply: `adjust_brightness` with factor (B,) >= 0 on (B, C, H, W) in 0..1."""
    return (images * _each(factor, images)).clamp_(0.0, 1.0)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Move from the image's mean grey: `adjust_contrast` with factor (B,) >= 0 on (B, C, H, W) in 0..1."""
    mean = grey(images).mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, _each(factor, images)).clamp_(0.0, 1.0)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Move from each pixel's grey: `adjust_saturation` with factor (B,) >= 0 on (B, C, H, W) in 0..1."""
    return torch.lerp(grey(images).expand_as(images), images, _each(factor, images)).clamp_(0.0, 1.0)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue circle: `adjust_hue` with shift (B,) in turns, -.5..5, on (B, C, H, W) in 0..1."""
    if images.shape[1] == 1:
        return images
    grey(images)  # refuses what has no hue
    return in_parts(_turn, images, shift)


def _turn(images: Tensor, shift: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)  # (B, H, W)
    upper, lower = torch.maximum(green, blue), torch.minimum(green, blue)
    largest, smallest = torch.maximum(red, upper), torch.minimum(red, lower)
    chroma = largest - smallest
    # Foley et al., Computer Graphics, the hexcone model: sixths of the circle from the middle of the largest channel's
    # sector. Two equal largest channels give the same hue from either's sector.
    # Masks are numbers, since `where` takes as long as twenty sums.
    of_red, of_green = torch.empty_like(red), torch.empty_like(red)
    torch.ge(red, upper, out=of_red)
    torch.ge(green, blue, out=of_green).mul_(1 - of_red)
    of_blue = 1 - of_red - of_green
    sixths = (green - blue).mul_(of_red).addcmul_(blue - red, of_green).addcmul_(red - green, of_blue)
    sixths.div_(chroma.clamp(min=1e-30)).add_(of_green, alpha=2).add_(of_blue, alpha=4)
    sixths.add_(6 * _each(shift, images)[:, 0])
    sixths.sub_(torch.floor(sixths / 6), alpha=6)  # in 0..6
    # Each channel is a wedge around the circle: full in its own third, empty in the opposite one.
    turned = torch.empty_like(images)
    for channel, (at, sign, start) in enumerate(((3, 1, -1), (2, -1, 2), (4, -1, 2))):
        wedge = (sixths - at).abs_().mul_(sign).add_(start).clamp_(0.0, 1.0)
        torch.addcmul(smallest, chroma, wedge, out=turned[:, channel])
    return turned


def shuffled_jitter_(
    images: Tensor, strengths: ColourJitter, share: float, generator: torch.Generator
) -> Tensor:
    """`torchvision.transforms.v2.ColorJitter` for a share of the samples, in place, the order drawn for each as well.

    Args:
        images: (B, C, H, W) float in 0..1; changed.
        strengths: half widths of the ranges; what has strength 0 is not done.
        share: of the samples, 0..1.
        generator: every draw comes from it.

    Returns:
        The same tensor, in 0..1.

    Raises:
        ValueError: C is neither 1 nor 3.
    """
    if share == 0 or strengths == ColourJitter():
        return images
    some = chosen(generator, len(images), share)
    widths = (strengths.brightness, strengths.contrast, strengths.saturation, strengths.hue)
    scale = torch.tensor(widths, dtype=torch.float64, device=generator.device)
    middle = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64, device=generator.device)
    amounts = middle + scale * uniform(generator, (len(some), 4), -1.0, 1.0)
    orders = uniform(generator, (len(some), 4)).argsort(1)
    return change_colours_(images, some, amounts, orders)


def change_colours_(images: Tensor, some: Tensor, amounts: Tensor, orders: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue one after the other, in each sample's own order, in place.

    Args:
        images: (B, C, H, W) float in 0..1; changed.
        some: (n,) long: the samples to change, each once.
        amounts: (n, 4) what to hand to `brightness`, `contrast`, `saturation` and `hue`.
        orders: (n, 4) long: in slot j, which of the four is done as number j.

    Returns:
        The same tensor.

    Raises:
        ValueError: C is neither 1 nor 3.
    """
    grey(images[:0])  # refuses what has no colour
    parts = part_size(images)
    for part in zip(some.split(parts), amounts.split(parts), orders.split(parts), strict=True):
        _change_part_(images, *part)
    return images


def _change_part_(images: Tensor, some: Tensor, amounts: Tensor, orders: Tensor) -> None:
    # Three steps besides hue are blends, of which one pass does any mixture. Hue is dear and another computation: with
    # the samples in the order of its slot, it is done once for all of them, and the blends before and after it are
    # those of a run of samples.
    slots, index = (orders == _HUE).int().argmax(1).sort(stable=True)  # (n,)
    runs = torch.searchsorted(slots, torch.arange(5, device=slots.device)).tolist()  # first sample of slot j
    kinds, factors = orders[index], amounts[index].gather(1, orders[index])  # (n, 4)
    factors = factors.to(images.device, images.dtype)
    kinds, where = kinds.to(images.device), some[index].to(images.device)
    changed = images[where]
    for j in range(3):
        _blend_(changed[runs[j + 1] :], kinds[runs[j + 1] :, j], factors[runs[j + 1] :, j])
    if images.shape[1] == 3 and bool(amounts[:, _HUE].any()):
        changed = _turn(changed, amounts[index, _HUE])
    for j in range(1, 4):
        _blend_(changed[: runs[j]], kinds[: runs[j], j], factors[: runs[j], j])
    images.index_copy_(0, where, changed)


def _blend_(images: Tensor, kinds: Tensor, factors: Tensor) -> None:
    """In place, by kind: towards black, towards the image's mean grey, or towards each pixel's grey."""
    if len(images) == 0:
        return
    tone = grey(images)  # (B, 1, H, W)
    rest = 1 - factors
    away = _each(rest * (kinds == _CONTRAST), images) * tone.mean(dim=(1, 2, 3), keepdim=True)
    base = torch.addcmul(away, tone, _each(rest * (kinds == _SATURATION), images))
    images.mul_(_each(factors, images)).add_(base).clamp_(0.0, 1.0)


def _each(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.device, images.dtype).view(-1, 1, 1, 1)
