"""Random small networks of every kind of layer, for comparing what runs them, and models that have learnt nothing."""

import functools
import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from hypothesis import strategies as st

from pyenhance.dsp import SignalSpec
from pyenhance.model import load_model, percepnet, write_weights
from pyenhance.model.banded import banded
from pyenhance.nn import INPUT, KINDS, LEAN_MATRICES, LayerSpec, NetworkSpec

HIDDEN = ("clamp", "tanh")
FRAMES = 23
WIDTHS = {"dense": 5, "conv1": 6, "conv2": 7, "gru": 8, "gain_gru": 9, "strength_gru": 10}


@st.composite
def network_specs(draw: st.DrawFn) -> NetworkSpec:
    """Up to seven layers on one another and on the features, of any width and any activation that their kind allows;
    some with lean frames."""
    hidden: list[str] = []
    widths: dict[str, int] = {}
    layers: list[LayerSpec] = []
    for index in range(draw(st.integers(1, 7))):
        floats = not hidden or draw(st.integers(0, 4)) == 0
        kind = draw(st.sampled_from([name for name, facts in KINDS.items() if facts.floats or not floats]))
        sources = [INPUT] if floats else draw(st.lists(st.sampled_from(hidden), min_size=1, max_size=3))
        facts = KINDS[kind]
        accepted = facts.activations
        activation = draw(st.sampled_from(accepted if layers else [name for name in accepted if name in HIDDEN]))
        frames = draw(st.integers(1, 5)) if facts.frames else 1
        bands, reach = 1, draw(st.integers(0, 3)) if facts.reach else 0
        if facts.bands:
            common = math.gcd(*(widths[name] for name in sources))
            bands = draw(st.sampled_from([parts for parts in range(1, common + 1) if common % parts == 0]))
        # So that there is often something in common.
        parts = bands if bands > 1 else draw(st.sampled_from([1, 2, 6, 12]))
        units = parts * draw(st.integers(1, max(1, 37 // parts)))
        lean = draw(st.integers(0, units)) if facts.lean else 0
        layers.append(LayerSpec(f"l{index}", kind, tuple(sources), units, activation, frames, lean, bands, reach))
        widths[layers[-1].name] = units
        if activation in HIDDEN:
            hidden.append(layers[-1].name)
    return NetworkSpec(draw(st.integers(1, 40)), tuple(layers))


def every_layer(inputs: int = 5) -> NetworkSpec:
    """Every kind of layer with every activation that it may have, on one another; with lean frames where it may."""
    layers = [LayerSpec("first", "dense", (INPUT,), 21, "tanh")]
    hidden = ["first"]
    for kind, facts in KINDS.items():
        for n, activation in enumerate(facts.activations):
            sources, units = tuple(hidden[-2:]), 3 * (2 + len(layers))
            frames, bands, reach = facts.frames * (3 - n) + 1, facts.bands * 2 + 1, facts.reach * n
            layers.append(LayerSpec(f"{kind}_{activation}", kind, sources, units, activation, frames, 0, bands, reach))
            if activation in HIDDEN:
                hidden.append(layers[-1].name)
    for kind, facts in KINDS.items():
        if facts.lean:
            frames = facts.frames * 2 + 1
            layers.append(LayerSpec(f"{kind}_lean", kind, tuple(hidden[-2:]), 19, "tanh", frames, lean=7))
            hidden.append(layers[-1].name)
    layers.append(LayerSpec("last", "dense", tuple(hidden[-2:]), 5))
    return NetworkSpec(inputs, tuple(layers))


def random_tensors(spec: NetworkSpec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights and initial states all over int8; scales keep most sums off the flat ends of the activations."""
    tensors: dict[str, np.ndarray] = {}
    for name, (kind, shape) in spec.tensors.items():
        if kind == "I8":
            tensors[name] = rng.integers(-127, 128, shape).astype(np.int8)
            scale = rng.uniform(0.5, 2, shape[0]) / (127 * np.sqrt(shape[1]))
            tensors[f"{name}_scale"] = scale.astype(np.float32)
        elif name not in tensors:
            tensors[name] = rng.normal(0, 0.5, shape).astype(np.float32)
    begun = {name: rng.integers(-127, 128, shape).astype(np.int8) for name, shape in spec.initial.items()}
    return {name: tensors[name] for name in spec.tensors} | begun


def random_features(spec: NetworkSpec, rng: np.random.Generator, frames: int = FRAMES) -> np.ndarray:
    """Shape (frames, inputs), float32."""
    return rng.normal(size=(frames, spec.inputs)).astype(np.float32)


def assert_agree(
    spec: NetworkSpec,
    expected: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    full: np.ndarray | None = None,
) -> set[str]:
    """Two runs over the same features give the same: each layer's output, shape (K, units).

    A value on the edge between two int8 steps may round either way; from there on two runs differ. So a layer is
    compared in those frames in which all that it sees and remembers is the same: whole numbers within one step, and
    hardly ever apart; others to float32's last digits. full, shape (K,), bool, tells which frames are not lean.

    Returns
    -------
    set of str
        Layers for which all of it is the same to the end: so must be what they remember.
    """
    frames = len(next(iter(expected.values())))
    apart = {INPUT: np.zeros(frames, bool)}
    edges = values = 0
    same = set()
    for layer in spec.layers:
        difference = np.abs(found[layer.name] - expected[layer.name])
        assert found[layer.name].shape == expected[layer.name].shape and np.isfinite(difference).all(), layer
        hidden = layer.activation in HIDDEN
        moved = (difference > 0).any(1) & hidden
        doubt = np.any([apart[name] for name in layer.sources], 0)
        if KINDS[layer.kind].frames:
            doubt = np.convolve(doubt, np.ones(layer.frames))[:frames] > 0
            if layer.lean and full is not None:  # a lean frame sees with the last full one's eyes, too
                last = np.maximum.accumulate(np.where(full, np.arange(frames), -1))
                doubt |= (last >= 0) & doubt[last]
        elif spec.memory[layer.name][1] != (0,):
            along = slice(None, None, -1 if layer.backward else 1)
            before = np.concatenate(([False], moved[along][:-1]))
            doubt = np.logical_or.accumulate(doubt[along] | before)[along]
        clear = difference[~doubt]
        if hidden:
            assert clear.max(initial=0) <= 1, layer
            assert (expected[layer.name] == np.rint(expected[layer.name])).all(), layer
            edges, values = edges + int((clear > 0).sum()), values + clear.size
        else:
            assert (clear <= 2e-5 * (1 + np.abs(expected[layer.name][~doubt]))).all(), layer
        apart[layer.name] = doubt | moved
        if not apart[layer.name].any():
            same.add(layer.name)
    assert edges <= 2 + values // 500, f"{edges} of {values} whole numbers are apart"
    return same


def chosen_frames(spec: NetworkSpec, memory: np.ndarray, full: Iterable[bool]) -> Iterator[int]:
    """Numbers of frames, to be run one by one at effort "lean": of these the chosen ones are full, and the first."""
    for number, this in enumerate(full):
        if this and spec.has_lean:
            memory[spec.turn] = 0  # none to go on from
        yield number


def small_spec(signal: SignalSpec, lean: bool = False) -> NetworkSpec:
    """PercepNet's layers, a few units wide; with lean frames if wanted."""
    spec = percepnet(signal, **WIDTHS)
    return spec.with_lean({layer.name: 3 for layer in spec.layers if KINDS[layer.kind].lean}) if lean else spec


@functools.cache
def small_weights(signal: SignalSpec, seed: int = 0, lean: bool = False, bands: bool = False, **metadata: str) -> bytes:
    """A weights file of a few kilobytes, for a signal path, with gains and strengths all over [0, 1]."""
    spec = small_spec(signal, lean)
    if bands:  # layers that work band by band, over one frame and over several, and a GRU of all bands beside them
        spec = banded(signal, first=3, channels=5, blocks=1, squeeze=2, whole=9, out=2)
    return write_weights(signal, spec, random_tensors(spec, np.random.default_rng(seed)), metadata)


def full_alone(name: str) -> bytes:
    """A shipped model's weights file without its lean frames."""
    model = load_model(name)
    spec = model.network.spec.with_lean({})
    tensors = {key: model.tensors[key] for key in (*spec.tensors, *spec.initial) if key in model.tensors}
    return write_weights(model.signal, spec, tensors, {})


def lean_by_chance(name: str, rank: int = 16) -> bytes:
    """A shipped model's weights file with other lean frames, small changes that mean nothing.

    Full frames are the shipped model's to the last bit, lean ones are no good.
    """
    model = load_model(name)
    spec = model.network.spec
    spec = spec.with_lean({layer.name: min(rank, layer.units) for layer in spec.layers if KINDS[layer.kind].lean})
    drawn = random_tensors(spec, np.random.default_rng(0))
    own = {name for name in spec.tensors if name.split(".")[-1].startswith(LEAN_MATRICES)}
    tensors = {name: drawn[name] if name in own else model.tensors[name] for name in spec.tensors}
    tensors |= {name: model.tensors[name] for name in spec.initial if name in model.tensors}
    return write_weights(model.signal, spec, tensors, {})
