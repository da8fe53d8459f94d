"""Collapse, where a pretext learns to give every picture the same features: noticed, explained, stopped."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..configs.errors import UserError
from ..configs.schema import Pretext

THIN = 0.1
"""Least healthy std·√D of a pretext's own outputs: 1 if spread evenly, and those pass a batch-norm (or start spread),
so that nothing but collapse brings them near 0."""
THIN_FEATURES = 0.01
"""The same for the features of the backbone: averages of positive numbers, which lie close together by nature
(docs/guide.md has measured values)."""
FLAT_RANK = 1.05
"""Least healthy effective rank of the features: 1 is a single line through 0."""
PATIENCE = 3
"""Collapsed epochs in a row that end the training; one or two can be a transient of a warm-up."""
RISE = 1.5
"""Growth of std·√D over those epochs that is a recovery: running statistics of a batch-norm need some steps to settle,
which on small data takes epochs."""


class Collapsed(UserError):
    """A pretraining whose features carry nothing; its last checkpoint is kept."""


@dataclass(frozen=True)
class Gauge:
    """What one epoch says of the features.

    Attributes:
        std: std·√D of the normalised outputs.
        rank: their effective rank, NaN if not measured.
        own: whether `std` is of the pretext's own outputs, or else of the backbone's features.
    """

    std: float
    rank: float = math.inf
    own: bool = False

    @classmethod
    def of(cls, scalars: Mapping[str, float]) -> "Gauge | None":
        """The gauge in an epoch's scalars: `held_z_std`, else `z_std`, else `feature_std`; None without any."""
        for name in ("held_z_std", "z_std", "feature_std"):
            if name in scalars:
                own = name != "feature_std"
                return cls(scalars[name], scalars.get("feature_rank", math.inf), own)
        return None

    @property
    def finding(self) -> str:
        """What is wrong, in words; nothing if all is well."""
        if math.isnan(self.std) or math.isnan(self.rank):
            return "the features are not finite"
        if self.std < (THIN if self.own else THIN_FEATURES):
            return f"all pictures get nearly the same features (std·√D {self.std:.3f}; 1 is healthy, 0 collapsed)"
        if self.rank < FLAT_RANK:
            return f"all features lie on one line (effective rank {self.rank:.2f})"
        return ""


@dataclass(frozen=True)
class Watch:
    """Judges a pretraining by its epochs so far; it keeps no state, so a resumed run judges as an unbroken one.

    Args:
        options: the pretext, from which the advice follows.
    """

    options: Pretext

    def judge(self, history: Sequence[Mapping[str, float]]) -> str:
        """What there is to say after the last of the epochs, nothing if it is healthy.

        The first collapsed epoch in a row is reported, the second comes with advice, and the third ends the training.
        With `collapse: warn` it does not, and later ones are silent. Nothing is stopped while the features spread.

        Args:
            history: the scalars of every epoch so far.

        Raises:
            Collapsed: three epochs in a row or more are collapsed and the options say `stop`.
        """
        gauges = [Gauge.of(scalars) for scalars in history]
        since = 0
        while since < len(gauges) and (gauge := gauges[-1 - since]) is not None and gauge.finding:
            since += 1
        stops = self.options.collapse == "stop"
        if not since or (since > PATIENCE and not stops):
            return ""
        last = gauges[-1]
        finding = f"{self.options.name}: {last.finding if last else ''}"
        if since == 1:
            return f"warning: {finding}; a pretext that stays so has collapsed"
        if since < PATIENCE:
            return f"warning: {finding} for {since} epochs. {self.advice}"
        if last is not None and last.std > RISE * min(gauge.std for gauge in gauges[-PATIENCE:] if gauge):
            return ""
        if not stops:
            return f"warning: {finding} for {since} epochs: collapsed, and goes on as asked. {self.advice}"
        raise Collapsed(
            f"pretext {finding} for epochs {len(gauges) - since + 1} to {len(gauges)}: it has collapsed, and more "
            f"epochs do not mend that. {self.advice} The last checkpoint is kept (last.ckpt); the same command goes on "
            "from it with collapse: warn."
        )

    @property
    def advice(self) -> str:
        """The probable causes and values to try, the likeliest first."""
        options = self.options
        lr = options.rates()[0]
        tries = [f"lr: {lr / 3:.2g} (now {lr:g})"]
        if options.batch < 64:
            tries.append(f"batch: {max(64, 2 * options.batch)} (now {options.batch})")
        if options.warmup < 0.1:
            tries.append(f"warmup: 0.1 (now {options.warmup:g})")
        return (
            "Probable causes: too high a learning rate, too small a batch, augmentation that leaves too little in "
            "common or too much, or, in a pretext of your own, no stop-gradient or predictor. "
            f"Try {', '.join(tries)}."
        )
