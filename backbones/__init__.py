"""Networks that turn an input into `dim` features, in ordered stages, and their checkpoints."""

from .build import build_backbone, starting_from
from .checkpoint import from_card, load_backbone, load_weights, read_card, read_seen, save_backbone
from .finite import not_finite, refuse_not_finite
from .folding import batch_norms, fold_batch_norm
from .joined import JoinedBackbone
from .peer_checkpoint import convert_peer
from .timm_backbone import TimmBackbone

__all__ = [
    "JoinedBackbone",
    "TimmBackbone",
    "batch_norms",
    "build_backbone",
    "convert_peer",
    "fold_batch_norm",
    "from_card",
    "load_backbone",
    "load_weights",
    "not_finite",
    "read_card",
    "read_seen",
    "refuse_not_finite",
    "save_backbone",
    "starting_from",
]
