"""Models with lean layers on a stream: which frames are full, the backlog, what is counted; and models without."""

import ctypes
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance import Enhancer, load_model
from pyenhance.audio import read_audio
from pyenhance.cli import main
from pyenhance.dsp import SignalSpec
from pyenhance.live import LiveEngine
from pyenhance.model import Model, read_weights, write_weights
from pyenhance.nn import FULL_EVERY, KINDS

from ..conftest import noisy_voice
from ..networks import lean_by_chance, small_weights

pytestmark = pytest.mark.usefixtures("with_native")

HOPS = noisy_voice(1.2)[: 480 * 110].reshape(-1, 480)
KERNELS = ("numpy", "native")
WEIGHTS = small_weights(SignalSpec(), lean=True)


@pytest.fixture(params=KERNELS)
def model(request: pytest.FixtureRequest, with_native: None) -> Model:
    return load_model(WEIGHTS, request.param)


def _run(model: Model, size: int = 1, **choice: object) -> tuple[np.ndarray, dict]:
    enhancer = Enhancer(model)
    out = [enhancer.process_hops(HOPS[i : i + size], **choice) for i in range(0, len(HOPS), size)]
    return np.concatenate(out), enhancer.stats


def test_frames_take_turns_whatever_the_split(model: Model) -> None:
    whole, stats = _run(model, len(HOPS), backlog=0)
    assert stats["full_hops"] == -(-len(HOPS) // FULL_EVERY)
    assert stats["full_hops"] + stats["lean_hops"] == stats["hops"] == len(HOPS)
    assert stats["full_share"] == pytest.approx(stats["full_hops"] / stats["hops"])
    for size in (1, 2, 7):
        out, found = _run(model, size, backlog=0)
        np.testing.assert_array_equal(out, whole)
        assert found["full_share"] == stats["full_share"]


def test_full_lean_and_sound_by_turns_differ(model: Model) -> None:
    full, stats = _run(model)
    assert stats["full_share"] == 1 and stats["lean_hops"] == 0
    lean, stats = _run(model, lean=True)
    assert stats["full_hops"] == 1  # the first, from which the others go on
    auto, _ = _run(model, backlog=0)
    for one, other in ((full, lean), (full, auto), (lean, auto)):
        assert (one != other).any()


def test_no_frame_is_full_while_hops_wait(model: Model) -> None:
    lean, _ = _run(model, lean=True)
    for backlog in (1, 2.5, 1000):
        out, stats = _run(model, 2, backlog=backlog)
        np.testing.assert_array_equal(out, lean)
        assert stats["full_hops"] == 1
    out, _ = _run(model, 2, backlog=0.9)
    np.testing.assert_array_equal(out, _run(model, backlog=0)[0])
    enhancer = Enhancer(model)
    full = [0]
    for backlog in (0, 0, 3, 3, 0, 0, 0, 0):  # the turn that was missed is taken at once
        enhancer.process_hops(HOPS[:1], backlog=backlog)
        full.append(enhancer.stats["full_hops"])
    assert np.diff(full).tolist() == [1, 0, 0, 0, 1, 0, 0, 1]


def test_kernels_choose_alike() -> None:
    outs = [_run(load_model(WEIGHTS, kernel), 2, backlog=0) for kernel in KERNELS]
    assert outs[0][1]["full_hops"] == outs[1][1]["full_hops"]
    assert np.std(outs[0][0] - outs[1][0]) < 1e-3 * np.std(outs[0][0])


def test_effort_auto_is_no_backlog(model: Model) -> None:
    x = HOPS.ravel()
    enhancer = Enhancer(model, effort="auto")
    np.testing.assert_array_equal(enhancer.process(x), _run(model, backlog=0)[0].ravel())
    full = Enhancer(model).process(x)
    np.testing.assert_array_equal(full, _run(model)[0].ravel())
    halves = Enhancer(model)
    parts = [halves.render(halves.estimate(HOPS[i : i + 5], backlog=3)) for i in range(0, len(HOPS), 5)]
    np.testing.assert_array_equal(np.concatenate(parts), _run(model, 5, backlog=3)[0])
    timed = Enhancer(model)
    timed.time_stages()
    for i in range(0, len(HOPS), 5):
        timed.process_hops(HOPS[i : i + 5], backlog=3)
    assert timed.stats["full_hops"] == _run(model, 5, backlog=3)[1]["full_hops"] < len(HOPS)


@pytest.mark.parametrize("backlog", [-1, float("nan"), float("inf"), "three"])
def test_a_bad_backlog_is_refused_and_nothing_moves(model: Model, backlog: object) -> None:
    enhancer = Enhancer(model)
    enhancer.process_hops(HOPS[:5], backlog=1)
    before = {name: part.copy() for name, part in enhancer.state.parts().items()}
    for call in (enhancer.process_hops, enhancer.estimate):
        with pytest.raises(ValueError, match=f"backlog is {backlog!r}; accepted: a finite number of hops >= 0"):
            call(HOPS[5:6], backlog=backlog)
    assert enhancer.stats["hops"] == 5
    for name, part in enhancer.state.parts().items():
        np.testing.assert_array_equal(part, before[name], name)
    with pytest.raises(ValueError, match="effort is 'most'; accepted: 'full', 'auto'"):
        Enhancer(model, effort="most")


@pytest.mark.parametrize("kernel", KERNELS)
def test_models_without_lean_layers_run_full(kernel: str) -> None:
    model = load_model(small_weights(SignalSpec()), kernel)
    plain, stats = _run(model, 2)
    for choice in ({"backlog": 0}, {"backlog": 50.5}):
        out, found = _run(model, 2, **choice)
        np.testing.assert_array_equal(out, plain)
        assert found["full_share"] == stats["full_share"] == 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_lean_layers_leave_full_frames_as_they_were(kernel: str) -> None:
    plain, _ = _run(load_model("tiny", kernel), 3)
    model = load_model(lean_by_chance("tiny"), kernel)
    for choice, all_full in (({}, True), ({"backlog": 0}, False), ({"backlog": 1}, False)):
        out, stats = _run(model, 3, **choice)
        assert (out == plain).all() == (stats["full_share"] == 1) == all_full


def test_a_weights_file_says_which_layers_are_lean() -> None:
    weights = read_weights(WEIGHTS)
    spec = weights.spec
    assert {layer.name for layer in spec.layers if layer.lean} == {
        layer.name for layer in spec.layers if KINDS[layer.kind].lean
    }
    facts = {key: weights.metadata[key] for key in weights.metadata.keys() & {"training_commit"}}
    assert write_weights(weights.signal, spec, weights.tensors, facts) == WEIGHTS
    layers = json.loads(read_weights(small_weights(SignalSpec())).metadata["layers"])
    assert all("lean" not in layer for layer in layers)  # files without one are what they were


@pytest.mark.parametrize("kernel", KERNELS)
def test_live_hops_pass_their_backlog(kernel: str, tmp_path: Path) -> None:
    path = tmp_path / "lean.safetensors"
    path.write_bytes(WEIGHTS)
    engine, enhancer = LiveEngine(str(path), 2, kernel), Enhancer(load_model(WEIGHTS, kernel))
    counted = 0
    for k in range(0, len(HOPS), 2):
        backlog = k % 5
        engine.input[:960] = HOPS[k : k + 2].ravel()
        counted += engine.run(2, backlog=backlog)
        np.testing.assert_array_equal(
            engine.output[:960], enhancer.process_hops(HOPS[k : k + 2], backlog=backlog).ravel()
        )
    assert 0 < counted == enhancer.stats["lean_hops"] < len(HOPS)
    with pytest.raises(ValueError, match="backlog is -1"):
        engine.run(1, backlog=-1)


def test_live_hops_go_past_python(tmp_path: Path) -> None:
    """As a browser calls the compiled code: effort and backlog written into the stream, full frames read from it."""
    path = tmp_path / "lean.safetensors"
    path.write_bytes(WEIGHTS)
    through, past = (LiveEngine(str(path), 2, "native") for _ in range(2))
    assert past.lean and past.entry and LiveEngine(str(path), 2, "numpy").lean is None
    assert LiveEngine("tiny", 2, "native").lean is None
    process = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32)(past.entry)
    effort, full = (ctypes.c_int32.from_address(past.lean[name]) for name in ("effort", "full_frames"))
    backlog = ctypes.c_float.from_address(past.lean["backlog"])
    for k in range(0, len(HOPS), 2):
        lean, waiting = k % 14 == 0, k % 6
        through.input[:960] = past.input[:960] = HOPS[k : k + 2].ravel()
        effort.value, backlog.value = past.lean["efforts"]["lean" if lean else "auto"], waiting
        assert process(past.address, 2) == 0
        assert through.run(2, lean, waiting) == 2 - full.value
        np.testing.assert_array_equal(past.output[:960], through.output[:960])


def test_denoise_takes_an_effort(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lean.safetensors").write_bytes(WEIGHTS)
    soundfile.write(tmp_path / "in.wav", HOPS.ravel(), 48_000, subtype="FLOAT")
    sounds = {}
    for effort in ((), ("--effort", "full"), ("--effort", "auto")):
        out = tmp_path / f"out{'-'.join(effort)}.wav"
        model = str(tmp_path / "lean.safetensors")
        assert main(["denoise", str(tmp_path / "in.wav"), "-o", str(out), "--model", model, "--quiet", *effort]) == 0
        sounds[effort] = read_audio(out)
    np.testing.assert_array_equal(sounds[()], sounds[("--effort", "full")])
    assert (sounds[()] != sounds[("--effort", "auto")]).any()
    with pytest.raises(SystemExit):
        main(["denoise", "in.wav", "-o", "out.wav", "--effort", "most"])
    assert "'most'" in capsys.readouterr().err
