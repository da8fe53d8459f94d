"""Names of methods."""

import pytest
from jigstack.configs import registry
from jigstack.configs.heads import Options
from jigstack.configs.pretext import JigsawOptions


class Mine(Options):
    strength: float = 1.0


class Method:
    pass


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PRETEXTS", dict(registry.PRETEXTS))


def test_every_name_leads_to_options_and_to_code():
    for kind in registry.PRETEXTS:
        assert issubclass(registry.options_class(kind), Options)
        assert callable(registry.implementation(kind))
    assert registry.options_class("jigsaw") is JigsawOptions


def test_a_method_of_ones_own_is_found_by_its_name_and_may_be_registered_again():
    registry.register_pretext("mine", options=Mine, implementation=Method)
    registry.register_pretext("mine", options=Mine, implementation=Method)
    assert registry.options_class("mine") is Mine
    assert registry.implementation("mine") is Method


def test_a_pretext_says_whether_it_takes_images_or_tables():
    assert (registry.modality("jigsaw"), registry.modality("masked")) == ("image", "table")
    registry.register_pretext("mine", options=Mine, implementation=Method, modality="table")
    assert registry.modality("mine") == "table"


def test_an_unknown_name_is_told_with_the_likely_one():
    with pytest.raises(ValueError) as caught:
        registry.options_class("jigsw")
    assert str(caught.value) == (
        "kind: expected one of jigsaw, tiles, simsiam, dino, lejepa, masked, simsiam_rows, received 'jigsw'; "
        "did you mean 'jigsaw'?"
    )


def test_a_name_of_jigstack_cannot_be_taken():
    with pytest.raises(ValueError, match="expected one that jigstack does not use itself, received 'jigsaw'"):
        registry.register_pretext("jigsaw", options=Mine, implementation=Method)


def test_a_name_of_another_plugin_cannot_be_taken():
    registry.register_pretext("mine", options=Mine, implementation=Method)
    other = type("Other", (), {"__module__": "elsewhere"})
    with pytest.raises(ValueError, match="expected one that no other plug-in uses, received 'mine'"):
        registry.register_pretext("mine", options=Mine, implementation=other)


def test_options_must_be_an_options_class():
    with pytest.raises(ValueError, match="options: expected a subclass of"):
        registry.register_pretext("mine", options=dict, implementation=Method)
