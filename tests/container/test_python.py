"""What of the Python packages is left out: by a rule, and never anything that is imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from image import python

# Everything that the operator and its child processes import, as paths below site-packages.
LOADED = """
import importlib, json, pkgutil, sys
import setpoint, uvloop
for module in pkgutil.walk_packages(setpoint.__path__, "setpoint."):
    if module.name != "setpoint.__main__":
        importlib.import_module(module.name)
files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
print(json.dumps([file.partition("/site-packages/")[2] for file in files if "/site-packages/" in file]))
"""


@pytest.mark.parametrize(
    "name",
    [
        "kubernetes/client/models/v1_object_meta.py",
        "kubernetes/aio/client/models/__init__.py",
        "kubernetes/client/api_client.py",
        "kopf-1.45.2.dist-info/METADATA",
        "kopf-1.45.2.dist-info/licenses/LICENSE",
        "uvloop/loop.cpython-311-x86_64-linux-gnu.so",
        "pygit2.libs/libgit2.so.1",
        "testing/tools.py",
    ],
)
def test_what_may_be_imported_stays(name: str) -> None:
    assert python.is_kept(name)


@pytest.mark.parametrize(
    "name",
    [
        "kubernetes/client/models/v1_pod.py",
        "kubernetes/aio/client/api/core_v1_api.py",
        "uvloop/loop.pyx",
        "uvloop/loop.c",
        "aiohttp/_websocket/mask.pxd",
        "annotated_types/tests/test_main.py",
        "kopf-1.45.2.dist-info/RECORD",
    ],
)
def test_what_is_never_imported_goes(name: str) -> None:
    assert not python.is_kept(name)


def test_no_module_that_the_operator_imports_is_left_out() -> None:
    answer = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = json.loads(answer.stdout)
    assert "kubernetes/client/models/v1_object_meta.py" in loaded  # it does look there
    assert [name for name in loaded if not python.is_kept(name)] == []


def test_wheels_for_newer_systems_than_the_image_are_not_taken() -> None:
    found = python.platforms("x86_64")
    assert found[0] == "manylinux_2_36_x86_64"
    assert {"manylinux2014_x86_64", "manylinux_2_28_x86_64"} <= set(found)
