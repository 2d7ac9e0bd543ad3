"""The door to compiled code: what crosses it, what is refused, and why numpy runs instead."""

import ctypes
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pyenhance import Enhancer, backend, load_model
from pyenhance.backend import (
    BLOCK_HOPS,
    CompiledStream,
    Program,
    SignalTables,
    StreamState,
    choose,
    library,
    structures,
)
from pyenhance.backend.check import meaningless_weights, network_differs, signal_differs
from pyenhance.backend.stream import compiled_analyser
from pyenhance.backend.structures import CONSTANTS, FIELDS, HEADER, array, fill, header, layout
from pyenhance.cli import main
from pyenhance.dsp import SignalSpec, comb, ideal, pitch
from pyenhance.nn import ACTIVATIONS, KINDS, Network

from ..conftest import ROOT, noisy_voice
from ..networks import every_layer

# Structures


def test_the_header_is_what_is_made() -> None:
    assert HEADER.read_text() == header(), "python -m pyenhance.backend.structures writes it"
    assert f"LAYOUT = {layout()}" in HEADER.read_text()


def test_constants_cross() -> None:
    text = header()
    for name, value in {
        "HOP": 480,
        "BINS": 481,
        "MAX_BANDS": 64,
        "MIN_PERIOD": pitch.MIN_PERIOD,
        "MAX_PERIOD": pitch.MAX_PERIOD,
        "ORDER": comb.COMB_ORDER,
        "BLOCK_HOPS": BLOCK_HOPS,
    }.items():
        assert f"  {name} = {value},\n" in text and CONSTANTS[name] == value
    assert f"enum {{ {', '.join(KINDS).upper()} }};" in text
    assert f"enum {{ {', '.join(ACTIVATIONS).upper()} }};" in text


def test_c_retypes_none_of_the_constants() -> None:
    """A number that the header names is not written out in C, small ones apart."""
    from re import findall, sub

    named = {str(value) for value in CONSTANTS.values() if value > 64}
    for path in library.SOURCES:
        if path.suffix == ".c":
            text = sub(r"//.*", "", path.read_text())
            assert not named & set(findall(r"(?<![\w.])\d+(?![\w.])", text)), path


def test_any_change_of_the_fields_changes_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    before = layout()
    swapped = dict(reversed(FIELDS["affine"].items()))
    for change in ({"affine": swapped}, {"source": FIELDS["source"] | {"more": "int32_t"}}):
        with monkeypatch.context() as patch:
            patch.setattr(structures, "FIELDS", FIELDS | change)
            assert layout() != before
    with monkeypatch.context() as patch:
        patch.setitem(CONSTANTS, "HOP", 481)
        assert layout() != before
    assert layout() == before


def _affine(**changes: object) -> dict:
    weight, scale, bias = np.zeros((4, 16), np.int8), np.zeros(4, np.float32), np.zeros(4, np.float32)
    values = {"weight": weight, "scale": scale, "bias": bias, "rows": 4, "columns": 16} | changes
    return {name: value for name, value in values.items() if value is not ...}


def test_a_structure_is_filled_by_name() -> None:
    values = _affine()
    affine = fill("affine", **values)
    assert (affine.rows, affine.columns) == (4, 16)
    for name in ("weight", "scale", "bias"):
        assert getattr(affine, name) == values[name].ctypes.data
    backwards = fill("affine", **dict(reversed(values.items())))
    assert bytes(backwards) == bytes(affine)
    assert fill("affine", **_affine(bias=None)).bias is None
    pointers = dict.fromkeys(("layers", "seen", "second", "sums", "gates", "full"))
    network = fill("network", num_layers=0, turn=-1, **pointers)
    assert network.size == ctypes.sizeof(network)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bias": ...}, r"fields \['bias'\] are missing or unknown"),
        ({"more": 1}, r"fields \['more'\] are missing or unknown"),
        ({"size": 4}, r"fields \['size'\] are missing or unknown"),
        ({"scale": np.zeros(4)}, "scale is an array of float64; accepted: float"),
        ({"scale": np.zeros(4, np.int32)}, "scale is an array of int32; accepted: float"),
        ({"scale": np.zeros(4, ">f4")}, "scale is an array of >f4; accepted: float"),
        ({"weight": np.zeros((4, 16), np.uint8)}, "weight is an array of uint8; accepted: int8_t"),
        ({"weight": np.zeros((16, 4), np.int8).T}, "weight is an array of int8; accepted: int8_t, C-contiguous"),
        ({"bias": np.zeros(8, np.float32)[::2]}, "bias is an array of float32; accepted: float, C-contiguous"),
        ({"bias": [0.0]}, "bias is list; accepted: float"),
        ({"bias": 140_000_000}, "bias is int; accepted: float"),
        ({"bias": ctypes.c_int32(5)}, "bias is c_int; accepted: float"),
        ({"rows": 4.0}, "rows|float"),
        ({"rows": None}, "rows|None"),
    ],
)
def test_what_a_field_cannot_take_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        fill("affine", **_affine(**changes))


def test_structures_of_another_name_are_refused() -> None:
    affine = fill("affine", **_affine())
    source = fill("source", **{"from": np.zeros((1, 4), np.float32), "width": 4, "stride": 4})
    nothing = dict.fromkeys(("layers", "seen", "second", "sums", "gates", "full"))
    for wrong in (affine, array("affine", [affine]), np.zeros(4, np.float32)):
        with pytest.raises(TypeError, match="network: layers is"):
            fill("network", num_layers=1, turn=-1, **nothing | {"layers": wrong})
    with pytest.raises(TypeError):
        array("affine", [source])


def test_both_sides_check_the_size(native_library: ctypes.CDLL) -> None:
    spec = SignalSpec()
    tables = SignalTables(spec, np.zeros((BLOCK_HOPS, spec.num_features), np.float32), threading.Lock())
    state = StreamState(spec, np.zeros(0, np.float32))
    stream = CompiledStream(native_library, tables, None, state)
    hops, gain = np.ones((1, 480), np.float32), np.ones((1, spec.num_bands), np.float32)
    frames = stream.analyse(hops)
    before = state.signal.block.copy()
    for structure in (stream.structure, tables.structure):
        structure.size += 4
        with pytest.raises(RuntimeError, match="made for another library"):
            stream.analyse(hops)
        with pytest.raises(RuntimeError, match="made for another library"):
            stream.synthesise(frames, gain, gain, dry=0.0, postfilter=True)
        structure.size -= 4
    np.testing.assert_array_equal(state.signal.block, before)
    spec = every_layer()
    program = Program(Network(spec, meaningless_weights(spec)), native_library)
    program.structure.size += 8
    with pytest.raises(RuntimeError, match="refuses its structure"):
        program(np.zeros((1, spec.inputs), np.float32), np.zeros(spec.memory_size, np.float32), ["first"])


# What runs, and why not something faster


def _info(capsys: pytest.CaptureFixture[str]) -> dict:
    assert main(["info", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def unforced(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user has it: no kernel is named."""
    monkeypatch.delenv("PYENHANCE_KERNEL")
    monkeypatch.setattr("pyenhance.model.registry._loaded", {})


def test_kernels_by_name(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend.available_kernels() == ["numpy"]
    assert choose() == choose("numpy") == backend.Backend("numpy", "numpy", {})
    monkeypatch.setattr("pyenhance.model.registry._loaded", {})  # by other tests
    monkeypatch.setenv("PYENHANCE_KERNEL", "simd")
    with pytest.raises(ValueError, match=r"'simd': unknown here; accepted: numpy"):
        choose()
    with pytest.raises(ValueError, match=r"'native': not compiled: see `pyenhance compile`; accepted: numpy"):
        load_model("tiny", "native")


def test_nothing_is_compiled_unasked(unforced: None, empty_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = _info(capsys)
    assert facts["kernel"] == facts["signal_kernel"] == "numpy"
    assert facts["why_not"] == {"native": "network: not compiled: see `pyenhance compile`"}
    assert not empty_cache.exists()
    assert main(["info"]) == 0 and "not compiled: see `pyenhance compile`" in capsys.readouterr().out


def test_the_fastest_runs(unforced: None, with_native: None, capsys: pytest.CaptureFixture[str]) -> None:
    facts = _info(capsys)
    assert facts["kernel"] == facts["signal_kernel"] == "native" and not facts.get("why_not")
    stats = Enhancer("tiny").stats
    assert stats["kernel"] == stats["signal_kernel"] == "native"
    assert choose("numpy").network == "numpy"


def test_a_library_of_other_structures_is_refused(
    unforced: None, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """One whose header has two fields in another order: it must not be called."""
    folder = tmp_path / "changed"
    folder.mkdir()
    for source in library.SOURCES:
        (folder / source.name).write_text(source.read_text())
    with monkeypatch.context() as patch:
        fields = dict(FIELDS["affine"])
        patch.setattr(structures, "FIELDS", FIELDS | {"affine": {"bias": fields.pop("bias")} | fields})
        (folder / HEADER.name).write_text(header())
        other = layout()
    target = library.native_path()
    target.parent.mkdir(parents=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", target, folder / "enhance.c"], check=True)
    facts = _info(capsys)
    assert facts["kernel"] == facts["signal_kernel"] == "numpy"
    reason = f"{target.name} was made from other structures ({other} instead of {layout()})"
    assert facts["why_not"] == {"native": f"network: {reason}"}
    assert Enhancer("tiny").stats["kernel"] == "numpy"
    with pytest.raises(ValueError, match="was made from other structures"):
        load_model("tiny", "native")


def test_a_library_that_cannot_be_loaded_is_refused(
    unforced: None, empty_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = library.native_path()
    target.parent.mkdir(parents=True)
    target.write_bytes(b"no library")
    facts = _info(capsys)
    assert facts["kernel"] == "numpy" and "cannot load it" in facts["why_not"]["native"]


def test_a_library_without_the_functions_is_refused(
    unforced: None, empty_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.c").write_text("int analyse(void) { return 0; }")
    target = library.native_path()
    target.parent.mkdir(parents=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", target, tmp_path / "other.c"], check=True)
    facts = _info(capsys)
    assert facts["kernel"] == "numpy" and "cannot load it" in facts["why_not"]["native"]


# Each makes compiled code compute something else: `from` in the file becomes `to`.
_FAULTS = {
    "the sums": ("network.c", "* seen[k + i];", "* (seen[k + i] & 0x3f);", "network"),
    "tanh": ("network.c", "power_of_two(2.88539008f * x)", "power_of_two(1.44269504f * x)", "network"),
    "whose turn it is": ("network.c", "*turn >= FULL_EVERY", "*turn < FULL_EVERY", "network"),
    "what lean frames go on from": ("network.c", "(float)seen[k] - kept[k]", "(float)seen[k]", "network"),
    "what lean frames add": ("network.c", "kept[width + k] + (float)", "kept[width + k] - (float)", "network"),
    "what a convolution remembers": ("network.c", "= seen[(f + 1) * row + edge + k]", "= seen[k]", "network"),
    "a gate": ("network.c", "h[k] = (h[k] - c) * of_z[k] + c;", "h[k] = (h[k] - c) * of_r[k] + c;", "network"),
    "which band of a source": ("network.c", "t * source->stride + b * width", "t * source->stride", "network"),
    "what lies beyond the last band": ("network.c", "(f + 1) * row - 1 - k] = 0;", "k] = 99;", "network"),
    "the windows over several frames": ("network.c", "seen + f * row + b * band", "seen + b * band", "network"),
    "what the GRU of a band sees": ("network.c", "seen + b * inputs", "seen", "network"),
    "the window": ("signal.c", "frame[2 * n] * g->window[2 * n],", "frame[2 * n],", "signal path"),
    "the pitch": ("signal.c", "return rough + REFINE - index;", "return rough + REFINE - index / 2;", "signal path"),
    "the comb": ("signal.c", "(ORDER - j) * period", "(j - ORDER) * period / 2", "signal path"),
    "the level": ("signal.c", "level[1] = memory * level[1]", "level[1] = level[1]", "signal path"),
    "the post-filter": ("signal.c", "gain[b] = warped[b] * scale;", "gain[b] = warped[b];", "signal path"),
    "the high-pass": ("rumble.c", "part[0] * re - part[1]", "part[0] * re + part[1]", "signal path"),
    "when it is in": ("rumble.c", "rumble[0] > much", "rumble[0] < much", "signal path"),
    "what it does to the lowest bins": ("rumble.c", "copy(spectrum, low, 2 * MENDED);", "", "signal path"),
    "what it does to the others": ("rumble.c", "bin[0] = re * factor[0] - im * factor[1];", "", "signal path"),
    "the untouched sound": ("signal.c", "rfft(g, raw, untouched)", "rfft(g, raw + 1, untouched)", "signal path"),
    "the untouched share": ("signal.c", "float wet = 1 - dry;", "float wet = 1;", "signal path"),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_code_that_computes_something_else_is_turned_down(
    fault: str, unforced: None, empty_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, before, after, half = _FAULTS[fault]
    for source in library.SOURCES:
        text = source.read_text()
        assert source.name != name or before in text
        (tmp_path / source.name).write_text(text.replace(before, after) if source.name == name else text)
    target = library.native_path()
    target.parent.mkdir(parents=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", target, tmp_path / "enhance.c"], check=True)
    facts = _info(capsys)
    assert (
        facts["why_not"]["native"].startswith(f"{half}: ") and "differs from numpy's by" in facts["why_not"]["native"]
    )
    assert facts["signal_kernel"] == "numpy"
    assert facts["kernel"] == ("native" if half == "signal path" else "numpy"), "each half by itself"
    hops = noisy_voice(0.3).reshape(-1, 480)
    found, expected = (Enhancer(load_model("tiny", kernel)).process_hops(hops) for kernel in (None, "numpy"))
    assert np.std(found - expected) < 0.02 * np.std(expected)


SPECS = [SignalSpec(bands, ahead) for ahead in range(5) for bands in (8, 24, 34, 50, 64)]


@pytest.mark.parametrize("spec", [*SPECS, *(SignalSpec(34, ahead, fine) for ahead in (0, 2) for fine in (1, 32, 48))])
def test_every_signal_path_passes_the_check(native_library: ctypes.CDLL, spec: SignalSpec) -> None:
    assert signal_differs(native_library, spec) is None


@pytest.mark.parametrize("spec", [SignalSpec(), SignalSpec(12, 0, 20)])
def test_ideal_values_from_compiled_frames(native_library: ctypes.CDLL, spec: SignalSpec) -> None:
    """What training's mixes are made with: several blocks of the compiled code, and of `ideal`."""
    noisy = noisy_voice(3.0)
    clean = noisy * np.linspace(0, 1, len(noisy), dtype=np.float32)
    expected = ideal(spec, noisy, clean)
    found = ideal(spec, noisy, clean, analyser=compiled_analyser(spec, native_library))
    for name, value in vars(expected[0]).items():
        assert getattr(found[0], name).shape == value.shape, name
    np.testing.assert_allclose(found[0].features, expected[0].features, atol=2e-3)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-3)
    # A strength is a root, whose slope at 0 has no end: single ones there differ by more.
    assert np.mean(np.abs(found[2] - expected[2])) < 1e-4 and np.std(expected[2]) > 0.01


def test_the_check_is_quick(native_library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    assert network_differs(native_library) is None
    monkeypatch.setattr("pyenhance.backend.program._taking_turns", lambda weight: weight)
    assert network_differs(native_library) is not None, "weights in another order are noticed"


_IMPORTS = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "ctypes.dlopen" else None)
import pyenhance, pyenhance.live, pyenhance.lab, pyenhance.cli, pyenhance.bench
assert not [path for path in opened if "enhance" in path], opened
pyenhance.load_model("tiny")
assert [path for path in opened if "enhance" in path], "the first model looks for it"
"""


def test_nothing_is_loaded_at_import(native_cache: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYENHANCE_KERNEL"}
    environment |= {"XDG_CACHE_HOME": str(native_cache), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
