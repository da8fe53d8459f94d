"""Collapse, where a pretext learns to give every input the same features: noticed, explained, stopped."""

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
        outputs: std·√D of the pretext's own normalised outputs, infinite if it has no gauge of its own.
        features: the same of the backbone's features, infinite if not measured.
        rank: effective rank of the backbone's features, infinite if not measured.
    """

    outputs: float = math.inf
    features: float = math.inf
    rank: float = math.inf

    @classmethod
    def of(cls, scalars: Mapping[str, float]) -> "Gauge":
        """The gauge in an epoch's scalars.

        `outputs` is the larger one of `held_z_std` and `z_std`: a collapse takes both, while running statistics that
        have not settled lower that of held-out rows alone.
        """
        own = [scalars[name] for name in ("held_z_std", "z_std") if name in scalars]
        outputs = math.nan if any(map(math.isnan, own)) else max(own, default=math.inf)
        return cls(outputs, scalars.get("feature_std", math.inf), scalars.get("feature_rank", math.inf))

    @property
    def level(self) -> float:
        """How far it is from collapse: 1 at the threshold, less below."""
        return min(self.outputs / THIN, self.features / THIN_FEATURES)

    @property
    def finding(self) -> str:
        """What is wrong, in words; nothing if all is well."""
        if any(map(math.isnan, (self.outputs, self.features, self.rank))):
            return "the features are not finite"
        if self.outputs < THIN:
            return f"all inputs get nearly the same outputs (std·√D {self.outputs:.3f}; 1 is healthy, 0 collapsed)"
        if self.features < THIN_FEATURES:
            return f"all inputs get nearly the same features (std·√D {self.features:.4f}; 0 is collapsed)"
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
        while since < len(gauges) and gauges[-1 - since].finding:
            since += 1
        stops = self.options.collapse == "stop"
        if not since or (since > PATIENCE and not stops):
            return ""
        finding = f"{self.options.name}: {gauges[-1].finding}"
        if since == 1:
            return f"warning: {finding}; a pretext that stays so has collapsed"
        if since < PATIENCE:
            return f"warning: {finding} for {since} epochs. {self.advice}"
        if gauges[-1].level > RISE * min(gauge.level for gauge in gauges[-PATIENCE:]):
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
