"""The package: its rooms are what is there, and importing it loads nothing heavy."""

import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import qbench

ROOMS = sorted({module.name for module in pkgutil.iter_modules(qbench.__path__)} - {"__main__"})


def test_the_rooms_are_the_modules_there_are():
    assert dir(qbench) == sorted([*ROOMS, "__version__"])
    with pytest.raises(
        AttributeError, match="qbench has no room 'attic'; it has .*book, .*training"
    ):
        qbench.attic  # noqa: B018


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_opens(room):
    module = getattr(qbench, room)
    assert isinstance(module, ModuleType) and module.__doc__


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, qbench\n"
        "print([m for m in ('torch', 'pandas', 'pydantic', 'plotly') if m in sys.modules])\n"
        "print(qbench.reference.sources()[0], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "ducasse2021 False"]
