"""Whether compiled code computes what numpy does: engines have been seen whose SIMD does not."""

import ctypes
import threading

import numpy as np

from .. import dsp
from ..dsp import HOP, SignalSpec
from ..nn import INPUT, LayerSpec, Network, NetworkSpec
from .program import Program
from .stream import CompiledStream, SignalTables, StreamState
from .structures import BLOCK_HOPS

_LAYERS = (
    LayerSpec("dense", "dense", (INPUT,), 7, "clamp"),
    LayerSpec("conv", "conv", ("dense",), 18, "tanh", frames=3, lean=5),
    LayerSpec("gru", "gru", ("conv", "dense"), 13, "tanh"),
    LayerSpec("even", "gru", ("gru",), 16, "tanh", lean=6),
    LayerSpec("near", "band_conv", ("conv", "even"), 10, "tanh", frames=2, bands=2, reach=1),
    LayerSpec("wide", "band_conv", ("near", "even"), 6, "tanh", bands=2, reach=1),
    LayerSpec("shared", "band_gru", ("conv", "conv"), 24, "tanh", bands=3),
    LayerSpec("sums", "dense", ("even", "gru", "conv", "wide", "shared"), 6),
)


def spread(*shape: int) -> np.ndarray:
    """Whole numbers all over [-127, 127], float32; numpy.random does not come along into the browser."""
    return (np.arange(np.prod(shape)) * 89 % 255 - 127).reshape(shape).astype(np.float32)


def meaningless_weights(spec: NetworkSpec) -> dict[str, np.ndarray]:
    """Tensors of a network that has learnt nothing: good for comparing and for measuring."""
    return {
        name: spread(*shape).astype(np.int8)
        if kind == "I8"
        else np.full(shape, 1e-3 if name.endswith("scale") else 0.05, np.float32)
        for name, (kind, shape) in spec.tensors.items()
    }


def network_differs(library: ctypes.CDLL) -> str | None:
    """What is wrong with the compiled network, or None."""
    spec = NetworkSpec(5, _LAYERS)
    network = Network(spec, meaningless_weights(spec))
    program, memory, own = Program(network, library), network.new_memory(), network.new_memory()
    x = spread(9, 5) / 127
    calls = [(x[:2], 0, "full"), (x[2:7], 0, "auto"), (x[7:], 2, "auto")]  # the last are lean, as hops wait
    found = np.concatenate(
        [program(part, memory, ["sums"], waiting, effort)["sums"] for part, waiting, effort in calls]
    )
    expected = np.concatenate([network(part, own, waiting, effort)["sums"] for part, waiting, effort in calls])
    # A value on the edge between two steps may round either way.
    differences = {"sums": float(np.abs(found - expected).max() / np.abs(expected).max())}
    for name, allowed in {"sums": 0.01, "conv": 1, "gru": 0.02, "even": 0.02, "near": 1, "shared": 0.02}.items():
        if name not in differences:
            place, _ = spec.memory[name]
            differences[name] = float(np.abs(memory[place] - own[place]).max())
        if not differences[name] <= allowed:
            return f"layer {name!r} differs from numpy's by {differences[name]:.3g}"
    return None


def signal_differs(library: ctypes.CDLL, spec: SignalSpec) -> str | None:
    """What is wrong with the compiled signal path, on a gliding buzz in noise with a pause, then a hum, or None."""
    n = np.arange(32 * HOP)
    phase = np.cumsum(180 + 40 * np.sin(n / 4000)) * (2 * np.pi / 48_000)
    noise = np.modf(1e4 * np.sin(12.9898 * n))[0]
    signal = (0.1 * sum(np.sin(h * phase) / h for h in range(1, 9)) + 0.02 * noise).astype(np.float32)
    signal[10 * HOP : 14 * HOP] = 0
    signal[20 * HOP :] += 0.3 * np.sin(2 * np.pi * 40 / 48_000 * n[20 * HOP :]).astype(np.float32)
    hops = signal.reshape(-1, HOP)
    state, own = StreamState(spec, np.zeros(0, np.float32)), StreamState(spec, np.zeros(0, np.float32))
    features = np.zeros((BLOCK_HOPS, spec.num_features), np.float32)
    stream = CompiledStream(library, SignalTables(spec, features, threading.Lock()), None, state)
    frames, expected = stream.analyse(hops), dsp.analyse(spec, own.signal, hops)
    pairs = [(name, value, getattr(expected, name)) for name, value in vars(frames).items()]
    gain = expected.coherence
    for name, strength, dry, postfilter in (("full", gain[:, ::-1], 0.1, True), ("plain", None, 0.0, False)):
        found = stream.synthesise(expected, gain, strength, dry=dry, postfilter=postfilter)
        wanted = dsp.synthesise(spec, own.signal, expected, gain, strength, dry=dry, postfilter=postfilter)
        pairs.append((f"{name} synthesis", found, wanted))
    pairs += [
        (f"remembered {name}", getattr(state.signal, name), getattr(own.signal, name))
        for name in ("samples", "score", "sections", "filtered", "raw")
    ]
    for name, found, wanted in pairs:
        if not np.allclose(found, wanted, rtol=1e-3, atol=1e-3):
            return f"{name} differs from numpy's by {np.nanmax(np.abs(found - wanted)):.3g}"
    return None
