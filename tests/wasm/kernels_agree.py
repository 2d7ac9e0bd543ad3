"""Run by the tests of kernels: inside Pyodide in Node and in Chromium, and in CPython for the native kernel."""

import json
import math
import random
from itertools import pairwise

import numpy as np

from pyenhance import Enhancer, load_model
from pyenhance.backend import NUMPY, Backend, available_kernels, choose
from pyenhance.dsp import SignalSpec
from pyenhance.model import Model, percepnet
from pyenhance.model.stream import ModelStream, Runner
from pyenhance.nn import ACTIVATIONS, INPUT, KINDS, LayerSpec, Network, NetworkSpec


class Chance:
    """What numpy.random would give, which does not come along into the browser."""

    def __init__(self, seed=0):
        self._source = random.Random(seed)

    def random(self, size=None):
        count = int(np.prod(size)) if size is not None else 1
        values = np.frombuffer(self._source.randbytes(4 * count), np.uint32) / 2.0**32
        return values.reshape(size) if size is not None else float(values[0])

    def uniform(self, low, high, size=None):
        return low + (high - low) * self.random(size)

    def integers(self, low, high, size=None):
        return np.floor(self.uniform(low, high, size)).astype(int)

    def choice(self, values):
        return values[int(self.integers(0, len(values)))]

    def normal(self, size):
        return np.sqrt(-2 * np.log(1 - self.random(size))) * np.cos(2 * np.pi * self.random(size))


COMPILED = available_kernels()[1:]
SIGNAL = SignalSpec()
HIDDEN = ("clamp", "tanh")


def ran_by(kernel, network):
    """A network as a kernel runs it: a function of features, memory and layers' names."""
    return Runner(SIGNAL, network, Backend(kernel, NUMPY, {})).layers


def whole_numbers(width, chance):
    """Layers, and their tensors, that turn features into any `width` whole numbers; see `features_for`.

    Each is a tanh of the features in another order: tanh(atanh(q / 127)) is q / 127.
    """
    count = min(width, 80)
    layers, tensors = [], {}
    orders = []
    for start in range(0, width, count):
        units = min(count, width - start)
        order = np.argsort(chance.random(count))[:units]
        sign = np.where(chance.random(units) < 0.5, -1, 1)
        name = f"in{start}"
        weight = np.zeros((units, count), np.int8)
        weight[np.arange(units), order] = sign
        layers.append(LayerSpec(name, "dense", (INPUT,), units, "tanh"))
        tensors |= {f"{name}.weight": weight, f"{name}.weight_scale": np.ones(units, np.float32)}
        tensors[f"{name}.bias"] = np.zeros(units, np.float32)
        orders.append((order, sign))
    return count, layers, tensors, lambda q: np.concatenate([q[:, order] * sign for order, sign in orders], 1)


def features_for(q):
    """Features of which those layers make the whole numbers q."""
    size = np.abs(q)
    return (np.sign(q) * np.where(size < 127, np.arctanh(np.minimum(size, 126) / 127), 9)).astype(np.float32)


def with_layer(layer, own, width, chance):
    """A network of one layer on whole numbers, and the functions that make its features and what the layer sees."""
    count, layers, tensors, seen = whole_numbers(width, chance)
    spec = NetworkSpec(count, (*layers, LayerSpec(sources=tuple(given.name for given in layers), **layer)))
    return Network(spec, tensors | {f"{layer['name']}.{key}": value for key, value in own.items()}), seen


chance = Chance()
shapes = [(1, 1), (3, 15), (4, 16), (5, 17), (34, 1280), (768, 256), (1, 1040), (9, 1041), (7, 2560), (130, 4000)]
shapes += [tuple(chance.integers(1, 300, 2)) for _ in range(60)]
wrong = []
for outputs, inputs in shapes:
    outputs, inputs = int(outputs), int(inputs)
    weights = {
        "random": chance.integers(-127, 128, (outputs, inputs)),
        "largest": np.full((outputs, inputs), 127),
        "least": np.full((outputs, inputs), -127),
        "sparse": chance.integers(-127, 128, (outputs, inputs)) * (chance.random((outputs, inputs)) < 0.05),
    }
    large = outputs * inputs > 100_000  # these cost time
    for kind, weight in weights.items():
        own = {"weight": weight.astype(np.int8), "weight_scale": np.full(outputs, 127, np.float32)}
        own["bias"] = np.zeros(outputs, np.float32)
        layer = {"name": "y", "kind": "dense", "units": outputs}
        network, seen = with_layer(layer, own, inputs, chance)
        names = tuple(network.layers)
        runs = {kernel: ran_by(kernel, network) for kernel in available_kernels()}
        for frames in (1, 5) if large else (1, 2, 5, 65):
            width = network.spec.inputs
            q_of = {
                "random": chance.integers(-127, 128, (frames, width)),
                "largest": np.full((frames, width), 127),
                "least": np.full((frames, width), -127),
            }
            for other, q in q_of.items():
                x = seen(q)
                exact = (x.astype(np.int64) @ weight.T.astype(np.int64)).astype(np.float32)
                for kernel, run in runs.items():
                    found = run(features_for(q), network.new_memory(), names)
                    inside = np.concatenate([found[name] for name in names[:-1]], 1)
                    if not (np.array_equal(inside, x) and np.array_equal(found["y"], exact)):
                        wrong.append((kernel, outputs, inputs, frames, kind, other))

# Scale, bias and clamp are numpy's to the bit; tanh and sigmoid to their last bits.
after = {}
own = {"weight": chance.integers(-127, 128, (70, 90)).astype(np.int8)}
own |= {
    "weight_scale": chance.uniform(0.5, 2, 70).astype(np.float32) / 60,
    "bias": chance.normal(70).astype(np.float32),
}
for activation in ACTIVATIONS:
    network, _ = with_layer({"name": "y", "kind": "dense", "units": 70, "activation": activation}, own, 90, chance)
    q = chance.integers(-127, 128, (40, network.spec.inputs))
    a, b = (
        ran_by(kernel, network)(features_for(q), network.new_memory(), ("y",))["y"] for kernel in (NUMPY, COMPILED[0])
    )
    after[activation] = float(np.abs(a - b).max())
network = Network(
    NetworkSpec(90, (LayerSpec("y", "dense", (INPUT,), 70),)), {f"y.{name}": value for name, value in own.items()}
)
features = chance.normal((40, 90)).astype(np.float32)
a, b = (ran_by(kernel, network)(features, network.new_memory(), ("y",))["y"] for kernel in (NUMPY, COMPILED[0]))
after["floats"] = float((np.abs(b - a) / (1 + np.abs(a))).max())

# A convolution remembers: the same bits as numpy's, for any split.
own = {"weight": chance.integers(-127, 128, (30, 5 * 19)).astype(np.int8)}
own |= {"weight_scale": np.full(30, 127, np.float32), "bias": np.zeros(30, np.float32)}
network, seen = with_layer({"name": "y", "kind": "conv", "units": 30, "frames": 5}, own, 19, chance)
q = chance.integers(-127, 128, (150, 19))
convolved = ran_by(NUMPY, network)(features_for(q), network.new_memory(), ("y",))["y"]
convolution_same = True
for kernel in COMPILED:
    memory, run = network.new_memory(), ran_by(kernel, network)
    parts = [run(features_for(q[a:b]), memory, ("y",))["y"] for a, b in ((0, 1), (1, 3), (3, 90), (90, 150))]
    convolution_same &= np.array_equal(np.concatenate(parts), convolved)
    convolution_same &= np.array_equal(memory[network.spec.memory["y"][0]].reshape(4, 19), seen(q)[-4:])

# The GRU: over one frame as numpy's to the last bits of its gates; over many the same bits for any split.
furthest, split_matters, carried_off = 0.0, False, 0.0
for units in (1, 7, 13, 16, 48, 50, 64, 128, 255, 256):
    inputs = units // 2 + 3
    own = {}
    for name, width in (("ih", inputs), ("hh", units)):
        own[f"weight_{name}"] = chance.integers(-127, 128, (3 * units, width)).astype(np.int8)
        own[f"weight_{name}_scale"] = (
            chance.uniform(0.5, 1.5, 3 * units).astype(np.float32) / np.float32(np.sqrt(width)) * 3
        )
        own[f"weight_{name}_scale"] /= 127
        own[f"bias_{name}"] = chance.normal(3 * units).astype(np.float32)
    own["bias_ih"][::7] *= 40  # far into the flat ends of the gates
    network, _ = with_layer({"name": "y", "kind": "gru", "units": units, "activation": "tanh"}, own, inputs, chance)
    features = features_for(chance.integers(-127, 128, (150, network.spec.inputs)))
    h = chance.uniform(-1, 1, units).astype(np.float32)
    run, reference = ran_by(COMPILED[0], network), ran_by(NUMPY, network)
    for k in range(len(features)):
        memory, own_memory = h.copy(), h.copy()
        run(features[k : k + 1], memory, ("y",))
        reference(features[k : k + 1], own_memory, ("y",))
        furthest = max(furthest, float(np.abs(memory - own_memory).max()))
    last = h.copy()
    once = run(features, last, ("y",))["y"]
    again = ran_by(COMPILED[-1], network)
    for size in (1, 7, 64, 65):
        memory = h.copy()
        parts = [again(features[i : i + size], memory, ("y",))["y"] for i in range(0, len(features), size)]
        split_matters |= not (np.array_equal(np.concatenate(parts), once) and np.array_equal(memory, last))
    assert np.abs(once).max() <= 127 and (once == np.rint(once)).all()
    carried_off = max(carried_off, float(np.mean(np.abs(once - reference(features, h.copy(), ("y",))["y"]))))


# Random networks of every kind of layer.
def random_spec(chance):
    hidden, layers, widths = [], [], {INPUT: 1}
    for index in range(int(chance.integers(2, 8))):
        floats = not hidden or chance.random() < 0.2
        kind = chance.choice([name for name, facts in KINDS.items() if facts.floats or not floats])
        sources = (INPUT,) if floats else tuple(chance.choice(hidden) for _ in range(int(chance.integers(1, 4))))
        facts = KINDS[kind]
        accepted = facts.activations
        activation = chance.choice(accepted if layers else [name for name in accepted if name in HIDDEN])
        frames = int(chance.integers(1, 6)) if facts.frames else 1
        reach = int(chance.integers(0, 4)) if facts.reach else 0
        common = math.gcd(*(widths[name] for name in sources)) if facts.bands else 1
        bands = chance.choice([parts for parts in range(1, common + 1) if common % parts == 0])
        parts = bands if bands > 1 else chance.choice([1, 2, 6, 12])  # so that there is often something in common
        units = parts * int(chance.integers(1, max(1, 37 // parts) + 1))
        layers.append(LayerSpec(f"l{index}", kind, sources, units, activation, frames, 0, bands, reach))
        widths[layers[-1].name] = units
        if activation in HIDDEN:
            hidden.append(layers[-1].name)
    return NetworkSpec(int(chance.integers(1, 41)), tuple(layers))


def random_tensors(spec, chance):
    tensors = {}
    for name, (kind, shape) in spec.tensors.items():
        if kind == "I8":
            tensors[name] = chance.integers(-127, 128, shape).astype(np.int8)
            tensors[f"{name}_scale"] = (chance.uniform(0.5, 2, shape[0]) / (127 * np.sqrt(shape[1]))).astype(np.float32)
        elif name not in tensors:
            tensors[name] = 0.5 * chance.normal(shape).astype(np.float32)
    for name, shape in spec.initial.items():
        tensors[name] = chance.integers(-127, 128, shape).astype(np.int8)
    return tensors


def apart(spec, expected, found):
    """How far two runs are apart, in those frames in which all that a layer sees and remembers is the same.

    Returns most of whole numbers, most of others (relative), how many whole numbers, of how many.
    """
    frames = len(next(iter(expected.values())))
    moved_of, most, others, edges, values = {INPUT: np.zeros(frames, bool)}, 0.0, 0.0, 0, 0
    for layer in spec.layers:
        difference, hidden = np.abs(found[layer.name] - expected[layer.name]), layer.activation in HIDDEN
        moved = (difference > 0).any(1) & hidden
        doubt = np.any([moved_of[source] for source in layer.sources], 0)
        if KINDS[layer.kind].frames:
            doubt = np.convolve(doubt, np.ones(layer.frames))[:frames] > 0
        elif spec.memory[layer.name][1] != (0,):
            doubt = np.logical_or.accumulate(doubt | np.concatenate(([False], moved[:-1])))
        clear = difference[~doubt]
        if hidden:
            most, edges, values = (
                max(most, float(clear.max(initial=0))),
                edges + int((clear > 0).sum()),
                values + clear.size,
            )
        else:
            relative = clear / (1 + np.abs(expected[layer.name][~doubt]))
            others = max(others, float(relative.max(initial=0)))
        moved_of[layer.name] = doubt | moved
    return most, others, edges, values


networks = {"count": 0, "whole": 0.0, "others": 0.0, "edges": 0, "values": 0, "split_matters": 0, "kernels_differ": 0}
kinds = set()
for seed in range(60):
    chance = Chance(seed + 1)
    spec = random_spec(chance)
    kinds |= {layer.kind for layer in spec.layers if layer.bands > 1 or not KINDS[layer.kind].bands}
    network, features = Network(spec, random_tensors(spec, chance)), chance.normal((90, spec.inputs)).astype(np.float32)
    names = tuple(network.layers)
    expected = ran_by(NUMPY, network)(features, network.new_memory(), names)
    memory = network.new_memory()
    found = ran_by(COMPILED[0], network)(features, memory, names)
    whole, others, edges, values = apart(spec, expected, found)
    networks["count"] += 1
    networks["whole"], networks["others"] = max(networks["whole"], whole), max(networks["others"], others)
    networks["edges"], networks["values"] = networks["edges"] + edges, networks["values"] + values
    for kernel in COMPILED:
        run, other = ran_by(kernel, network), network.new_memory()
        cuts = sorted({0, 90, *chance.integers(0, 90, 3).tolist()})
        parts = [run(features[a:b], other, names) for a, b in pairwise(cuts)]
        same = all(np.array_equal(np.concatenate([part[name] for part in parts]), found[name]) for name in names)
        differs = not (same and np.array_equal(memory, other))
        networks["split_matters" if kernel == COMPILED[0] else "kernels_differ"] += differs
networks["kinds"] = sorted(kinds)

# A gliding voice with pauses, in noise: what passes is large enough to be compared.
chance = Chance()
phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(np.arange(96_000) / 9_000)) / 48_000
voice = sum(np.sin(h * phase) / h for h in range(1, 20)) * (np.sin(np.arange(96_000) / 7_000) > -0.4)
x = 0.08 * voice + 0.005 * chance.normal(96_000)
hops = x.reshape(-1, 480).astype(np.float32)


def small_model(signal, kernel):
    """A model that has learnt nothing."""
    widths = {"dense": 5, "conv1": 6, "conv2": 7, "gru": 8, "gain_gru": 9, "strength_gru": 10}
    spec = percepnet(signal, **widths)
    tensors = random_tensors(spec, Chance(5))
    return Model("small", signal, Network(spec, tensors), tensors, choose(kernel, signal), {})


def path(model, sizes, state=None):
    """What the steps of a model make of the hops, in calls of such sizes."""
    stream = ModelStream(model.runner, state or model.new_state())
    bare_stream = ModelStream(model.runner, model.new_state())
    rows, first = [], 0
    while first < len(hops):
        part = hops[first : first + sizes[len(rows) % len(sizes)]]
        first += len(part)
        frames = stream.analyse(part)
        q = frames.coherence
        full = stream.synthesise(frames, q, q[:, ::-1], dry=0.1)
        bare = bare_stream.synthesise(frames, q, None, postfilter=False)
        rows.append((*vars(frames).values(), full, bare))
    return dict(zip((*vars(frames), "full", "bare"), (np.concatenate(c) for c in zip(*rows, strict=True)), strict=True))


# The signal path: what both kernels make of it, how far apart they are, and whether a split matters.
same_pitch, signal_off, signal_split_matters, taking_turns, late = [], {}, False, 0.0, True
signal_kernels = set()
for signal in [*(SignalSpec(bands, ahead) for ahead in (0, 1, 2) for bands in (24, 34, 50)), SignalSpec(34, 2, 32)]:
    numpy, compiled = small_model(signal, NUMPY), small_model(signal, None)
    signal_kernels.add(compiled.backend.signal)
    reference, found = path(numpy, [200]), path(compiled, [200])
    same = reference["pitch_period"] == found["pitch_period"]
    same_pitch.append(float(same.mean()))
    for name, value in reference.items():
        if name in ("full", "bare"):  # a hop holds part of the frame before, whose pitch may be another
            off = float(np.std(found[name] - value) / np.std(value))
        else:
            off = float(np.abs(found[name] - value)[same].max() / np.abs(value).max())
        signal_off[name] = max(signal_off.get(name, 0.0), off)
    for sizes in ([1], [65], [7, 40, 1]):
        parts = path(compiled, sizes)
        signal_split_matters |= not all(np.array_equal(parts[name], value) for name, value in found.items())
    # One kernel goes on where the other stopped.
    state = numpy.new_state()
    streams = [ModelStream(model.runner, state) for model in (numpy, compiled)]
    turns = [streams[i % 2].analyse(hops[10 * i : 10 * i + 10]).features for i in range(20)]
    taking_turns = max(taking_turns, float(np.abs(np.concatenate(turns) - reference["features"])[same].max()))
    # Untouched, the sound comes out exactly as late as the model says.
    enhancer = Enhancer(compiled, strength_db=0)
    out = np.concatenate((enhancer.process(hops.ravel()), enhancer.flush()))
    late &= enhancer.latency_samples == 480 * (1 + signal.lookahead_frames) == len(out) - hops.size
    late &= float(np.abs(out[enhancer.latency_samples :] - hops.ravel()).max()) < 2e-6
    whole, halves = Enhancer(compiled), Enhancer(compiled)
    late &= np.array_equal(whole.process_hops(hops), halves.render(halves.estimate(hops)))

outputs = {}
for kernel in available_kernels():
    enhancer = Enhancer(load_model("default", kernel))
    outputs[kernel] = np.concatenate([enhancer.process_hops(hops[i : i + 3]) for i in range(0, 200, 3)])
json.dumps(
    {
        "kernels": available_kernels(),
        "default": load_model().kernel,
        "why_not": load_model().backend.why_not,
        "shapes": len(shapes),
        "wrong": wrong[:10],
        "after": after,
        "furthest": furthest,
        "split_matters": split_matters,
        "carried_off": carried_off,
        "convolution_same": bool(convolution_same),
        "networks": networks,
        "signal_kernels": sorted(signal_kernels),
        "same_pitch": min(same_pitch),
        "signal_off": signal_off,
        "signal_split_matters": signal_split_matters,
        "taking_turns": taking_turns,
        "late": bool(late),
        "enhanced_rms": float(np.std(outputs["numpy"])),
        "enhanced_difference": float(np.std(outputs["numpy"] - outputs[COMPILED[0]])),
        "relaxed_same": bool(np.array_equal(outputs[COMPILED[0]], outputs[COMPILED[-1]])),
    }
)
