"""What the sections of the config share: their manner, and the types of common values."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=80)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


def several(value: str | Sequence[str]) -> tuple[str, ...]:
    """The names of a key that takes one or several."""
    return (value,) if isinstance(value, str) else tuple(value)


def rising(value: tuple[float, float] | None) -> tuple[float, float] | None:
    """A pair of limits as it is.

    Raises:
        ValueError: the first value is not the smaller one.
    """
    if value is not None and not value[0] < value[1]:
        raise ValueError("the smaller value first")
    return value


class Section(BaseModel):
    """A frozen part of the config that forbids unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
