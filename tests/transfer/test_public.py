import importlib
import subprocess
import sys

import pytest
from jigstack import transfer


def test_every_public_name_is_there():
    for name in transfer.__all__:
        assert getattr(transfer, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        importlib.import_module("jigstack.transfer").__getattr__("nothing")


def test_importing_the_room_costs_nothing():
    code = "import sys, jigstack.transfer; print([m for m in ('torch', 'pandas', 'sklearn') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
