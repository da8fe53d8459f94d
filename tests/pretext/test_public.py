import importlib
import subprocess
import sys

import pytest
from jigstack import pretext


def test_every_public_name_is_there():
    for name in pretext.__all__:
        assert getattr(pretext, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        importlib.import_module("jigstack.pretext").__getattr__("nothing")


def test_importing_the_room_costs_nothing():
    code = (
        "import sys, jigstack.pretext; print([m for m in ('torch', 'pandas', 'sklearn') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
