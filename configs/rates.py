"""Learning rates and weight decays that suit each kind of backbone."""

from typing import Literal

ADAMW: dict[str, tuple[float, float]] = {
    "timm": (1e-3, 0.05),
    "tabnet": (2e-2, 0.0),
    "mlp": (1e-3, 0.05),
    "resmlp": (1e-3, 0.05),
    "cnn1d": (1e-3, 0.05),
}
"""Kind of backbone -> peak learning rate and weight decay of AdamW."""


def suited(optimiser: Literal["adamw", "sgd"], kind: str, batch: int) -> tuple[float, float]:
    """What `auto` means.

    Args:
        optimiser: that of the training.
        kind: of the backbone, a key of `ADAMW`.
        batch: rows between two changes of the weights.

    Returns:
        Peak learning rate and weight decay. Of sgd .05 · batch / 256 (Goyal et al. 2017) and 1e-4, whatever the
        backbone.

    Example:
        >>> suited("adamw", "tabnet", 64)
        (0.02, 0.0)
    """
    return ADAMW[kind] if optimiser == "adamw" else (0.05 * batch / 256, 1e-4)
