"""The very wheel that the site carries, installed in a clean environment and in Pyodide."""

import gzip
import json
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import pyenhance
from pyenhance import enhance

BUDGET_BYTES = 9_900_000


@pytest.fixture(scope="module")
def manifest(site: Path) -> dict:
    return json.loads((site / "manifest.json").read_text())


def test_manifest_is_what_lies_there(site: Path, manifest: dict) -> None:
    import hashlib

    there = {str(p.relative_to(site)) for p in site.rglob("*") if p.is_file()} - {"manifest.json", "sw.js"}
    assert there == set(manifest["files"])
    for name, entry in manifest["files"].items():
        data = (site / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    version = hashlib.sha256((site / "manifest.json").read_bytes()).hexdigest()[:16]
    assert f'VERSION = "{version}"' in (site / "sw.js").read_text()
    assert manifest["numpy_origin"] in ("source", "distribution")


def test_lock_lists_exactly_what_is_loaded(site: Path, manifest: dict) -> None:
    lock = json.loads((site / "pyodide" / "pyodide-lock.json").read_text())
    wheels = {p.name for p in (site / "pyodide").glob("*.whl")}
    assert {entry["file_name"] for entry in lock["packages"].values()} == wheels
    assert set(lock["packages"]) == {"numpy", "pyenhance"} == set(manifest["wheels"])
    for entry in lock["packages"].values():
        assert entry["sha256"] == manifest["files"][f"pyodide/{entry['file_name']}"]["sha256"]


def test_no_page_or_script_names_another_host(site: Path) -> None:
    for path in site.iterdir():
        if path.suffix in (".html", ".js", ".css"):
            assert not re.search(r"(https?:)?//[\w.-]+\.\w{2,}", path.read_text().replace("//www.w3.org/2000/svg", ""))


def test_wheel_is_pure_and_complete(site: Path, manifest: dict) -> None:
    path = site / manifest["wheels"]["pyenhance"]
    assert path.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(path).namelist()
    for needed in (
        "weights/default.safetensors",
        "weights/default.md",
        "live.py",
        "backend/enhance.c",
        "backend/network.c",
        "backend/signal.c",
        "backend/structures.h",
        "backend/enhance_simd.wasm",
        "backend/enhance_relaxed.wasm",
    ):
        assert f"pyenhance/{needed}" in names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


def test_wheel_in_a_clean_environment(site: Path, manifest: dict, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    wheel = site / manifest["wheels"]["pyenhance"]
    command = [sys.executable, "-m", "pip", "-q", "--python", python, "install", "--no-deps", wheel]
    subprocess.run(command, check=True, capture_output=True)
    # The environment has no numpy of its own: the one that runs these tests is lent to it, and nothing else is.
    code = f"""
import sys
sys.path.append({str(Path(np.__file__).parents[1])!r})
import numpy as np, pyenhance
assert pyenhance.__file__.startswith({str(tmp_path)!r}), pyenhance.__file__
y = pyenhance.enhance(np.random.default_rng(0).normal(0, 0.05, 48000), 48000)
print(pyenhance.__version__, float(np.std(y)))
"""
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == pyenhance.__version__ and float(done.stdout.split()[1]) < 0.03


def test_wheel_in_pyodide_gives_cpythons_result(in_pyodide: Callable[[str], dict]) -> None:
    facts = in_pyodide("in_pyodide_wheel.py")
    assert facts["version"] == pyenhance.__version__ and facts["platform"] == "emscripten" and facts["same"]
    assert facts["bench"]["model"] == "untrained-tiny" and facts["bench"]["us_p50"] > 0
    x = (0.05 * np.sin(1e-5 * np.arange(48_000.0) ** 2)).astype(np.float32)
    y = enhance(x, 48_000)
    difference = np.array(facts["y"]) - y[::100]
    assert np.std(difference) < 0.05 * np.std(y)


def test_size_budget(site: Path, manifest: dict) -> None:
    """What a first visit loads, as a compressing server sends it."""
    page = [name for name in manifest["files"] if "/" not in name and not name.startswith(("sample", "how"))]
    engine = [name for name in manifest["files"] if name.startswith("pyodide/")]
    sizes = {name: len(gzip.compress((site / name).read_bytes())) for name in (*page, *engine)}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    assert sum(sizes.values()) < BUDGET_BYTES, largest
    assert sum(sizes[name] for name in page) < 60_000, "the page itself must be there at once"
