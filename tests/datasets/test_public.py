import importlib

import pytest
from jigstack import datasets


def test_every_public_name_is_there():
    for name in dir(datasets):
        assert getattr(datasets, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        importlib.import_module("jigstack.datasets").__getattr__("nothing")
