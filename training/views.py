"""The eight flips and quarter turns of a square image, by name."""

from collections.abc import Callable, Sequence

from torch import Tensor

from ..configs.heads import HeadAugment
from ..datasets.findings import did_you_mean, name_some

_APPLY: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "hflip": lambda x: x.flip(-1),
    "vflip": lambda x: x.flip(-2),
    "rot180": lambda x: x.flip(-2, -1),
    "rot90": lambda x: x.transpose(-2, -1).flip(-2),
    "rot270": lambda x: x.transpose(-2, -1).flip(-1),
    "transpose": lambda x: x.transpose(-2, -1),
    "antitranspose": lambda x: x.transpose(-2, -1).flip(-2, -1),
}

VIEWS: tuple[str, ...] = tuple(_APPLY)
"""Names in the order of `augment.dihedral`'s k: k = hflip + 2 vflip below 4, the transposing ones above."""

INVERSE: dict[str, str] = {name: name for name in VIEWS} | {"rot90": "rot270", "rot270": "rot90"}
"""The view that undoes each view."""


def apply_view(images: Tensor, name: str) -> Tensor:
    """Flip or turn every image of a batch in the same way, without any interpolation.

    Args:
        images: (..., H, W); square for the views that turn by a quarter or transpose, if shapes must stay.
        name: one of `VIEWS`. rot90 turns counter-clockwise, as `torch.rot90` does; transpose mirrors at the
            main diagonal, antitranspose at the other one.

    Returns:
        The view, of the same values; memory may be shared.

    Raises:
        ValueError: the name is unknown.

    Example:
        >>> import torch
        >>> apply_view(torch.tensor([[1, 2], [3, 4]]), "rot90").tolist()
        [[2, 4], [1, 3]]
    """
    _check(name)
    return _APPLY[name](images)


def resolve_views(setting: str | Sequence[str], augment: HeadAugment | Sequence[HeadAugment]) -> list[str]:
    """Turn the config's `features.views` into names.

    Args:
        setting: `auto` (the views that training augmentation contains; of several trainings, those that all
            contain), `none`, `hflip`, `d4` (all eight), or a list of names.
        augment: the augmentation, or those of several tasks.

    Returns:
        V names, each once, `identity` first: the plain image is always a view, also where a list omits it.

    Raises:
        ValueError: a name is unknown or stands twice.
    """
    if isinstance(setting, str):
        if setting == "auto":
            unseen = unseen_views(VIEWS, augment)
            return [name for name in VIEWS if name not in unseen]
        fixed = {"none": ["identity"], "hflip": ["identity", "hflip"], "d4": list(VIEWS)}
        if setting not in fixed:
            choices = ["auto", *fixed]
            raise ValueError(
                f"features.views: expected {', '.join(choices)} or a list of views, "
                f"received {setting!r}.{did_you_mean(setting, choices)}"
            )
        return fixed[setting]
    for name in setting:
        _check(name)
    twice = sorted({name for name in setting if list(setting).count(name) > 1})
    if twice:
        raise ValueError(
            f"features.views: expected each view once, received {name_some(twice)} more than once"
        )
    return ["identity", *(name for name in setting if name != "identity")]


def unseen_views(views: Sequence[str], augment: HeadAugment | Sequence[HeadAugment]) -> list[str]:
    """Name the views that training never showed: a network's answers to them are guesses.

    Args:
        views: names to look at.
        augment: the augmentation, or those of several tasks.

    Returns:
        Those of `views` that at least one of the trainings does not contain, in their order.

    Raises:
        ValueError: a name is unknown.
    """
    for name in views:
        _check(name)
    options = [augment] if isinstance(augment, HeadAugment) else list(augment)
    return [name for name in views if not all(name in _seen(one) for one in options)]


def _seen(augment: HeadAugment) -> set[str]:
    if augment.dihedral:
        return set(VIEWS)
    flips = {"identity"}
    if augment.hflip:
        flips.add("hflip")
    if augment.vflip:
        flips.add("vflip")
    return flips | ({"rot180"} if augment.hflip and augment.vflip else set())


def _check(name: str) -> None:
    if name not in _APPLY:
        raise ValueError(
            f"features.views: expected views among {', '.join(VIEWS)}, "
            f"received {name!r}.{did_you_mean(name, VIEWS)}"
        )
