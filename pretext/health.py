"""Signs of collapse, where all inputs get the same features."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def spread(features: Tensor) -> Iterator[tuple[str, float]]:
    """Yield how far features of different inputs lie apart.

    Args:
        features: (B, D) of different inputs.

    Yields:
        `feature_std`: standard deviation of the normalised features times √D, 1 if spread evenly, 0 if collapsed (Chen
        and He 2021, section 4.1); `feature_rank`: exp of the entropy of the singular values, 1..min(B, D) (Garrido et
        al. 2023, RankMe). Both are NaN where a feature is not finite.
    """
    features = features.detach().float()
    if not bool(torch.isfinite(features).all()):
        yield "feature_std", float("nan")
        yield "feature_rank", float("nan")
        return
    unit = F.normalize(features, dim=1)
    yield "feature_std", float(unit.std(dim=0, correction=0).mean() * unit.shape[1] ** 0.5)
    values = torch.linalg.svdvals(features)
    shares = values / values.sum().clamp_min(1e-12) + 1e-7
    yield "feature_rank", float(torch.exp(-(shares * shares.log()).sum()))
