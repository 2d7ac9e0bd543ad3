"""Run by test_kernels.py inside Pyodide: both kernels against int64, activations, the GRU, the enhancer."""

import json
import random

import numpy as np

from pyenhance import Enhancer, load_model
from pyenhance.nn import available_kernels
from pyenhance.nn.activations import ACTIVATIONS
from pyenhance.nn.kernels import GruWeights, affine, gru


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


rng = Chance()
shapes = [(1, 1), (3, 15), (4, 16), (5, 17), (34, 1280), (768, 256), (1, 1040), (9, 1041), (7, 2560), (130, 4000)]
shapes += [tuple(rng.integers(1, 300, 2)) for _ in range(60)]
wrong = []
for outputs, inputs in shapes:
    weights = {
        "random": rng.integers(-128, 128, (outputs, inputs)),
        "largest": np.full((outputs, inputs), 127),
        "least": np.full((outputs, inputs), -128),
        "sparse": rng.integers(-127, 128, (outputs, inputs)) * (rng.random((outputs, inputs)) < 0.05),
    }
    for frames in (1, 2, 5, 65, 130):
        inputs_of = {
            "random": rng.integers(-127, 128, (frames, inputs)),
            "largest": np.full((frames, inputs), 127),
            "least": np.full((frames, inputs), -127),
        }
        for kind, weight in weights.items():
            one, nothing = np.ones(outputs, np.float32), np.zeros(outputs, np.float32)
            products = [affine(weight.astype(np.int8), one, nothing, None, kernel) for kernel in ("simd", "numpy")]
            for other, x in inputs_of.items():
                exact = (x.astype(np.int64) @ weight.T.astype(np.int64)).astype(np.float32)
                for name, product in zip(("simd", "numpy"), products, strict=True):
                    if not np.array_equal(product(x.astype(np.float32)), exact):
                        wrong.append((name, outputs, inputs, frames, kind, other))
        if frames == 5 and outputs * inputs > 100_000:
            break  # the large ones cost time

# Scale, bias and clamp are numpy's to the bit; tanh and sigmoid to their last bits.
after = {}
weight = rng.integers(-127, 128, (70, 90)).astype(np.int8)
x = rng.integers(-127, 128, (40, 90)).astype(np.float32)
scale, bias = (rng.uniform(0.5, 2, 70) / 127**2).astype(np.float32), rng.normal(size=70).astype(np.float32)
for activation in ACTIVATIONS:
    simd, reference = (affine(weight, scale, bias, activation, kernel)(x) for kernel in ("simd", "numpy"))
    after[str(activation)] = float(np.abs(simd - reference).max())

# The GRU: over one frame as numpy's to the last bits of its gates; over many the same bits for any split.
furthest, split_matters, carried_off = 0.0, False, 0.0
for units in (16, 48, 64, 128, 256):
    inputs = units // 2 + 3
    weight_ih, weight_hh = (rng.integers(-127, 128, (3 * units, n)).astype(np.int8) for n in (inputs, units))
    scale_ih, scale_hh = (
        rng.uniform(0.5, 1.5, 3 * units).astype(np.float32) / 127 / 127 / np.float32(np.sqrt(n)) * 3
        for n in (inputs, units)
    )
    bias, bias_n = rng.normal(size=3 * units).astype(np.float32), rng.normal(size=units).astype(np.float32)
    bias[::7] *= 40  # far into the flat ends of the gates
    x = rng.integers(-127, 128, (150, inputs)).astype(np.float32)
    h = rng.uniform(-1, 1, (1, units)).astype(np.float32)
    weights = GruWeights(weight_ih, scale_ih, bias, weight_hh, scale_hh, bias_n)
    simd, reference = (gru(weights, kernel) for kernel in ("simd", "numpy"))
    for k in range(len(x)):
        difference = simd(x[k : k + 1], h)[1] - reference(x[k : k + 1], h)[1]
        furthest = max(furthest, float(np.abs(difference).max()))
    once, last = simd(x, h)
    for size in (1, 7, 64, 65):
        state, parts = h, []
        for i in range(0, len(x), size):
            part, state = simd(x[i : i + size], state)
            parts.append(part)
        split_matters |= not (np.array_equal(np.concatenate(parts), once) and np.array_equal(state, last))
    assert np.abs(once).max() <= 127 and (once == np.rint(once)).all()
    carried_off = max(carried_off, float(np.mean(np.abs(once - reference(x, h)[0]))))

# A gliding voice with pauses, in noise: what passes is large enough to be compared.
phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(np.arange(96_000) / 9_000)) / 48_000
voice = sum(np.sin(h * phase) / h for h in range(1, 20)) * (np.sin(np.arange(96_000) / 7_000) > -0.4)
x = 0.08 * voice + 0.005 * rng.normal(96_000)
hops = x.reshape(-1, 480).astype(np.float32)
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
        "enhanced_rms": float(np.std(outputs["numpy"])),
        "enhanced_difference": float(np.std(outputs["numpy"] - outputs["simd"])),
    }
)
