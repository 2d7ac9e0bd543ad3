"""The very wheel that the site carries, installed in a clean environment and in Pyodide."""

import base64
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
from pyenhance.live import LiveEngine
from pyenhance.model import available_models, stream_models

BUDGET_BYTES = 10_000_000  # which the page announces


@pytest.fixture(scope="module")
def engine(site: Path) -> Path:
    """The library's folder."""
    return site / "engine"


@pytest.fixture(scope="module")
def manifest(engine: Path) -> dict:
    return json.loads((engine / "manifest.json").read_text())


def test_manifests_are_what_lies_there(site: Path, engine: Path, manifest: dict) -> None:
    import hashlib

    for folder, listed, apart in (
        (site, json.loads((site / "manifest.json").read_text()), "sw.js"),
        (engine, manifest, ""),
    ):
        there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"manifest.json", apart}
        assert there == set(listed["files"])
        for name, entry in listed["files"].items():
            data = (folder / name).read_bytes()
            digest = hashlib.sha256(data)
            integrity = f"sha256-{base64.b64encode(digest.digest()).decode()}"
            assert (len(data), integrity) == (entry["bytes"], entry["integrity"])
            assert entry.get("sha256", digest.hexdigest()) == digest.hexdigest()
    described = json.loads((site / "manifest.json").read_text())["files"]
    version = hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
    assert f'VERSION = "{version}"' in (site / "sw.js").read_text()
    assert manifest["numpy_origin"] in ("source", "distribution")


def test_models_are_declared_as_they_are(manifest: dict) -> None:
    assert sorted(manifest["models"]) == stream_models()
    assert sorted([*manifest["models"], *manifest["whole"]]) == available_models()
    assert set(manifest["whole"].values()) <= set(manifest["files"])
    for name, declared in manifest["models"].items():
        live = LiveEngine(name)
        expected = {"latency_samples": live.latency_samples, "num_bands": live.num_bands}
        assert {key: declared[key] for key in expected} == expected
        for kind in ("weights", "image"):
            assert declared[kind] in manifest["files"]


def test_lock_lists_exactly_what_is_loaded(engine: Path, manifest: dict) -> None:
    lock = json.loads((engine / "pyodide" / "pyodide-lock.json").read_text())
    wheels = {p.name for p in (engine / "pyodide").glob("*.whl")}
    assert {entry["file_name"] for entry in lock["packages"].values()} == wheels
    assert set(lock["packages"]) == {"numpy", "pyenhance"} == set(manifest["wheels"])
    for entry in lock["packages"].values():
        assert entry["sha256"] == manifest["files"][f"pyodide/{entry['file_name']}"]["sha256"]


def test_no_page_or_script_names_another_host(site: Path) -> None:
    for path in site.rglob("*"):
        if path.name == "docs.html":  # its text does, where a reader may go
            assert not re.search(r"""<(?!a )[^>]*["'](https?:)?//""", path.read_text())
        elif "pyodide" not in path.parts and "vendor" not in path.parts and path.suffix in (".html", ".js", ".css"):
            assert not re.search(r"(https?:)?//[\w.-]+\.\w{2,}", path.read_text().replace("//www.w3.org/2000/svg", ""))


def test_wheel_is_pure_and_complete(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
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


def test_the_sites_wheel_is_ours_without_what_lies_beside_it(engine: Path, manifest: dict, wheel: Path) -> None:
    whole, ours = zipfile.ZipFile(wheel), zipfile.ZipFile(engine / manifest["wheels"]["pyenhance"])
    for name in ours.namelist():
        if not name.endswith(".dist-info/METADATA"):
            assert ours.read(name) == whole.read(name), name
            continue
        fields, _, readme = whole.read(name).partition(b"\n\n")
        assert ours.read(name) == fields + b"\n" and readme.startswith(b"# pyenhance")
    left_out = set(whole.namelist()) - set(ours.namelist())
    assert {"pyenhance/live.py", "pyenhance/lab.py", "pyenhance/weights/__init__.py"} <= set(ours.namelist())
    for name in (name for name in left_out if name.endswith(".safetensors")):
        folder = engine / "models" / ("" if Path(name).stem in stream_models() else "whole")
        assert (folder / Path(name).name).read_bytes() == whole.read(name)


def test_wheel_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
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


def test_size_budget(site: Path, engine: Path) -> None:
    """What a first visit loads, as a compressing server sends it."""
    apart = ("sample", "how", "docs", "source.html", "mine", "page.png", "gate", "manifest", "sw.js")
    page = [p for p in (*site.glob("*.*"), *engine.glob("*.js")) if not p.name.startswith(apart)]
    live = (engine / "models" / name for name in ("default.safetensors", "default.image", "relaxed.wasm"))
    sizes = {p.name: len(gzip.compress(p.read_bytes())) for p in (*page, *live, *engine.glob("pyodide/*"))}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    assert sum(sizes.values()) < BUDGET_BYTES, largest
    html = (site / "index.html").read_text()
    assert "The first visit loads some 10 MB" in html
    shown = {"index.html", *(Path(name).name for name in re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', html))}
    assert sum(sizes[name] for name in shown if name in sizes) < 45_000, "the page itself must be there at once"
