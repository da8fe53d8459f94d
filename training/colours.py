"""Changes of the colours of a batch of images, with a factor for each sample."""

import torch
from torch import Tensor

from ..configs.heads import ColourJitter
from .draws import uniform

_GREY = (0.2989, 0.587, 0.114)
_CACHED = 16


def colour_jitter(images: Tensor, strengths: ColourJitter, generator: torch.Generator) -> Tensor:
    """Change colours by factors drawn for each sample.

    The order is fixed (brightness, contrast, saturation, hue); torchvision's `ColorJitter` shuffles it.

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


def jitter_in_any_order(images: Tensor, strengths: ColourJitter, generator: torch.Generator) -> Tensor:
    """`torchvision.transforms.v2.ColorJitter` for each sample: its own factors, in an order of its own.

    Args:
        images: (B, C, H, W) float in 0..1.
        strengths: half widths of the ranges; what has strength 0 leaves every bit.
        generator: every draw comes from it.

    Returns:
        (B, C, H, W) float in 0..1.
    """
    count = len(images)
    orders = uniform(generator, (count, 4)).argsort(1)  # (B, 4): which operation comes at each step
    factors = [
        uniform(generator, (count,), 1 - strength, 1 + strength)
        for strength in (strengths.brightness, strengths.contrast, strengths.saturation)
    ]
    factors.append(uniform(generator, (count,), -strengths.hue, strengths.hue))
    # A processor's cache holds the intermediates of few images: a quarter faster at 96 pixels.
    size = _CACHED if images.device.type == "cpu" else max(1, count)
    parts = zip(images.split(size), torch.stack(factors, dim=1).split(size), orders.split(size), strict=True)
    return torch.cat([jitter_in_order(*part) for part in parts])


def jitter_in_order(images: Tensor, factors: Tensor, orders: Tensor) -> Tensor:
    """Change colours with given factors in a given order, clamping after each operation.

    Brightness, contrast and saturation all move an image away from a base (black, its mean grey, its grey), so one pass
    over the batch serves the samples of all three; hue is turned where it is a sample's turn.

    Args:
        images: (B, C, H, W) float in 0..1.
        factors: (B, 4) of brightness, contrast, saturation (>= 0), and hue in turns, -.5..5.
        orders: (B, 4) long: `orders[b, step]` is the operation, 0 to 3 in the order of `factors`.

    Returns:
        (B, C, H, W) float in 0..1.
    """
    factors, orders = factors.to(images.device), orders.to(images.device)
    for operation in orders.unbind(1):  # (B,)
        chosen = factors.gather(1, operation[:, None])[:, 0]
        is_hue = operation == 3
        paler = grey(images)  # (B, 1, H, W)
        mean = paler.mean(dim=(1, 2, 3), keepdim=True)
        base = _each(operation == 2, images) * paler + _each(operation == 1, images) * mean
        moved = torch.lerp(base, images, _each(torch.where(is_hue, 1.0, chosen), images)).clamp_(0.0, 1.0)
        turned = (is_hue & (chosen != 0)).nonzero()[:, 0]
        moved[turned] = hue(moved[turned], chosen[turned])
        images = moved
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
    return (red * _GREY[0] + green * _GREY[1] + blue * _GREY[2]).unsqueeze(1)


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
    largest, smallest = images.amax(1), images.amin(1)  # (B, H, W)
    chroma = largest - smallest
    flat = chroma == 0
    red, green, blue = ((largest - c) / chroma.masked_fill(flat, 1.0) for c in images.unbind(1))
    # Foley et al., Computer Graphics, the hexcone model: sector of the largest channel, red before green.
    is_red = largest == images[:, 0]
    is_green = (largest == images[:, 1]) & ~is_red
    sixths = torch.where(is_red, blue - green, torch.where(is_green, 2 + red - blue, 4 + green - red))
    turned = (sixths / 6 + _each(shift, images)[:, 0]) * 6  # (B, H, W)
    # Channel n of (value, chroma, hue), n = 5, 3, 1 for red, green, blue: value - chroma * wedge.
    channels = []
    for n in (5, 3, 1):
        angle = torch.remainder(turned + n, 6)
        wedge = torch.minimum(angle, 4 - angle).clamp_(0.0, 1.0)
        channels.append(largest - chroma * wedge)
    return torch.stack(channels, dim=1)


def _each(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.device, images.dtype).view(-1, 1, 1, 1)
