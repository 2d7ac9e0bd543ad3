"""Python in Pyodide, under Node."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import PATIENCE_S

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def wheel(site: Path) -> Path:
    """Our wheel, whole: the site's lacks what lies beside it there."""
    (path,) = site.parent.glob("pyenhance-*.whl")
    return path


@pytest.fixture(scope="session")
def in_pyodide(site: Path, node: str, wheel: Path) -> Callable[[str], dict]:
    """Run one of the files beside this one with our wheel; returns the JSON that is its last expression."""

    def run(name: str) -> dict:
        command = [node, HERE / "run_python.mjs", site.parent / "fetched.json", wheel, HERE / name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
