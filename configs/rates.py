"""Learning rates and weight decays that suit each kind of backbone."""

from collections.abc import Sequence
from typing import Literal

ADAMW: dict[str, tuple[float, float]] = {
    "timm": (1e-3, 0.05),
    "tabnet": (2e-2, 0.0),
    "mlp": (3e-3, 0.05),
    "resmlp": (3e-3, 0.05),
    "cnn1d": (3e-3, 0.05),
}
"""Kind of backbone -> peak learning rate and weight decay of AdamW.

Measured from random weights on 300 to 4,000 rows of five tables in batches of 64 and 256, 3 to 30 epochs, one to four
seeds: accuracy for sensors and digits, R2 for cells and diabetes. TabNet at 1e-3 hardly leaves its start (sensors .27,
digits .19, cells -.02, diabetes .03) and learns at .02 (.62, .78, .26, .28); decay made no difference that seeds do not
make, so it has the paper's, none. The others did better at 3e-3 than at 1e-3: mlp sensors .96 and .90, cells .74 and
.70, digits .97 and .96; resmlp sensors .99 and .82, cells .74 and .72, digits alike. At 1e-2 the mlp now won, now
lost. The 1-D CNN was measured little (digits .95 and .94). From masked pretraining, 500 labelled sensors, two seeds:
TabNet .93 at .02 and .84 at 5e-3 (from random weights .89 and .66); mlp .91 at 3e-3 and .83 at 1e-3 (.89 and .73).
"""


def suited(optimiser: Literal["adamw", "sgd"], kind: str | Sequence[str], batch: int) -> tuple[float, float]:
    """What `auto` means.

    Args:
        optimiser: that of the training.
        kind: of the backbone, a key of `ADAMW`; of joined ones all kinds.
        batch: rows between two changes of the weights.

    Returns:
        Peak learning rate and weight decay. Of sgd .05 · batch / 256 (Goyal et al. 2017) and 1e-4, whatever the
        backbone. Of several kinds the smallest rate and the largest decay, of which `shares` gives each its part.

    Example:
        >>> suited("adamw", "tabnet", 64)
        (0.02, 0.0)
    """
    if optimiser == "sgd":
        return 0.05 * batch / 256, 1e-4
    rates, decays = zip(*(ADAMW[each] for each in ([kind] if isinstance(kind, str) else kind)), strict=True)
    return min(rates), max(decays)


def shares(kinds: Sequence[str]) -> list[tuple[float, float]]:
    """How joined backbones share the rate and the weight decay of their network, in the ratio of their own.

    Returns:
        For each kind a factor of 1 or more on the rate, and one of 0 to 1 on the decay.

    Example:
        >>> shares(["timm", "tabnet"])
        [(1.0, 1.0), (20.0, 0.0)]
    """
    rate, decay = suited("adamw", kinds, 1)
    return [(ADAMW[kind][0] / rate, ADAMW[kind][1] / decay if decay else 1.0) for kind in kinds]
