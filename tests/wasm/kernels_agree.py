"""Run by the tests of kernels: inside Pyodide in Node and in Chromium, and in CPython for the native kernel."""

import json
import random

import numpy as np

from pyenhance import Enhancer, load_model
from pyenhance.dsp import AnalysisState, SynthesisState, signal_kernel
from pyenhance.nn import GRU, Conv1d, Linear, Program, available_kernels
from pyenhance.nn.activations import ACTIVATIONS


class Chance:
    """What numpy.random would give, which does not come along into the browser."""

    def __init__(self) -> None:
        self._source = random.Random(0)

    def random(self, size=None):
        count = int(np.prod(size)) if size is not None else 1
        values = np.frombuffer(self._source.randbytes(4 * count), np.uint32) / 2.0**32
        return values.reshape(size) if size is not None else float(values[0])

    def uniform(self, low, high, size=None):
        return low + (high - low) * self.random(size)

    def integers(self, low, high, size):
        return np.floor(self.uniform(low, high, size)).astype(int)

    def normal(self, size):
        return np.sqrt(-2 * np.log(1 - self.random(size))) * np.cos(2 * np.pi * self.random(size))


COMPILED = available_kernels()[1:]


def compiled(layer, memory=None, kernel=COMPILED[0]):
    """A program of one layer, as a function of its inputs; it works on `memory`."""
    linear = layer.input if isinstance(layer, GRU) else layer
    width = linear.weight.shape[1] // (layer.frames if isinstance(layer, Conv1d) else 1)
    program = Program({"y": layer}, {"y": ("features",)}, width, kernel)
    memory = np.zeros(0, np.float32) if memory is None else memory
    return lambda x: program(x, memory, "y")[0]


rng = Chance()
shapes = [(1, 1), (3, 15), (4, 16), (5, 17), (34, 1280), (768, 256), (1, 1040), (9, 1041), (7, 2560), (130, 4000)]
shapes += [tuple(rng.integers(1, 300, 2)) for _ in range(60)]
wrong = []
for outputs, inputs in shapes:
    weights = {
        "random": rng.integers(-127, 128, (outputs, inputs)),
        "largest": np.full((outputs, inputs), 127),
        "least": np.full((outputs, inputs), -127),
        "sparse": rng.integers(-127, 128, (outputs, inputs)) * (rng.random((outputs, inputs)) < 0.05),
    }
    for frames in (1, 2, 5, 65, 130):
        inputs_of = {
            "random": rng.integers(-127, 128, (frames, inputs)),
            "largest": np.full((frames, inputs), 127),
            "least": np.full((frames, inputs), -127),
        }
        for kind, weight in weights.items():
            one, nothing = np.full(outputs, 127, np.float32), np.zeros(outputs, np.float32)
            layer = Linear(weight.astype(np.int8), one, nothing)
            products = (layer, *(compiled(layer, None, kernel) for kernel in COMPILED))
            for other, x in inputs_of.items():
                exact = (x.astype(np.int64) @ weight.T.astype(np.int64)).astype(np.float32)
                for name, product in zip(available_kernels(), products, strict=True):
                    if not np.array_equal(product(x.astype(np.float32)), exact):
                        wrong.append((name, outputs, inputs, frames, kind, other))
        if frames == 5 and outputs * inputs > 100_000:
            break  # the large ones cost time

# Scale, bias and clamp are numpy's to the bit; tanh and sigmoid to their last bits.
after = {}
weight = rng.integers(-127, 128, (70, 90)).astype(np.int8)
x = rng.integers(-127, 128, (40, 90)).astype(np.float32)
scale, bias = (rng.uniform(0.5, 2, 70) / 127).astype(np.float32), rng.normal(size=70).astype(np.float32)
for activation in ACTIVATIONS:
    layer = Linear(weight, scale, bias, activation)
    after[str(activation)] = float(np.abs(compiled(layer)(x) - layer(x)).max())
layer = Linear(weight, scale, bias, integers=False)
features = rng.normal((40, 90)).astype(np.float32)
after["floats"] = float(np.abs(compiled(layer)(features) / layer(features) - 1).max())

# A convolution remembers: the same bits as numpy's, for any split.
layer = Conv1d(
    rng.integers(-127, 128, (30, 5 * 19)).astype(np.int8), np.ones(30, np.float32), np.zeros(30, np.float32), 5
)
x = rng.integers(-127, 128, (150, 19)).astype(np.float32)
convolved = layer.step(x, layer.new_state())[0]
memory = np.zeros(4 * 19, np.float32)
run = compiled(layer, memory)
convolution_same = np.array_equal(
    np.concatenate([run(x[a:b]) for a, b in ((0, 1), (1, 3), (3, 90), (90, 150))]), convolved
)
convolution_same &= np.array_equal(memory.reshape(4, 19), x[-4:])

# The GRU: over one frame as numpy's to the last bits of its gates; over many the same bits for any split.
furthest, split_matters, carried_off = 0.0, False, 0.0
for units in (16, 48, 64, 128, 256):
    inputs = units // 2 + 3
    weight_ih, weight_hh = (rng.integers(-127, 128, (3 * units, n)).astype(np.int8) for n in (inputs, units))
    scale_ih, scale_hh = (
        rng.uniform(0.5, 1.5, 3 * units).astype(np.float32) / 127 / np.float32(np.sqrt(n)) * 3 for n in (inputs, units)
    )
    bias_ih, bias_hh = (rng.normal(size=3 * units).astype(np.float32) for _ in range(2))
    bias_ih[::7] *= 40  # far into the flat ends of the gates
    x = rng.integers(-127, 128, (150, inputs)).astype(np.float32)
    h = rng.uniform(-1, 1, (1, units)).astype(np.float32)
    layer = GRU(weight_ih, scale_ih, weight_hh, scale_hh, bias_ih, bias_hh)
    for k in range(len(x)):
        memory = h[0].copy()
        compiled(layer, memory)(x[k : k + 1])
        furthest = max(furthest, float(np.abs(memory - layer.step(x[k : k + 1], h)[1]).max()))
    last = h[0].copy()
    once = compiled(layer, last)(x)
    for size in (1, 7, 64, 65):
        memory = h[0].copy()
        run = compiled(layer, memory, COMPILED[-1])
        parts = [run(x[i : i + size]) for i in range(0, len(x), size)]
        split_matters |= not (np.array_equal(np.concatenate(parts), once) and np.array_equal(memory, last))
    assert np.abs(once).max() <= 127 and (once == np.rint(once)).all()
    carried_off = max(carried_off, float(np.mean(np.abs(once - layer.step(x, h)[0]))))

# A gliding voice with pauses, in noise: what passes is large enough to be compared.
phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(np.arange(96_000) / 9_000)) / 48_000
voice = sum(np.sin(h * phase) / h for h in range(1, 20)) * (np.sin(np.arange(96_000) / 7_000) > -0.4)
x = 0.08 * voice + 0.005 * rng.normal(96_000)
hops = x.reshape(-1, 480).astype(np.float32)
# The signal path: what both kernels make of it, how far apart they are, and whether a split matters.
signal, states = {}, {}
for name, size in (("numpy", 200), ("compiled", 200), ("compiled", 1), ("compiled", 65)):
    kernel, analysis, synthesis = signal_kernel(name), AnalysisState(), SynthesisState()
    parts = []
    for i in range(0, len(hops), size):
        frames = kernel.analyse(analysis, hops[i : i + size])
        q = frames.coherence
        full = kernel.synthesise(synthesis, frames, q, q[:, ::-1], dry=0.1)
        bare = kernel.synthesise(SynthesisState(), frames, q, None, postfilter=False)
        parts.append((*vars(frames).values(), full, bare))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    signal[name, size] = dict(zip((*vars(frames), "full", "bare"), columns, strict=True))
reference = signal["numpy", 200]
same_pitch = reference["pitch_period"] == signal["compiled", 200]["pitch_period"]
off = {
    name: float(np.abs(signal["compiled", 200][name] - value)[same_pitch[: len(value)]].max() / np.abs(value).max())
    for name, value in reference.items()
    if name not in ("full", "bare")  # a hop holds part of the frame before, whose pitch may be another
}
for name in ("full", "bare"):
    off[name] = float(np.std(signal["compiled", 200][name] - reference[name]) / np.std(reference[name]))
signal_split_matters = not all(
    np.array_equal(signal["compiled", size][name], value)
    for size in (1, 65)
    for name, value in signal["compiled", 200].items()
    if name != "bare"
)
# One kernel goes on where the other stopped.
analysis = AnalysisState()
turns = [
    signal_kernel(("numpy", "compiled")[i % 2]).analyse(analysis, hops[10 * i : 10 * i + 10]).features
    for i in range(20)
]
taking_turns = float(np.abs(np.concatenate(turns) - reference["features"])[same_pitch].max())

outputs = {}
for kernel in available_kernels():
    enhancer = Enhancer(load_model("default", kernel))
    outputs[kernel] = np.concatenate([enhancer.process_hops(hops[i : i + 3]) for i in range(0, 200, 3)])
json.dumps(
    {
        "kernels": available_kernels(),
        "default": load_model().kernel,
        "shapes": len(shapes),
        "wrong": wrong[:10],
        "after": after,
        "furthest": furthest,
        "split_matters": split_matters,
        "carried_off": carried_off,
        "convolution_same": bool(convolution_same),
        "signal_kernel": Enhancer().stats["signal_kernel"],
        "same_pitch": float(same_pitch.mean()),
        "signal_off": off,
        "signal_split_matters": signal_split_matters,
        "taking_turns": taking_turns,
        "enhanced_rms": float(np.std(outputs["numpy"])),
        "enhanced_difference": float(np.std(outputs["numpy"] - outputs[COMPILED[0]])),
        "relaxed_same": bool(np.array_equal(outputs[COMPILED[0]], outputs[COMPILED[-1]])),
    }
)
