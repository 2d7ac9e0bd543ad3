"""numpy's own core tests on the numpy that the site carries: once for each wheel that was built from source."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT

HERE = Path(__file__).parent
TEST_WHEELS = ["pytest==9.2.0", "hypothesis==6.155.7"]  # hypothesis: the last release without a compiled part
LEAST = 20_000
"""Tests that must have passed; fewer were not numpy's core tests."""
LONGEST_S = 1500  # on a slow machine they take five minutes by themselves, those that numpy calls slow left out


def _download(folder: Path) -> None:
    """pytest and hypothesis as pure wheels for Pyodide's Python."""
    pure = ["--only-binary=:all:", "--platform", "any", "--python-version", "3.14", "--abi", "none"]
    command = [sys.executable, "-m", "pip", "download", "-q", *pure, "-d", folder, *TEST_WHEELS]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_S + 60)
def test_numpys_core_tests(site: Path, node: str, tmp_path: Path) -> None:
    fetched = json.loads((ROOT / "dist" / "fetched.json").read_text())
    wheel = Path(fetched["numpy"])
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if fetched["numpy_origin"] == "distribution":
        lock = json.loads((Path(fetched["pyodide"]) / "pyodide-lock.json").read_text())
        assert digest == lock["packages"]["numpy"]["sha256"], "not the wheel that Pyodide's own tests have passed"
        return
    record = wheel.with_name("core-tests.json")
    if not record.exists() or json.loads(record.read_text())["sha256"] != digest:
        _download(tmp_path)
        tree = wheel.with_name("tests")
        names = sorted(path.relative_to(tree) for path in (tree / "numpy" / "_core" / "tests").glob("test_*.py"))
        command = [node, HERE / "numpy_core_tests.mjs", fetched["pyodide"], tree, tmp_path]
        command += [f"/tree/{name}" for name in names]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        record.write_text(json.dumps({"sha256": digest} | json.loads(done.stdout.splitlines()[-1])))
    counts = json.loads(record.read_text())
    if counts["exit"] != 0:
        record.unlink()  # looked at again next time
    assert counts["exit"] == 0 and counts["passed"] >= LEAST and not counts["failures"], counts
