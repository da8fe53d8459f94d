"""The encoder of TabNet on features: steps that each look at a few columns, chosen row by row."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .folding import fold_into
from .ghost_norm import GhostBatchNorm1d
from .linear import Linear
from .sparsemax import entmax15, sparsemax

MASKS = {"sparsemax": sparsemax, "entmax": entmax15}
_HALF = math.sqrt(0.5)


@dataclass(frozen=True)
class Encoded:
    """What the encoder found in a batch; the notation is that of the paper.

    Attributes:
        steps: for each step d_i (B, n_d), before its ReLU.
        masks: for each step M_i (B, D): the shares of attention that a row gives the columns, summing to 1.
        epsilon: keeps the logarithm of the sparsity finite.
    """

    steps: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    epsilon: float

    @property
    def features(self) -> Tensor:
        """(B, n_d): the sum of ReLU(d_i), from which the paper predicts."""
        return torch.stack(self.steps).relu().sum(0)

    @property
    def sparsity(self) -> Tensor:
        """The scalar L_sparse: the mean entropy of the masks, nats; 0 if each row looks at one column a step."""
        total = torch.stack([(mask * (mask + self.epsilon).log()).sum() for mask in self.masks]).sum()
        return total / -(len(self.masks) * len(self.masks[0]))

    @property
    def importance(self) -> Tensor:
        """(B, D): the masks weighted by how much each step adds to the features; rows sum to 1.

        A row that no step adds anything to shows the plain mean of its masks.
        """
        eta = torch.stack([step.relu().sum(1) for step in self.steps])  # (S, B)
        eta = torch.where(eta.sum(0) > 0, eta, torch.ones_like(eta))
        aggregate = (eta[:, :, None] * torch.stack(self.masks)).sum(0)  # (B, D)
        return aggregate / aggregate.sum(1, keepdim=True)


class TabNetEncoder(nn.Module):
    """Feature and attentive transformers in steps (Arik & Pfister, AAAI 2021, figure 4a).

    With the weights of pytorch-tabnet 4.1 its outputs, sparsity and gradients are those of that library, see
    `tabnet_peer`. The linear layers of the shared part are shared by all steps, their batch norms are not.
    Random weights come from torch's global generator (Glorot uniform, as the paper's code).

    Args:
        slots: (E,) to which column, 0 to D - 1, each feature belongs; every column has one or more.
        n_d: features that a step hands to the prediction.
        n_a: features that it hands to the next step's attention.
        n_steps: S; the first attention comes from a feature transformer of its own, which is no step.
        gamma: how freely a column is used again, 1 or more: with 1 only by one step.
        n_shared: linear layers of the feature transformers that all steps share.
        n_independent: those that each has for itself.
        virtual_batch: rows over which batch norm takes its statistics; None: the whole batch.
        momentum: of the running statistics.
        eps: of batch norm.
        mask: `sparsemax` or `entmax` (denser).
        scale: (E,) factors of the attention that each feature gets; None: 1, so a column counts the same however
            many features it has. A tensor is of the dtype of the weights.
        initial_norm: whether the features first pass a batch norm over the whole batch, as the paper's raw ones do.
        forbid_masked: whether a column whose prior is 0 gets no attention at all; the paper gives it logit 0, which
            can win. Rows whose every prior is 0 keep the paper's way.
        epsilon: of the sparsity's logarithm.

    Attributes:
        dim: n_d.
        columns: D.

    Raises:
        ValueError: an argument is out of range, or the slots leave a column out.

    Example:
        >>> TabNetEncoder(slots=[0, 1, 1])(torch.zeros(4, 3)).features.shape
        torch.Size([4, 8])
    """

    def __init__(
        self,
        slots: Sequence[int] | Tensor,
        n_d: int = 8,
        n_a: int = 8,
        n_steps: int = 3,
        gamma: float = 1.3,
        n_shared: int = 2,
        n_independent: int = 2,
        virtual_batch: int | None = 128,
        momentum: float = 0.02,
        eps: float = 1e-5,
        mask: Literal["sparsemax", "entmax"] = "sparsemax",
        scale: Sequence[float] | Tensor | None = None,
        *,
        initial_norm: bool = False,
        forbid_masked: bool = False,
        epsilon: float = 1e-15,
    ) -> None:
        super().__init__()
        slots = torch.as_tensor(slots, dtype=torch.long)
        _check(slots, n_d, n_a, n_steps, gamma, n_shared, n_independent, mask)
        self.dim, self.n_a, self.gamma, self.epsilon = n_d, n_a, gamma, epsilon
        self.mask, self.forbid_masked = mask, forbid_masked
        features, self.columns = len(slots), int(slots.max()) + 1
        self._plain = torch.equal(slots, torch.arange(features))
        # Not persistent: they come from the columns, which the card holds.
        self.register_buffer("slots", slots, persistent=False)
        given = None if scale is None else torch.as_tensor(scale)
        if given is not None and given.shape != slots.shape:
            raise ValueError(f"scale: expected one for each of the {features} slots, received {len(given)}")
        self.scale: Tensor | None
        self.register_buffer("scale", given, persistent=False)
        self.initial_norm = GhostBatchNorm1d(features, None, 0.01, eps) if initial_norm else None

        def norm(width: int) -> GhostBatchNorm1d:
            return GhostBatchNorm1d(width, virtual_batch, momentum, eps)

        hidden = n_d + n_a
        widths = [features, *[hidden] * (n_shared + n_independent - 1)]
        self.shared = nn.ModuleList(_linear(width, 2 * hidden) for width in widths[:n_shared])

        def transformer() -> FeatureTransformer:
            own = [_linear(width, 2 * hidden) for width in widths[n_shared:]]
            return FeatureTransformer(own, [norm(2 * hidden) for _ in widths])

        self.splitter = transformer()
        self.attentions = nn.ModuleList(
            nn.Sequential(_linear(n_a, self.columns), norm(self.columns)) for _ in range(n_steps)
        )
        self.transformers = nn.ModuleList(transformer() for _ in range(n_steps))

    def forward(self, features: Tensor, prior: Tensor | None = None) -> Encoded:
        """Encode rows.

        Args:
            features: f (B, E).
            prior: P_0 (B, D), 0 where a column shall not be looked at; None: 1 everywhere.

        Returns:
            The steps and their masks.

        Raises:
            ValueError: a shape is another.
        """
        slots = self.get_buffer("slots")
        if features.ndim != 2 or features.shape[1] != len(slots):
            raise ValueError(f"features: expected (B, {len(slots)}), received {tuple(features.shape)}")
        if prior is not None and prior.shape != (len(features), self.columns):
            raise ValueError(
                f"prior: expected ({len(features)}, {self.columns}), one for each column, received {tuple(prior.shape)}"
            )
        f = features if self.initial_norm is None else self.initial_norm(features)  # (B, E)
        forbidden = _forbidden(prior) if self.forbid_masked and prior is not None else None
        h = self.splitter(f, self.shared)
        a = h.split([h.shape[1] - self.n_a, self.n_a], 1)[1]
        steps, masks = [], []
        for attention, transformer in zip(self.attentions, self.transformers, strict=True):
            z = attention(a)  # (B, D)
            if prior is not None:
                z = z * prior
            if forbidden is not None:
                z = z.masked_fill(forbidden, -math.inf)
            m = MASKS[self.mask](z)
            prior = self.gamma - m if prior is None else (self.gamma - m) * prior
            h = transformer(self._of_features(m) * f, self.shared)
            d, a = h.split([self.dim, h.shape[1] - self.dim], 1)
            steps.append(d)
            masks.append(m)
        return Encoded(tuple(steps), tuple(masks), self.epsilon)

    def fold_norms(self) -> None:
        """Make it faster for prediction, in place: each transformer gets layers of its own with its norms in them.

        What nothing reads is left out: of the splitter the d part, of the last step the a part. It cannot be trained
        afterwards, and its state fits no other encoder.
        """
        last = len(self.transformers) - 1
        self.splitter.fold(self.shared, slice(self.dim, None))
        for number, transformer in enumerate(self.transformers):
            assert isinstance(transformer, FeatureTransformer)
            transformer.fold(self.shared, slice(self.dim) if number == last else slice(None))
        self.shared = nn.ModuleList()

    def _of_features(self, m: Tensor) -> Tensor:
        """A mask of columns (B, D) as one of features (B, E)."""
        if not self._plain:
            m = m.index_select(1, self.get_buffer("slots"))
        return m if self.scale is None else m * self.scale


class FeatureTransformer(nn.Module):
    """Layers GLU(norm(linear)), each after the first added to what came before it (figure 4c).

    Args:
        own: linear layers of this transformer; they follow the shared ones.
        norms: one for each layer, shared ones first.
    """

    def __init__(self, own: Sequence[nn.Linear], norms: Sequence[GhostBatchNorm1d]) -> None:
        super().__init__()
        self.own, self.norms = nn.ModuleList(own), nn.ModuleList(norms)
        self.kept = slice(None)

    def forward(self, x: Tensor, shared: nn.ModuleList) -> Tensor:
        """Transform.

        Args:
            x: (B, E).
            shared: the linear layers before its own; they belong to the encoder.

        Returns:
            (B, n_d + n_a), or fewer of them once folded.
        """
        h, last = None, len(self.norms) - 1
        for number, (linear, norm) in enumerate(zip([*shared, *self.own], self.norms, strict=True)):
            u = F.glu(norm(linear(x if h is None else h)))
            if h is not None:
                # Halving the variance of a sum of two keeps training stable (section "Feature processing").
                u = u.add_(h[:, self.kept] if number == last else h).mul_(_HALF)
            h = u
        assert h is not None
        return h

    def fold(self, shared: nn.ModuleList, kept: slice) -> None:
        """Take copies of the shared layers, put the norms into all layers, and compute only some of the outputs.

        Args:
            shared: the linear layers before its own.
            kept: which of the n_d + n_a outputs.
        """
        layers = [copy.deepcopy(linear) for linear in [*shared, *self.own]]
        for linear, norm in zip(layers, self.norms, strict=True):
            fold_into(linear, norm)
        # GLU: the first half of the outputs times the sigmoid of the second.
        for name in ("weight", "bias"):
            value, gate = getattr(layers[-1], name).chunk(2)
            rows = torch.cat([value[kept], gate[kept]])
            setattr(layers[-1], name, nn.Parameter(rows, requires_grad=False))
        self.own, self.kept = nn.ModuleList(layers), kept
        self.norms = nn.ModuleList(nn.Identity() for _ in layers)


def _linear(inputs: int, outputs: int) -> Linear:
    linear = Linear(inputs, outputs, bias=False)
    nn.init.xavier_uniform_(linear.weight)
    return linear


def _forbidden(prior: Tensor) -> Tensor:
    """(B, D): where the prior is 0, but in no row everywhere."""
    zero = prior == 0
    return zero & ~zero.all(1, keepdim=True)


def _check(
    slots: Tensor,
    n_d: int,
    n_a: int,
    n_steps: int,
    gamma: float,
    n_shared: int,
    n_independent: int,
    mask: str,
) -> None:
    if (
        slots.ndim != 1
        or len(slots) == 0
        or not torch.equal(slots.unique(), torch.arange(int(slots.max()) + 1))
    ):
        raise ValueError(
            f"slots: expected the column 0 to D - 1 of each feature, none left out, received {slots.tolist()}"
        )
    counts = {
        "n_d": n_d,
        "n_a": n_a,
        "n_steps": n_steps,
        "n_shared + n_independent": n_shared + n_independent,
    }
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, received {value}")
    if min(n_shared, n_independent) < 0:
        raise ValueError(
            f"n_shared, n_independent: expected 0 or more, received {n_shared} and {n_independent}"
        )
    if not gamma >= 1:
        raise ValueError(f"gamma: expected 1 or more, received {gamma}; below it a prior could turn negative")
    if mask not in MASKS:
        raise ValueError(f"mask: expected one of {', '.join(MASKS)}, received {mask!r}")
