"""pytorch-tabnet 4.1's pretraining in float64: with its weights and masks ours has its outputs, loss and gradients."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from jigstack.backbones.table_backbone import TableBackbone
from jigstack.backbones.table_build import build_table_backbone
from jigstack.backbones.tabnet_peer import peer_network
from jigstack.configs.masked import MaskedOptions
from jigstack.datasets.table_column import FIRST_LEVEL, MISSING, UNKNOWN, TableColumn
from jigstack.pretext.filling import column_skill, impute
from jigstack.pretext.masked import MaskedTable
from jigstack.pretext.masked_peer import peer_loss
from pytorch_tabnet import tab_network
from pytorch_tabnet.metrics import UnsupervisedLoss
from pytorch_tabnet.utils import create_group_matrix
from torch import Tensor

SETTINGS: dict[str, Any] = {
    "n_d": 6,
    "n_a": 5,
    "n_steps": 3,
    "gamma": 1.5,
    "n_shared": 2,
    "n_independent": 2,
    "epsilon": 1e-15,
    "momentum": 0.05,
    "mask_type": "sparsemax",
    "virtual_batch_size": 64,
}
TABLES: dict[str, dict[str, Any]] = {
    "numbers": {"input_dim": 5, "cat_idxs": [], "cat_dims": [], "cat_emb_dim": []},
    "numbers and categories": {
        "input_dim": 5,
        "cat_idxs": [3, 4],
        "cat_dims": [4, 3],
        "cat_emb_dim": [2, 2],
    },
}


def columns_of(settings: dict[str, Any]) -> tuple[TableColumn, ...]:
    levels = dict(zip(settings["cat_idxs"], settings["cat_dims"], strict=True))
    return tuple(
        TableColumn(f"c{j}", "category", tuple(map(str, range(levels[j]))), (1 / levels[j],) * levels[j])
        if j in levels
        else TableColumn(f"n{j}")
        for j in range(settings["input_dim"])
    )


def build(settings: dict[str, Any], **options: Any) -> MaskedTable:
    backbone = build_table_backbone(
        "tabnet",
        columns_of(settings),
        {
            "n_d": settings["n_d"],
            "n_a": settings["n_a"],
            "steps": settings["n_steps"],
            "gamma": settings["gamma"],
            "momentum": settings["momentum"],
            "virtual_batch": settings["virtual_batch_size"],
            "category_width": 2,
            "group_scale": "mean",
            "initial_norm": True,
        },
    )
    assert isinstance(backbone, TableBackbone)
    chosen = {"mode": "pytorch-tabnet", "momentum": 0.05, "virtual_batch": 64} | options
    return MaskedTable(backbone, MaskedOptions.model_validate(chosen))


def twins(case: str, layers: int) -> tuple[Any, MaskedTable, dict[str, str]]:
    """Their network with random weights, ours with the same ones, and which name of ours is which of theirs."""
    settings = SETTINGS | TABLES[case]
    torch.manual_seed(0)
    groups = create_group_matrix([], settings["input_dim"]).double()
    theirs = tab_network.TabNetPretraining(
        **settings, group_attention_matrix=groups, n_shared_decoder=1, n_indep_decoder=layers - 1
    ).double()
    ours = build(settings, layers=layers).double()
    state = theirs.state_dict()
    assert isinstance(ours.backbone, TableBackbone)
    peer = peer_network(settings, state)
    encoder: Any = ours.backbone.encoder
    encoder.load_state_dict(peer.encoder.state_dict())
    names = {"decoder.output.weight": "decoder.reconstruction_layer.weight"}
    for name in ours.decoder.state_dict():
        their = re.sub(r"^shared\.0\.", "feat_transformers.0.shared.shared_layers.0.", name)
        their = re.sub(
            r"^transformers\.(\d)\.norms\.0\.", r"feat_transformers.\1.shared.glu_layers.0.bn.bn.", their
        )
        if norm := re.match(r"transformers\.(\d)\.norms\.(\d)\.(.*)", their):
            their = f"feat_transformers.{norm[1]}.specifics.glu_layers.{int(norm[2]) - 1}.bn.bn.{norm[3]}"
        their = re.sub(
            r"^transformers\.(\d)\.own\.(\d)\.", r"feat_transformers.\1.specifics.glu_layers.\2.fc.", their
        )
        names.setdefault(f"decoder.{name}", f"decoder.{their}")
    with torch.no_grad():
        for own, their in names.items():
            ours.state_dict()[own].copy_(state[their])
        for table in ours.backbone.input.embeddings:
            offset = 0
            for number, levels in enumerate(settings["cat_dims"]):
                offset += FIRST_LEVEL
                weight = state[f"embedder.embeddings.{number}.weight"]
                table.get_parameter("weight")[offset : offset + levels] = weight
                offset += levels
    return theirs, ours, names


def rows(case: str, count: int = 150) -> Tensor:
    """Values that float32 holds exactly; of categories the numbers that pytorch-tabnet takes."""
    generator = torch.Generator().manual_seed(1)
    settings = TABLES[case]
    x = torch.randn(count, settings["input_dim"], generator=generator).double()
    for place, levels in zip(settings["cat_idxs"], settings["cat_dims"], strict=True):
        x[:, place] = torch.randint(0, levels, (count,), generator=generator).double()
    return x


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytorch-tabnet makes sqrt(1/2) a float32 whatever the network's dtype is; so that float64 shows the algebra."""
    monkeypatch.setattr(torch, "FloatTensor", torch.DoubleTensor)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("case", TABLES)
def test_outputs_loss_and_gradients_are_those_of_pytorch_tabnet(case: str, layers: int, exact: None):
    theirs, ours, names = twins(case, layers)
    x = rows(case)
    masked = torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.4
    matrix = (theirs.embedder.embedding_group_matrix > 0).double()
    theirs.embedder.embedding_group_matrix = matrix

    def hide(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = masked.double() @ matrix
        return (1 - hidden) * features, masked.double(), hidden

    theirs.masker.forward = hide
    theirs.encoder.group_attention_matrix = matrix / matrix.sum(1, keepdim=True)
    theirs.train()
    reconstructed, features, hidden = theirs(x)
    expected = UnsupervisedLoss(reconstructed, features, hidden)
    expected.backward()

    values = x.clone()
    values[:, TABLES[case]["cat_idxs"]] += FIRST_LEVEL
    views = {"values": values, "masked": masked}
    outputs = ours.train()(views)
    loss = ours.loss(outputs, views)
    loss["loss"].backward()

    torch.testing.assert_close(outputs["reconstructed"], reconstructed, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(outputs["features"], features, atol=0, rtol=0)
    torch.testing.assert_close(loss["loss"], expected, atol=1e-10, rtol=1e-10)
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.decoder.named_parameters():
        torch.testing.assert_close(
            parameter.grad, gradients[names[f"decoder.{name}"]], atol=1e-10, rtol=1e-8, msg=name
        )
    for number, table in enumerate(ours.backbone.input.embeddings):
        assert number == 0
        grad = table.get_parameter("weight").grad
        assert grad is not None
        levels = TABLES[case]["cat_dims"]
        parts = grad.split([part for count in levels for part in (FIRST_LEVEL, count)])[1::2]
        for j, part in enumerate(parts):
            torch.testing.assert_close(
                part, gradients[f"embedder.embeddings.{j}.weight"], atol=1e-10, rtol=1e-8
            )
    splitter: Any = ours.backbone.encoder
    torch.testing.assert_close(
        splitter.splitter.own[0].weight.grad,
        gradients["encoder.initial_splitter.specifics.glu_layers.0.fc.weight"],
        atol=1e-10,
        rtol=1e-8,
    )
    for name, buffer in ours.decoder.named_buffers():
        torch.testing.assert_close(
            buffer, theirs.state_dict()[names[f"decoder.{name}"]], atol=1e-10, rtol=1e-8
        )


def test_the_loss_has_pytorch_tabnet_s_faults_too():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    features[:, 1] = -0.01  # its variance is replaced by its mean: the loss turns negative
    features[:, 2] = 0.0
    guess = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    asked = (torch.rand(50, 4, generator=generator) < 0.5).double()
    asked[0] = 0
    expected = UnsupervisedLoss(guess, features.clone(), asked)
    torch.testing.assert_close(peer_loss(guess, features, asked), expected, atol=1e-12, rtol=1e-12)
    assert expected < 0
    assert peer_loss(guess[:1], features[:1], asked[1:2]).isfinite()


def test_missing_and_unknown_cells_are_hidden_and_never_asked_for():
    method = build(SETTINGS | TABLES["numbers and categories"])
    values = rows("numbers and categories").float()
    values[:, 3:] += FIRST_LEVEL
    views = {"values": values, "masked": torch.rand(values.shape) < 0.5}
    values[::2, 0] = math.nan
    values[::3, 3] = MISSING
    values[1::3, 4] = UNKNOWN
    outputs = method.eval()(views)
    loss = method.loss(outputs, views)["loss"]
    assert loss.isfinite()
    outputs = dict(outputs, reconstructed=outputs["reconstructed"].clone())
    outputs["reconstructed"][::2, 0] += 100
    outputs["reconstructed"][::3, 3:5] += 100
    outputs["reconstructed"][1::3, 5:7] += 100
    torch.testing.assert_close(method.loss(outputs, views)["loss"], loss)


def test_reconstructed_features_are_read_as_numbers_and_nearest_levels(monkeypatch: pytest.MonkeyPatch):
    settings = SETTINGS | TABLES["numbers and categories"]
    method = build(settings).eval()
    values = rows("numbers and categories", 20).float()
    values[:, 3:] += FIRST_LEVEL
    perfect = method.backbone.input(values)
    monkeypatch.setattr(method.decoder, "decode", lambda steps: perfect + 1e-3)
    views = {"values": values, "masked": torch.ones(values.shape, dtype=torch.bool)}
    outputs = method(views)
    torch.testing.assert_close(outputs["numbers"], values[:, :3] + 1e-3)
    distance = (
        (
            outputs["reconstructed"][:, None, 3:5]
            - method.backbone.input.embeddings[0].get_parameter("weight")[3:7]
        )
        .square()
        .sum(2)
    )
    logits = outputs["levels"][:, :4]
    torch.testing.assert_close(logits - logits[:, :1], (distance[:, :1] - distance) / 2, atol=1e-4, rtol=1e-4)
    measured = method.measure(outputs, views)
    assert measured["accuracy"] == 1.0 and measured["skill"] > 0.999
    assert measured["loss"] == pytest.approx(0, abs=1e-3)


def test_it_trains_and_fills_missing_cells():
    torch.manual_seed(0)
    method = build(SETTINGS | TABLES["numbers"], momentum=0.2)
    hidden = torch.randn(400, 1)
    values = (hidden + 0.2 * torch.randn(400, 5)) / math.sqrt(1.04)
    optimiser, draws = torch.optim.AdamW(method.parameters(), lr=0.02), torch.Generator().manual_seed(0)
    losses = []
    for _ in range(120):
        views = method.views(values, draws)
        loss = method.train().loss(method(views), views)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    assert np.mean(list(column_skill(method, [values], draws).values())) > 0.3
    values[:, 0] = math.nan
    assert float(torch.corrcoef(torch.stack([impute(method, values)[:, 0], hidden[:, 0]]))[0, 1]) > 0.7


@pytest.mark.parametrize(("kind", "options"), [("mlp", {"width": 8}), ("tabnet", {"numbers": "piecewise"})])
def test_other_backbones_and_piecewise_numbers_are_refused(kind: str, options: dict[str, Any]):
    columns = [TableColumn("a", edges=(-1.0, 0.0, 1.0))]
    backbone = build_table_backbone(kind, columns, options)
    assert isinstance(backbone, TableBackbone)
    with pytest.raises(
        ValueError, match=f"mode: expected cell for the backbone {kind} with numbers: piecewise"
    ):
        MaskedTable(backbone, MaskedOptions(mode="pytorch-tabnet"))
