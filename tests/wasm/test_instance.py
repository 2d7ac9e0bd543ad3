"""Live sound without Python: a model's image in a WebAssembly instance of its own."""

import json
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pyenhance import Enhancer, load_model
from pyenhance.backend.structures import FIELDS, layout
from pyenhance.dsp import HOP, SignalSpec
from pyenhance.model import Model
from pyenhance.model.image import BASE, field_offsets, write_image

from ..conftest import PATIENCE_S, ROOT, noisy_voice
from ..networks import lean_by_chance, small_weights

SCRIPT = Path(__file__).with_name("instance.mjs")


@pytest.mark.parametrize("model", ["tiny", "default", "lean"])
def test_instance_and_python_give_the_same_bits(model: str, site: Path, node: str, tmp_path: Path) -> None:
    """Also from one to the other in the middle of a stream, both ways; and where hops wait."""
    files = []
    if model == "lean":
        files = [tmp_path / "weights", tmp_path / "image"]
        weights = lean_by_chance("default")
        for path, data in zip(files, (weights, write_image(load_model(weights))), strict=True):
            path.write_bytes(data)
    done = subprocess.run([node, SCRIPT, site, model, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["kernel"] in ("simd", "relaxed")
    assert facts["bits"] and facts["handed_over"] and facts["strength"]
    lean = facts["lean"]
    assert lean["bits"] and len(set(lean["hops"])) == 1 and (0 < lean["hops"][0] < 240) == lean["has"]
    assert model != "lean" or lean["has"]
    assert 0 < lean["trial"]["us_min"] <= lean["trial"]["us_max"] >= lean["trial"]["us_mean"] > 0
    assert facts["gains"] == 34 and 96 <= facts["facts"][0] <= 768 and 0.001 < facts["rms"] < 0.2
    assert facts["finite"] and "65; accepted: 1 to 64" in facts["refused"]
    change = facts["change"]
    assert change["followed_bits"], "an instance that follows another is where Enhancer.switch is"
    assert change["of_python"] == [True, False], "Python goes over within one hop"
    assert change["old_until"] and 16 <= change["after"] <= 24, "the old model is heard until the new one is there"
    of_both, *of_each = change["steps"]
    assert of_both <= 1.05 * max(of_each), "no click"
    warm, cold = change["apart"]
    assert warm < 0.5 * cold and change["late"] < warm, "the new model sounds as if it had been there all along"
    assert change["latencies"] == [30 * 48 if model == "tiny" else 10 * 48] * 2 == change["hasty"][:1] * 2
    assert change["unheard"]


def _heard(weights: bytes, site: Path, node: str, folder: Path) -> tuple[dict, Model, np.ndarray]:
    """What `lean.mjs` says of a model that heard some sound, the model for numpy, and the sound, hop by hop."""
    model = load_model(weights, "numpy")
    hops = noisy_voice(1.2)[: HOP * 110].reshape(-1, HOP)
    for name, data in (("weights", weights), ("image", write_image(model)), ("sound", hops.tobytes())):
        (folder / name).write_bytes(data)
    given = [folder / name for name in ("weights", "image", "sound", "out")]
    done = subprocess.run(
        [node, SCRIPT.with_name("lean.mjs"), site, *given], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["kernel"] in ("simd", "relaxed")
    return facts["lean"], model, hops


def test_lean_layers_in_an_instance(site: Path, node: str, tmp_path: Path) -> None:
    """Which frames are full, and the sound, are numpy's, hop by hop, whatever waits."""
    lean, model, hops = _heard(small_weights(SignalSpec(), lean=True), site, node, tmp_path)
    choices = {
        "0": lambda hop: {"backlog": 0},
        "2": lambda hop: {"backlog": 2},
        "by times": lambda hop: {"backlog": hop % 7 if hop % 7 < 3 else 0},
        "lean": lambda hop: {"lean": True},
    }
    for name, choice in choices.items():
        enhancer = Enhancer(model)
        expected = np.concatenate([enhancer.process_hops(hop[None], **choice(k)) for k, hop in enumerate(hops)]).ravel()
        assert lean[name] == enhancer.stats["lean_hops"]
        found = np.fromfile(tmp_path / f"out-{name}", np.float32)
        assert np.std(found - expected) < 1e-3 * np.std(expected), name
    assert 0 < lean["0"] < lean["by times"] < lean["2"] == lean["lean"] == len(hops) - 1


@pytest.mark.parametrize("signal", [SignalSpec(), SignalSpec(fine_bins=32)])
def test_layers_over_bands_in_an_instance(site: Path, node: str, tmp_path: Path, signal: SignalSpec) -> None:
    _, model, hops = _heard(small_weights(signal, bands=True), site, node, tmp_path)
    expected = Enhancer(model).process_hops(hops).ravel()
    found = np.fromfile(tmp_path / "out-0", np.float32)
    assert np.std(found - expected) < 1e-3 * np.std(expected)


def _parts(image: bytes) -> tuple[dict, bytes]:
    length = struct.unpack("<I", image[:4])[0]
    return json.loads(image[4 : 4 + length]), image[4 + length :]


def test_an_image_is_whole_and_always_the_same() -> None:
    model = load_model("tiny", "numpy")
    image = write_image(model)
    assert image == write_image(model)
    header, rest = _parts(image)
    assert header["layout"] == layout() and header["sha256"] == model.metadata["sha256"]
    assert sum(size for _, size in header["segments"]) == len(rest)
    end = BASE
    for address, size in sorted(header["segments"]):
        assert end <= address and address + size <= BASE + header["size"]
        end = address + size
    placed = {entry["tensor"]: entry for entry in header["weights"]}
    begun = model.network.spec.initial
    matrices = {name: value for name, value in model.tensors.items() if value.dtype == np.int8 and name not in begun}
    assert {name: (entry["outputs"], entry["inputs"]) for name, entry in placed.items()} == {
        name: value.shape for name, value in matrices.items()
    }
    state = model.new_state().parts()
    assert {name: size for name, (_, size) in header["state"].items()} == {n: a.nbytes for n, a in state.items()}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_lie_as_a_32_bit_compiler_lays_them(name: str, tmp_path: Path) -> None:
    """Against clang for WebAssembly, which build.sh has installed for the site."""
    versions = dict(line.split("=", 1) for line in (ROOT / "wasm/versions.env").read_text().split() if "=" in line)
    offsets, size = field_offsets(name)
    checks = [f'_Static_assert(__builtin_offsetof(struct {name}, {f}) == {at}, "{f}");' for f, at in offsets.items()]
    checks.append(f'_Static_assert(sizeof(struct {name}) == {size}, "size");')
    source = tmp_path / "check.c"
    source.write_text("\n".join(['#include "structures.h"', *checks]))
    compiler = (f"clang-{versions['LLVM']}", "--target=wasm32", "-ffreestanding", "-fsyntax-only")
    done = subprocess.run(
        [*compiler, f"-I{ROOT / 'pyenhance' / 'backend'}", source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("thread", ["audio", "worker"])
def test_hours_of_live_sound_in_small(thread: str, site: Path, node: str) -> None:
    """What `soak.mjs` runs for hours: starts and stops, a worker that stands still, silence, clocks that wrap."""
    script = Path(__file__).parents[1] / "perf/soak.mjs"
    command = [node, "--expose-gc", script, site, "tiny", "0.05", thread]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["running"] and facts["lost"] == facts["moved"] == 0
    assert facts["compared"] > 5e5 and facts["starts"] == facts["stops"] >= 6
    if thread == "worker":
        assert facts["underruns"] <= facts["stood_still"] >= 3 and facts["hops_missing"] == 0
    else:  # what was heard before the instance came it hears beside the first blocks
        assert facts["underruns"] == facts["late"] == facts["hops_missing"] == 0
        assert facts["delay_ms"] == {"end": 10, "most": 10}
    assert facts["state"]["relative_db"] < -30


def test_the_audio_thread_enhances(site: Path, node: str) -> None:
    """The bits of the instance alone; another model midway; what is too slow there, or does not run, is given up."""
    script = SCRIPT.with_name("audio_thread.mjs")
    done = subprocess.run([node, script, site], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["shared"] == facts["messages"] > 100_000
    for name in ("memory of 8 bytes", "structures", "hops is 4"):
        assert sum(name in message for message in facts["refused"]) == 2, facts["refused"]
