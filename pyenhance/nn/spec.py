"""The network as a list of layers: shapes, tensors, memory and cost follow from it, in numpy, C and torch alike."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

INPUT = "features"
"""What the first layers see; its float32 numbers are no int8 values."""

EFFORTS = ("full", "lean", "auto")
"""How much is computed of a list with lean layers: the same for all frames, or by turns and as hops wait."""

FULL_EVERY = 3
"""Of so many frames one is full where the effort is "auto" and nothing waits."""

INITIAL = "initial"
"""After its layer's name and a point, the name of the tensor from which a layer that remembers begins."""

ACTIVATIONS = ("none", "clamp", "tanh", "sigmoid")
"""What may follow a layer. After clamp and tanh come int8 values, which other layers may see."""

_MAX_UNITS, _MAX_FRAMES, _MAX_LAYERS, _MAX_REACH = 4096, 16, 64, 8
_MAX_SUMMED = 2**31 // 127**2
"""Products of int8 values whose sum surely fits into 32 bits, in which compiled code adds them up."""

HIDDEN = ("clamp", "tanh")
"""Activations that end in whole numbers in [-127, 127]."""


@dataclass(frozen=True)
class LayerSpec:
    """One layer.

    Attributes
    ----------
    name : str
    kind : str
        One of `KINDS`.
    sources : tuple of str
        What it sees, side by side: layers before it, or `INPUT` alone.
    units : int
        Width of its output.
    activation : str
        One of `ACTIVATIONS`; a GRU has its own and says "tanh".
    frames : int
        Frames that a convolution sees, the newest included; 1 for the others.
    bands : int
        Equal parts that the kinds which work band by band make of each source and of their own output, all with the
        same weights; 1 for the others.
    reach : int
        Neighbours on either side that a band sees in a convolution over bands; beyond the edges are zeros.
    backward : bool
        A GRU that goes from the last frame to the first, from a zero state: only whole recordings have a last frame.
    lean : int
        Rank of the product by which a lean frame's sums go on from those of the last full one, as what the layer sees
        has changed since: ``p + lean_out (lean_in (v - v_full))``. 0: every frame is a full one.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    units: int
    activation: str = "none"
    frames: int = 1
    lean: int = 0
    bands: int = 1
    reach: int = 0
    backward: bool = False

    @property
    def channels(self) -> int:
        """Width of one band of its output."""
        return self.units // self.bands


class LayerKind(NamedTuple):
    """What a kind of layer is made of, from its spec and the width of its input.

    Attributes
    ----------
    matrices : callable
        -> dict of tensor name to (outputs, inputs): int8, with a scale for each output.
    biases : callable
        -> dict of tensor name to size: float32.
    memory : callable
        -> shape of what it remembers between frames, float32.
    lean : callable, optional
        -> how many numbers it sees, and how many sums it makes of them: a lean frame goes on from both. None: all its
        frames are full.
    activations : tuple of str
        Those that it may have.
    floats : bool
        Whether it may see `INPUT`.
    frames, bands, reach, backward : bool
        Whether it may see several frames, works band by band, may see neighbouring bands, and may go backward.
    """

    matrices: Callable[[LayerSpec, int], dict[str, tuple[int, int]]]
    biases: Callable[[LayerSpec, int], dict[str, int]]
    memory: Callable[[LayerSpec, int], tuple[int, ...]]
    lean: Callable[[LayerSpec, int], tuple[int, int]] | None = None
    activations: tuple[str, ...] = ACTIVATIONS
    floats: bool = False
    frames: bool = False
    bands: bool = False
    reach: bool = False
    backward: bool = False


KINDS: dict[str, LayerKind] = {
    "dense": LayerKind(
        matrices=lambda layer, inputs: {"weight": (layer.units, inputs)},
        biases=lambda layer, inputs: {"bias": layer.units},
        memory=lambda layer, inputs: (0,),
        floats=True,
    ),
    "conv": LayerKind(
        matrices=lambda layer, inputs: {"weight": (layer.units, layer.frames * inputs)},
        biases=lambda layer, inputs: {"bias": layer.units},
        memory=lambda layer, inputs: (layer.frames - 1, inputs),
        lean=lambda layer, inputs: (layer.frames * inputs, layer.units),
        frames=True,
    ),
    "gru": LayerKind(
        matrices=lambda layer, inputs: {
            "weight_ih": (3 * layer.units, inputs),
            "weight_hh": (3 * layer.units, layer.units),
        },
        biases=lambda layer, inputs: {"bias_ih": 3 * layer.units, "bias_hh": 3 * layer.units},
        memory=lambda layer, inputs: (1, layer.units),
        # r and z, what n says of the input, and what it says of the state.
        lean=lambda layer, inputs: (inputs + layer.units, 4 * layer.units),
        activations=("tanh",),
        backward=True,
    ),
    "band_conv": LayerKind(
        matrices=lambda layer, inputs: {
            "weight": (layer.channels, layer.frames * (2 * layer.reach + 1) * (inputs // layer.bands))
        },
        biases=lambda layer, inputs: {"bias": layer.units},  # each band's own: where it lies
        memory=lambda layer, inputs: (layer.frames - 1, inputs),
        frames=True,
        bands=True,
        reach=True,
    ),
    "band_gru": LayerKind(
        matrices=lambda layer, inputs: {
            "weight_ih": (3 * layer.channels, inputs // layer.bands),
            "weight_hh": (3 * layer.channels, layer.channels),
        },
        biases=lambda layer, inputs: {"bias_ih": 3 * layer.channels, "bias_hh": 3 * layer.channels},
        memory=lambda layer, inputs: (layer.bands, layer.channels),
        activations=("tanh",),
        bands=True,
        backward=True,
    ),
}
"""Every kind of layer. In this order the compiled code knows them (`backend.structures`)."""


@dataclass(frozen=True)
class NetworkSpec:
    """Layers in the order in which they run.

    Attributes
    ----------
    inputs : int
        Width of the features.
    layers : tuple of LayerSpec

    Raises
    ------
    ValueError
        A layer that is not as it must be; the message names it and what is accepted.
    """

    inputs: int
    layers: tuple[LayerSpec, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= _MAX_LAYERS:
            raise ValueError(f"layers: {len(self.layers)} of them; accepted: 1 to {_MAX_LAYERS}")
        hidden: dict[str, bool] = {INPUT: False}
        widths = {INPUT: self.inputs}
        for layer in self.layers:
            _check(layer, hidden)
            hidden[layer.name] = layer.activation in HIDDEN
            widths[layer.name] = layer.units
            if layer.bands > 1:
                _check_bands(layer, widths)
            seen = sum(widths[source] for source in layer.sources) // layer.bands
            summed = layer.frames * (2 * layer.reach + 1) * seen
            if summed > _MAX_SUMMED:
                raise ValueError(f"layer {layer.name!r}: sees {summed} numbers; accepted: at most {_MAX_SUMMED}")
        if self.whole_recordings and self.has_lean:
            lean = next(layer for layer in self.layers if layer.lean)
            raise ValueError(f"layer {lean.name!r}: lean is {lean.lean}; accepted: 0 in a list with backward layers")

    @cached_property
    def widths(self) -> dict[str, int]:
        """Units of each layer and of the input."""
        return {INPUT: self.inputs} | {layer.name: layer.units for layer in self.layers}

    def inputs_of(self, layer: LayerSpec) -> int:
        """Width of what a layer sees in one frame."""
        return sum(self.widths[source] for source in layer.sources)

    @cached_property
    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type ("I8" or "F32") and shape of each tensor, by name, in the order of a weights file."""
        tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
        for layer in self.layers:
            kind, inputs = KINDS[layer.kind], self.inputs_of(layer)
            for name, shape in kind.matrices(layer, inputs).items():
                tensors |= _matrix(f"{layer.name}.{name}", shape)
            for name, size in kind.biases(layer, inputs).items():
                tensors[f"{layer.name}.{name}"] = ("F32", (size,))
            if layer.lean:
                seen, sums = self.lean_widths(layer)
                tensors |= _matrix(f"{layer.name}.{LEAN_IN}", (layer.lean, seen))
                tensors |= _matrix(f"{layer.name}.{LEAN_OUT}", (sums, layer.lean))
        return tensors

    def lean_widths(self, layer: LayerSpec) -> tuple[int, int]:
        """Numbers that a layer with lean frames sees, and sums that it makes of them."""
        widths = KINDS[layer.kind].lean
        assert widths is not None
        return widths(layer, self.inputs_of(layer))

    @cached_property
    def memory(self) -> dict[str, tuple[slice, tuple[int, ...]]]:
        """Where in the network's memory each layer's lies, and its shape."""
        places: dict[str, tuple[slice, tuple[int, ...]]] = {}
        end = 0
        for layer in self.layers:
            shape = KINDS[layer.kind].memory(layer, self.inputs_of(layer))
            size = 1
            for length in shape:
                size *= length
            places[layer.name] = (slice(end, end + size), shape)
            end += size
        return places

    @cached_property
    def kept(self) -> dict[str, slice]:
        """Where in the network's memory lies what lean frames of a layer go on from: of the last full frame what it
        saw, and the sums that it made of it."""
        places: dict[str, slice] = {}
        end = self.memory[self.layers[-1].name][0].stop
        for layer in self.layers:
            if layer.lean:
                places[layer.name] = slice(end, end + sum(self.lean_widths(layer)))
                end = places[layer.name].stop
        return places

    @property
    def turn(self) -> int:
        """Where in the memory of a list with lean layers the frames are counted since the last full one began, at most
        `FULL_EVERY`; 0: there is none to go on from."""
        return self.memory_size - 1

    @property
    def memory_size(self) -> int:
        """Numbers that the network remembers between frames."""
        if not self.has_lean:
            return self.memory[self.layers[-1].name][0].stop
        return list(self.kept.values())[-1].stop + 1

    @cached_property
    def initial(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of the int8 tensors from which layers begin; a weights file may leave any of them out.

        What is left out is zero. A convolution begins as if it had seen those values, a GRU from 1/127 of them.
        """
        shapes = {layer.name: self.memory[layer.name][1] for layer in self.layers if not layer.backward}
        return {f"{name}.{INITIAL}": shape for name, shape in shapes.items() if 0 not in shape}

    def with_lean(self, ranks: Mapping[str, int]) -> "NetworkSpec":
        """The same layers with lean frames of these ranks, by the layers' names; ValueError where that is refused."""
        if unknown := ranks.keys() - {layer.name for layer in self.layers}:
            raise ValueError(f"layer {min(unknown)!r} is none of {', '.join(layer.name for layer in self.layers)}")
        return replace(self, layers=tuple(replace(layer, lean=ranks.get(layer.name, 0)) for layer in self.layers))

    @property
    def weights(self) -> int:
        """Number of int8 weights."""
        return sum(shape[0] * shape[1] for kind, shape in self.tensors.values() if kind == "I8")

    @property
    def multiply_adds(self) -> int:
        """Of a full frame: each weight is used once, and once a band where bands share it."""
        return sum(layer.bands * rows * columns for layer in self.layers for rows, columns in self._matrices(layer))

    @property
    def lean_multiply_adds(self) -> int:
        """Of a lean frame."""
        saved = 0
        for layer in self.layers:
            if layer.lean:
                saved += sum(rows * columns for rows, columns in self._matrices(layer))
                saved -= layer.lean * sum(self.lean_widths(layer))
        return self.multiply_adds - saved

    def mean_multiply_adds(self, full_share: float = 1 / FULL_EVERY) -> float:
        """Of a frame, where such a share of them is full; by default that of turns."""
        return self.lean_multiply_adds + full_share * (self.multiply_adds - self.lean_multiply_adds)

    def _matrices(self, layer: LayerSpec) -> Iterable[tuple[int, int]]:
        return KINDS[layer.kind].matrices(layer, self.inputs_of(layer)).values()

    @cached_property
    def whole_recordings(self) -> bool:
        """Whether a layer goes backward, so that no stream can be run."""
        return any(layer.backward for layer in self.layers)

    @cached_property
    def has_lean(self) -> bool:
        """Whether a layer has lean frames; else every frame is a full one."""
        return any(layer.lean for layer in self.layers)

    def to_json(self) -> str:
        """JSON list of the layers; what came to be said of layers later is left out where it is as it was before."""
        values = [asdict(layer) for layer in self.layers]
        return json.dumps([{k: v for k, v in value.items() if _LATER.get(k) != v} for value in values])

    @classmethod
    def from_json(cls, text: str, inputs: int) -> "NetworkSpec":
        """Inverse of `to_json`; ValueError that names what is wrong."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"layers are no JSON: {text[:80]!r}") from error
        if not isinstance(values, list):
            raise ValueError(f"layers are {text[:80]!r}; accepted: a list of objects")
        return cls(inputs, tuple(_layer(value) for value in values))


LEAN_IN = "lean_in"
"""After its layer's name and a point, the name of the first matrix of a lean frame, shape (rank, seen)."""

LEAN_OUT = "lean_out"
"""The same of the second, shape (sums, rank)."""

LEAN_MATRICES = (LEAN_IN, LEAN_OUT)
"""What a layer has for its lean frames alone."""


def _matrix(name: str, shape: tuple[int, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: ("I8", shape), f"{name}_scale": ("F32", (shape[0],))}


_LATER = {"lean": 0, "bands": 1, "reach": 0, "backward": False}


def _layer(value: Any) -> LayerSpec:
    names = {field.name for field in fields(LayerSpec)}
    if not isinstance(value, dict) or set(value) | set(_LATER) != names:
        raise ValueError(f"layer is {str(value)[:200]}; accepted: an object with {', '.join(sorted(names))}")
    sources = value["sources"]
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise ValueError(f"layer {value['name']!r}: sources are {sources!r}; accepted: a list of names")
    return LayerSpec(**value | {"sources": tuple(sources)})


def _check_bands(layer: LayerSpec, widths: dict[str, int]) -> None:
    """Whether each source comes in as many equal parts."""
    for source in layer.sources:
        if widths[source] % layer.bands:
            raise ValueError(
                f"layer {layer.name!r}: source {source!r} has {widths[source]} units; "
                f"accepted: multiples of its {layer.bands} bands"
            )


def _check(layer: LayerSpec, hidden: dict[str, bool]) -> None:
    """Whether a layer fits those before it; `hidden` tells of each whether its output is int8."""

    def refuse(what: str, value: object, accepted: str | Iterable[object]) -> None:
        text = accepted if isinstance(accepted, str) else ", ".join(map(str, accepted))
        raise ValueError(f"layer {layer.name!r}: {what} is {value!r}; accepted: {text}")

    def whole(value: object, most: int) -> bool:
        return type(value) is int and 1 <= value <= most

    if not isinstance(layer.name, str) or not layer.name.isidentifier() or layer.name in hidden:
        refuse("name", layer.name, "an identifier that no other layer has")
    if not isinstance(layer.kind, str) or layer.kind not in KINDS:
        refuse("kind", layer.kind, KINDS)
    kind = KINDS[layer.kind]
    if not whole(layer.units, _MAX_UNITS):
        refuse("units", layer.units, f"a whole number from 1 to {_MAX_UNITS}")
    if not whole(layer.frames, _MAX_FRAMES if kind.frames else 1):
        refuse("frames", layer.frames, f"1 to {_MAX_FRAMES} for a convolution, 1 for the others")
    if not whole(layer.bands, _MAX_UNITS if kind.bands else 1) or layer.units % layer.bands:
        refuse("bands", layer.bands, f"a divisor of {layer.units} units, and 1 for kinds that know no bands")
    if not (type(layer.reach) is int and 0 <= layer.reach <= (_MAX_REACH if kind.reach else 0)):
        refuse("reach", layer.reach, f"0 to {_MAX_REACH} for a convolution over bands, 0 for the others")
    if not (type(layer.lean) is int and 0 <= layer.lean <= (layer.units if kind.lean else 0)):
        refuse("lean", layer.lean, f"0 to {layer.units} units" if kind.lean else "0 for all but GRUs and convolutions")
    if type(layer.backward) is not bool or (layer.backward and not kind.backward):
        refuse("backward", layer.backward, "true for GRUs, false for all")
    if layer.activation not in kind.activations:
        refuse("activation", layer.activation, kind.activations)
    if not layer.sources:
        refuse("sources", layer.sources, "at least one")
    for source in layer.sources:
        if source == INPUT:
            if not kind.floats or len(layer.sources) > 1:
                refuse("source", source, f"for {INPUT!r} a dense layer that sees nothing else")
        elif not hidden.get(source):
            refuse("source", source, [name for name, whole_numbers in hidden.items() if whole_numbers])
