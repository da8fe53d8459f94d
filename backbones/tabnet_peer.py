"""Networks of pytorch-tabnet 4.1 from its saved files, with the same outputs."""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from ..datasets.findings import name_some
from .tabnet_encoder import TabNetEncoder

_DAMAGED = (zipfile.BadZipFile, KeyError, ValueError, pickle.UnpicklingError, RuntimeError, EOFError)
_PARAMS, _NETWORK = "model_params.json", "network.pt"
_FINAL, _SEVERAL = "tabnet.final_mapping.weight", "tabnet.multi_task_mappings."


class PeerInput(nn.Module):
    """The features of a row as pytorch-tabnet makes them: numbers as they are, categories looked up.

    Args:
        places: of each category its column in the table, rising.
        embeddings: of each category its weights (levels, width).
        slots: to which slot of the attention each feature belongs.

    Attributes:
        dim: E.
        columns_in: how many columns the table has.
    """

    def __init__(self, columns: int, places: list[int], embeddings: list[Tensor], slots: Tensor) -> None:
        super().__init__()
        self.columns_in, self.places, self.dim = columns, places, len(slots)
        self.embeddings = nn.ModuleList(nn.Embedding.from_pretrained(e, freeze=False) for e in embeddings)
        self.register_buffer("slots", slots, persistent=False)

    def forward(self, x: Tensor, masked: Tensor | None = None) -> Tensor:
        """Look up.

        Args:
            x: (B, columns_in) float; of a category the number of its level, 0 to levels - 1.
            masked: (B, D) which slots are hidden: their features are 0, as in pytorch-tabnet's pretraining.

        Returns:
            (B, E) features.

        Raises:
            ValueError: the shape is another, or a category has a level that the network does not know.
        """
        if x.ndim != 2 or x.shape[1] != self.columns_in:
            raise ValueError(f"x: expected (B, {self.columns_in}), received {tuple(x.shape)}")
        looked_up = dict(zip(self.places, self.embeddings, strict=True))
        parts = []
        for column in range(self.columns_in):
            if (embedding := looked_up.get(column)) is None:
                parts.append(x[:, column : column + 1])
                continue
            assert isinstance(embedding, nn.Embedding)
            level, known = x[:, column].long(), embedding.num_embeddings
            if bool(((level < 0) | (level >= known)).any()):
                raise ValueError(
                    f"x: expected levels 0 to {known - 1} in column {column}, received {level.min()} to {level.max()}"
                )
            parts.append(embedding(level))
        features = torch.cat(parts, 1)
        return features if masked is None else features.masked_fill(masked[:, self.get_buffer("slots")], 0)


class PeerTabNet(nn.Module):
    """A whole network of pytorch-tabnet: its input, our encoder with its weights, and its last layers.

    Attributes:
        inputs, encoder: their parts.
        heads: the bias-free last layers, one for each task; none for a pretrainer.
        classes: what `model_params.json` says of the classes: number -> class, a list of such for several tasks,
            or None.
        decoder: of a pretrainer the weights of its decoder, by their names there; else empty.
    """

    def __init__(
        self,
        inputs: PeerInput,
        encoder: TabNetEncoder,
        heads: list[Tensor],
        classes: Any,
        decoder: dict[str, Tensor],
    ) -> None:
        super().__init__()
        self.inputs, self.encoder, self.classes, self.decoder = inputs, encoder, classes, decoder
        self.heads = nn.ModuleList()
        for weight in heads:
            head = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
            with torch.no_grad():
                head.weight.copy_(weight)
            self.heads.append(head)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Predict.

        Args:
            x: (B, columns) float.

        Returns:
            For each task the outputs (B, C), logits for classes; and the sparsity, which is minus that of
            pytorch-tabnet.
        """
        encoded = self.encoder(self.inputs(x))
        features = encoded.features
        return [head(features) for head in self.heads], encoded.sparsity


def read_peer(file: str | PathLike[str]) -> PeerTabNet:
    """Read what `save_model` of a TabNetClassifier, TabNetRegressor, multi-task classifier or TabNetPretrainer wrote.

    Args:
        file: the zip of `model_params.json` and `network.pt`. The latter is read as plain tensors: no code runs.

    Returns:
        The network in evaluation mode.

    Raises:
        ValueError: the file is no such zip, is damaged, or holds a network that cannot be rebuilt exactly.

    Example:
        >>> read_peer("model.zip").encoder.columns  # doctest: +SKIP
        54
    """
    try:
        with zipfile.ZipFile(file) as archive:
            params = json.loads(archive.read(_PARAMS))
            state = torch.load(io.BytesIO(archive.read(_NETWORK)), map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise ValueError(
            f"{file}: expected a zip that pytorch-tabnet's save_model wrote ({_PARAMS} and {_NETWORK}), "
            f"received something else ({error})"
        ) from error
    try:
        return peer_network(
            params["init_params"], state, (params.get("class_attrs") or {}).get("preds_mapper")
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file}: expected the settings and weights of pytorch-tabnet 4.1, received others ({error!r}); "
            "save the model again with 4.1"
        ) from error
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def peer_network(params: Mapping[str, Any], state: Mapping[str, Tensor], classes: Any = None) -> PeerTabNet:
    """Build our network from pytorch-tabnet's settings and state.

    Args:
        params: arguments of its estimators: `input_dim`, `n_d`, `cat_idxs`, ... A missing `virtual_batch_size`, which
            its files do not hold, is its default of 128.
        state: of its `TabNet` or `TabNetPretraining` network.
        classes: kept as they are.

    Returns:
        The network in evaluation mode, in the dtype of the state.

    Raises:
        ValueError: weights are missing, unexpected or of another shape.
        KeyError: a setting is missing.
    """
    if not state:
        raise ValueError(f"{_NETWORK}: expected weights, received none; the file is incomplete")
    prefix = "tabnet.encoder." if any(key.startswith("tabnet.") for key in state) else "encoder."
    left = dict(state)
    layout = _layout(params)
    dtype = next(iter(state.values())).dtype
    inputs = PeerInput(params["input_dim"], layout.places, _embeddings(left, layout), layout.slots)
    encoder = TabNetEncoder(
        layout.slots,
        n_d=params["n_d"],
        n_a=params["n_a"],
        n_steps=params["n_steps"],
        gamma=params["gamma"],
        n_shared=params["n_shared"],
        n_independent=params["n_independent"],
        virtual_batch=params.get("virtual_batch_size", 128),
        momentum=params["momentum"],
        mask=params["mask_type"],
        scale=None if bool((layout.scale == 1).all()) else layout.scale,
        initial_norm=True,
        epsilon=params["epsilon"],
    ).to(dtype)
    _fill(encoder, _ours(left, prefix, params["n_shared"]))
    heads = [left.pop(_FINAL)] if _FINAL in left else []
    while (key := f"{_SEVERAL}{len(heads)}.weight") in left:
        heads.append(left.pop(key))
    decoder = {key: left.pop(key) for key in sorted(left) if key.startswith("decoder.")}
    # A batch norm of 4.1's network that no forward pass calls.
    unknown = sorted(key for key in left if not key.startswith("tabnet.initial_bn."))
    if unknown:
        raise ValueError(f"expected only weights of pytorch-tabnet 4.1, received also {name_some(unknown)}")
    if not heads and not decoder:
        raise ValueError(f"expected {_FINAL} or a decoder, received neither; the file is incomplete")
    return PeerTabNet(inputs, encoder, heads, classes, decoder).eval()


@dataclass(frozen=True)
class _Layout:
    """Where features come from: places and widths of the categories; of each feature its slot and its scale."""

    places: list[int]
    levels: list[int]
    widths: list[int]
    slots: Tensor
    scale: Tensor


def _layout(params: Mapping[str, Any]) -> _Layout:
    columns = params["input_dim"]
    places, levels, widths = params["cat_idxs"], params["cat_dims"], params["cat_emb_dim"]
    widths = [widths] * len(places) if isinstance(widths, int) else list(widths)
    if not len(places) == len(levels) == len(widths):
        raise ValueError(
            "cat_dims, cat_emb_dim: expected as many as cat_idxs, "
            f"received {len(levels)} and {len(widths)} for {len(places)}"
        )
    # 4.1 uses the list as it was given, sorted or not, for the column after column that it passes.
    width_at = dict(zip(sorted(places), widths, strict=True))
    groups = [list(group) for group in params.get("grouped_features") or []]
    grouped = {column for group in groups for column in group}
    groups += [[column] for column in range(columns) if column not in grouped]
    slot_of = {column: (slot, 1 / len(group)) for slot, group in enumerate(groups) for column in group}
    slots, scale = [], []
    for column in range(columns):
        slot, share = slot_of[column]
        width = width_at.get(column, 1)
        slots += [slot] * width
        scale += [share / width] * width
    return _Layout(
        sorted(places), levels, widths, torch.tensor(slots), torch.tensor(scale, dtype=torch.float64)
    )


def _embeddings(left: dict[str, Tensor], layout: _Layout) -> list[Tensor]:
    found = []
    for number, shape in enumerate(zip(layout.levels, layout.widths, strict=True)):
        key = f"embedder.embeddings.{number}.weight"
        if key not in left:
            raise ValueError(
                f"expected {key}, the embedding of a category, received none; the file is incomplete"
            )
        if tuple(left[key].shape) != shape:
            raise ValueError(f"{key}: expected {shape}, received {tuple(left[key].shape)}")
        found.append(left.pop(key))
    return found


def _ours(left: dict[str, Tensor], prefix: str, n_shared: int) -> dict[str, Tensor]:
    """Take the encoder's weights out of a state and give them our names."""
    ours: dict[str, Tensor] = {}
    for key in [key for key in left if key.startswith(prefix)]:
        value, name = left.pop(key), key.removeprefix(prefix)
        # The shared layers stand under every transformer, and there twice.
        if again := re.search(r"\.shared\.(?:shared_layers\.(\d+)|glu_layers\.(\d+)\.fc)\.weight$", name):
            ours[f"shared.{again[1] or again[2]}.weight"] = value
            continue
        name = re.sub(r"^initial_splitter\.", "splitter.", name)
        name = re.sub(r"^feat_transformers\.", "transformers.", name)
        name = re.sub(r"^initial_bn\.", "initial_norm.", name)
        name = re.sub(r"^att_transformers\.(\d+)\.fc\.", r"attentions.\1.0.", name)
        name = re.sub(r"^att_transformers\.(\d+)\.bn\.bn\.", r"attentions.\1.1.", name)
        name = re.sub(r"\.specifics\.glu_layers\.(\d+)\.fc\.", r".own.\1.", name)
        name = re.sub(r"\.shared\.glu_layers\.(\d+)\.bn\.bn\.", r".norms.\1.", name)
        if own := re.search(r"\.specifics\.glu_layers\.(\d+)\.bn\.bn\.", name):
            name = f"{name[: own.start()]}.norms.{n_shared + int(own[1])}.{name[own.end() :]}"
        ours[name] = value
    return ours


def _fill(encoder: TabNetEncoder, weights: dict[str, Tensor]) -> None:
    state = encoder.state_dict()
    faults = {
        "missing": sorted(state.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - state.keys()),
        "of another shape": sorted(
            k for k in state.keys() & weights.keys() if state[k].shape != weights[k].shape
        ),
    }
    found = [f"{len(keys)} {fault}: {name_some(keys)}" for fault, keys in faults.items() if keys]
    if found:
        raise ValueError(f"expected the weights of an encoder of these settings, received {'; '.join(found)}")
    encoder.load_state_dict(weights)
