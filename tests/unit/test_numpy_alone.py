"""The core and the commands that need no file run where nothing but numpy is installed."""

import json
import subprocess
import sys

import pytest

import pyenhance

# Every other package is as good as not installed: what this environment has for the tests must not help.
ALONE = """
import importlib.abc, sys
class NumpyAlone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names | {"numpy", "pyenhance"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NumpyAlone())
"""


def _alone(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", ALONE + code], capture_output=True, text=True, check=False)


def _command(*arguments: str) -> subprocess.CompletedProcess:
    return _alone(f"from pyenhance.cli import main; sys.exit(main({list(arguments)!r}))")


def test_enhance() -> None:
    done = _alone("import numpy as np, pyenhance; print(pyenhance.enhance(np.zeros(960, np.float32), 48_000).shape)")
    assert done.returncode == 0 and done.stdout.strip() == "(960,)", done.stderr


def test_bench() -> None:
    done = _command("bench", "--model", "tiny", "-k", "2", "--seconds", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["k"] == 2 and row["model"] == "tiny" and row["us_mean"] > 0
    assert "threadpoolctl" in done.stderr, "says that the number of threads is numpy's own"


@pytest.mark.parametrize("arguments", [("info", "--json"), ("model", "list"), ("model", "verify", "tiny")])
def test_other_commands(arguments: tuple[str, ...]) -> None:
    done = _command(*arguments)
    assert done.returncode == 0 and done.stdout, done.stderr


def test_the_version_is_stated_once() -> None:
    done = _command("--version")
    assert done.stdout.strip() == f"pyenhance {pyenhance.__version__}"
