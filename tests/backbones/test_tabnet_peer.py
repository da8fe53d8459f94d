"""Networks of pytorch-tabnet 4.1 in float64: our encoder gives the same outputs, sparsity, gradients and statistics."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jigstack.backbones.tabnet_peer import PeerTabNet, peer_network, read_peer
from pytorch_tabnet import tab_network
from pytorch_tabnet.multitask import TabNetMultiTaskClassifier
from pytorch_tabnet.pretraining import TabNetPretrainer
from pytorch_tabnet.tab_model import TabNetClassifier, TabNetRegressor
from pytorch_tabnet.utils import create_group_matrix
from torch import Tensor

COLUMNS = 7
SETTINGS: dict[str, Any] = {
    "input_dim": COLUMNS,
    "cat_idxs": [],
    "cat_dims": [],
    "cat_emb_dim": [],
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
CATEGORIES = {"cat_idxs": [1, 4], "cat_dims": [5, 3], "cat_emb_dim": [3, 2]}
CASES: dict[str, dict[str, Any]] = {
    "numbers, sparsemax": {},
    "numbers, entmax": {"mask_type": "entmax"},
    "categories, sparsemax": CATEGORIES,
    "categories, entmax": {**CATEGORIES, "mask_type": "entmax"},
    "groups of columns": {**CATEGORIES, "grouped_features": [[0, 4], [5, 6]]},
    "only shared layers": {"n_independent": 0},
    "only layers of a step": {"n_shared": 0, "n_independent": 3},
    "one step, gamma 1": {"n_steps": 1, "gamma": 1.0, "n_shared": 1},
}
HERE = pytest.mark.parametrize("case", CASES)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytorch-tabnet makes sqrt(1/2) a float32 whatever the network's dtype is; so that float64 shows the algebra."""
    monkeypatch.setattr(torch, "FloatTensor", torch.DoubleTensor)


def twins(case: str) -> tuple[Any, PeerTabNet]:
    """pytorch-tabnet's network in float64 with random weights and statistics, and ours from its state."""
    settings = {**SETTINGS, **CASES[case]}
    torch.manual_seed(0)
    groups = create_group_matrix(settings.get("grouped_features", []), COLUMNS).double()
    named = {k: v for k, v in settings.items() if k != "grouped_features"}
    theirs = tab_network.TabNet(output_dim=3, group_attention_matrix=groups, **named).double()
    # The matrix is no buffer, so that .double() passes it by; in float32 1/3 of an embedding would not be ours.
    matrix = theirs.embedder.embedding_group_matrix
    assert matrix is not None
    encoder: Any = theirs.tabnet.encoder
    encoder.group_attention_matrix = _in_double(matrix)
    with torch.no_grad():
        for name, tensor in theirs.state_dict().items():
            if name.endswith(("running_mean", "bn.bias")):
                tensor.uniform_(-0.5, 0.5)
            elif name.endswith(("running_var", "bn.weight")):
                tensor.uniform_(0.5, 1.5)
    ours = peer_network(settings, {name: value.clone() for name, value in theirs.state_dict().items()})
    return theirs, ours


def _in_double(matrix: Tensor) -> Tensor:
    """Shares are 1 over a whole number."""
    whole = (1 / matrix.double()).round()
    return torch.where(matrix > 0, 1 / whole, 0)


def rows(case: str, count: int = 200) -> Tensor:
    """Values that float32 holds exactly, since pytorch-tabnet passes numbers through it beside categories."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, COLUMNS, generator=generator).double()
    settings = {**SETTINGS, **CASES[case]}
    for place, levels in zip(settings["cat_idxs"], settings["cat_dims"], strict=True):
        x[:, place] = torch.randint(levels, (count,), generator=generator).double()
    return x


@HERE
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.usefixtures("exact")
def test_outputs_sparsity_and_all_gradients_agree(case: str, training: bool):
    theirs, ours = twins(case)
    theirs.train(training)
    ours.train(training)
    x = rows(case)
    target = torch.randn(len(x), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected, minus_sparsity = theirs(x)
    (output,), sparsity = ours(x)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(sparsity, -minus_sparsity, rtol=0, atol=1e-10)
    # The loss of its _train_batch: lambda times the sparsity, which it counts negative, is taken off.
    ((expected - target).square().mean() - 0.3 * minus_sparsity).backward()
    ((output - target).square().mean() + 0.3 * sparsity).backward()
    settings = {**SETTINGS, **CASES[case]}
    gradients = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    # Read as if they were weights, the gradients come under our names.
    state = {name: torch.zeros_like(value) for name, value in theirs.state_dict(keep_vars=False).items()}
    for name, parameter in theirs.named_parameters(remove_duplicate=False):
        if parameter.grad is not None:
            state[name] = parameter.grad
    assert len(gradients) > 10
    expected_gradients = dict(peer_network(settings, state).named_parameters())
    checked = 0
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(
            parameter.grad, expected_gradients[name].detach(), rtol=0, atol=1e-10, msg=name
        )
        checked += bool(parameter.grad.any())
    assert checked > 10


@HERE
@pytest.mark.usefixtures("exact")
def test_running_statistics_agree_after_batches_of_uneven_size(case: str):
    theirs, ours = twins(case)
    theirs.train()
    ours.train()
    for count in (200, 64, 131, 50):
        theirs(rows(case, count))
        ours(rows(case, count))
    expected = peer_network({**SETTINGS, **CASES[case]}, theirs.state_dict()).state_dict()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-10, msg=name)


@HERE
@pytest.mark.usefixtures("exact")
def test_masks_and_importance_agree(case: str):
    theirs, ours = twins(case)
    x = rows(case)
    explained, masks = theirs.eval().forward_masks(x)
    encoded = ours.encoder(ours.inputs(x))
    # Theirs are of features: a slot's share is spread over its features.
    for step, mask in enumerate(encoded.masks):
        mine = mask[:, ours.inputs.slots]
        mine = mine if ours.encoder.scale is None else mine * ours.encoder.scale
        torch.testing.assert_close(mine, masks[step], rtol=0, atol=1e-10)
    per_slot = torch.zeros(len(x), ours.encoder.columns, dtype=torch.float64)
    per_slot.index_add_(1, ours.inputs.get_buffer("slots"), explained.double())
    active = per_slot.sum(1) > 0
    assert active.any()
    expected = per_slot[active] / per_slot[active].sum(1, keepdim=True)
    # pytorch-tabnet adds its explanation up in float32.
    torch.testing.assert_close(encoded.importance[active], expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("exact")
def test_its_pretraining_network_agrees_under_the_same_prior():
    """With a fixed obfuscation: the encoder's steps are those that its decoder is given."""
    settings: dict[str, Any] = {**SETTINGS, **CATEGORIES}
    torch.manual_seed(0)
    theirs = tab_network.TabNetPretraining(group_attention_matrix=torch.eye(COLUMNS), **settings).double()
    matrix = _in_double(theirs.embedder.embedding_group_matrix)
    theirs.encoder.group_attention_matrix = matrix
    ours = peer_network(
        settings, {name: value.clone() for name, value in theirs.state_dict().items()}
    ).train()
    x = rows("categories, sparsemax")
    masked = torch.rand(len(x), COLUMNS, generator=torch.Generator().manual_seed(3)) < 0.4
    prior = 1 - masked.double()
    hidden = theirs.embedder(x) * (prior @ (matrix > 0).double())
    expected, minus_sparsity = theirs.train().encoder(hidden, prior=prior)
    encoded = ours.encoder(ours.inputs(x, masked), prior)
    for step, theirs_of_step in zip(encoded.steps, expected, strict=True):
        torch.testing.assert_close(step.relu(), theirs_of_step, rtol=0, atol=1e-10)
    torch.testing.assert_close(encoded.sparsity, -minus_sparsity, rtol=0, atol=1e-10)
    assert ours.decoder and len(ours.heads) == 0


def fitted(kind: str, folder: Path) -> tuple[Any, Path, np.ndarray]:
    """A model of pytorch-tabnet trained for one epoch and saved by itself."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, COLUMNS)).astype(np.float32)
    x[:, 1], x[:, 4] = rng.integers(0, 5, 256), rng.integers(0, 3, 256)
    options = {"n_d": 6, "n_a": 5, "verbose": 0, "device_name": "cpu", "seed": 3, **CATEGORIES}
    how = {"max_epochs": 1, "batch_size": 128, "virtual_batch_size": 64, "drop_last": False}
    if kind == "classifier":
        model = TabNetClassifier(**options)
        model.fit(x, np.array(["no", "yes", "maybe"])[rng.integers(0, 3, 256)], **how)
    elif kind == "tasks":
        model = TabNetMultiTaskClassifier(**options)
        model.fit(x, rng.integers(0, 2, (256, 2)) * 3, **how)
    elif kind == "regressor":
        model = TabNetRegressor(**options, mask_type="entmax")
        model.fit(x, rng.normal(size=(256, 2)).astype(np.float32), **how)
    else:
        model = TabNetPretrainer(**options)
        model.fit(x, **how)
    return model, Path(model.save_model(str(folder / kind))), x


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
@pytest.mark.filterwarnings("ignore")
def test_a_saved_model_predicts_the_same(kind: str, tmp_path: Path):
    model, file, x = fitted(kind, tmp_path)
    ours = read_peer(file)
    assert not ours.training
    with torch.no_grad():
        (output,), _ = ours(torch.from_numpy(x))
    if kind == "classifier":
        np.testing.assert_allclose(output.softmax(1).numpy(), model.predict_proba(x), atol=1e-5)
        assert ours.classes == {"0": "maybe", "1": "no", "2": "yes"}
    else:
        np.testing.assert_allclose(output.numpy(), model.predict(x), atol=1e-4)
        assert ours.classes is None


@pytest.mark.filterwarnings("ignore")
def test_a_saved_model_of_several_tasks_has_a_head_for_each(tmp_path: Path):
    model, file, x = fitted("tasks", tmp_path)
    ours = read_peer(file)
    with torch.no_grad():
        outputs, _ = ours(torch.from_numpy(x))
    for output, expected in zip(outputs, model.predict_proba(x), strict=True):
        np.testing.assert_allclose(output.softmax(1).numpy(), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_saved_pretrainer_gives_the_same_steps(tmp_path: Path):
    model, file, x = fitted("pretrainer", tmp_path)
    ours = read_peer(file)
    rows = torch.from_numpy(x)
    with torch.no_grad():
        expected, _ = model.network.eval().encoder(model.network.embedder(rows))
        encoded = ours.encoder(ours.inputs(rows))
    for step, theirs in zip(encoded.steps, expected, strict=True):
        torch.testing.assert_close(step.relu(), theirs, atol=1e-5, rtol=1e-5)
    assert ours.decoder.keys() == {k for k in model.network.state_dict() if k.startswith("decoder.")}


def written(path: Path, params: Any, state: Any) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model_params.json", params if isinstance(params, str) else json.dumps(params))
        held = io.BytesIO()
        torch.save(state, held)
        archive.writestr("network.pt", held.getvalue())
    return path


class Code:
    """What a hostile file could hold."""


@pytest.mark.filterwarnings("ignore")
def test_files_that_it_cannot_rebuild_are_refused(tmp_path: Path):
    theirs, _ = twins("numbers, sparsemax")
    params, state = {"init_params": SETTINGS}, theirs.state_dict()
    read_peer(written(tmp_path / "good.zip", params, state))

    def refused(params: Any, state: Any, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            read_peer(written(tmp_path / "bad.zip", params, state))

    text = tmp_path / "text.zip"
    text.write_text("no zip")
    with pytest.raises(ValueError, match="expected a zip that pytorch-tabnet's save_model wrote"):
        read_peer(text)
    with zipfile.ZipFile(tmp_path / "half.zip", "w") as archive:
        archive.writestr("model_params.json", "{}")
    with pytest.raises(ValueError, match=r"no item named 'network\.pt'"):
        read_peer(tmp_path / "half.zip")
    refused("{", state, "expected a zip that pytorch-tabnet")
    refused([], state, "expected the settings and weights of pytorch-tabnet 4.1")
    refused({"init_params": {k: v for k, v in SETTINGS.items() if k != "n_d"}}, state, "'n_d'")
    refused(params, Code(), "weights_only")
    refused(params, [1, 2], "expected the settings and weights of pytorch-tabnet 4.1")
    refused(params, {}, "expected weights, received none")
    refused(
        {"init_params": {**SETTINGS, "mask_type": "softmax"}},
        state,
        "mask: expected one of sparsemax, entmax",
    )
    refused({"init_params": {**SETTINGS, "n_steps": 4}}, state, "missing: 'attentions.3")
    refused({"init_params": {**SETTINGS, "n_d": 7}}, state, "of another shape")
    refused({"init_params": {**SETTINGS, **CATEGORIES}}, state, "expected embedder.embeddings.0.weight")
    refused(params, {**state, "extra": torch.zeros(1)}, "received also 'extra'")
    refused(params, {k: v for k, v in state.items() if "final" not in k}, "or a decoder, received neither")


def test_rows_that_it_does_not_know_are_refused():
    _, ours = twins("categories, sparsemax")
    x = rows("categories, sparsemax")
    with pytest.raises(ValueError, match=r"x: expected \(B, 7\), received \(200, 6\)"):
        ours(x[:, :6])
    x[0, 4] = 3
    with pytest.raises(ValueError, match="x: expected levels 0 to 2 in column 4"):
        ours(x)


@pytest.mark.usefixtures("exact")
def test_both_train_along_one_loss_curve():
    """A few steps of Adam with clipped gradients; later every rounding grows, in their network as in ours."""
    theirs, ours = twins("categories, sparsemax")
    x, curves = rows("categories, sparsemax", 256), []
    target = (x[:, :3] > 0).double()
    for network in (theirs.train(), ours.train()):
        adam, losses = torch.optim.Adam(network.parameters(), 0.02), []
        for step in range(8):
            part = slice(step % 2 * 128, step % 2 * 128 + 128)
            outputs, sparsity = network(x[part])
            if network is theirs:
                sparsity = -sparsity
            else:
                (outputs,) = outputs
            loss = (outputs - target[part]).square().mean() + 1e-3 * sparsity
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            adam.step()
            losses.append(loss.item())
        curves.append(losses)
    assert curves[0][-1] < 0.7 * curves[0][0]
    assert curves[1] == pytest.approx(curves[0], rel=1e-6)
