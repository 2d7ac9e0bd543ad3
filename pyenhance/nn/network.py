"""All layers of a list, joined and run by numpy: the definition of what the network computes."""

from collections.abc import Collection, Mapping
from functools import cached_property

import numpy as np

from .layers import GRU, LAYERS, Conv, Layer, lay_side_by_side
from .quantize import ACTIVATION_LEVELS
from .spec import EFFORTS, FULL_EVERY, INITIAL, INPUT, KINDS, LayerSpec, NetworkSpec


def check_effort(backlog: float, effort: str) -> None:
    """ValueError where `backlog` is negative or no finite number, or `effort` is none of `EFFORTS`."""
    if not (isinstance(backlog, int | float | np.number) and 0 <= backlog < np.inf):
        raise ValueError(f"backlog is {backlog!r}; accepted: a finite number of hops >= 0")
    if effort not in EFFORTS:
        raise ValueError(f"effort is {effort!r}; accepted: {', '.join(EFFORTS)}")


def choose(turn: float, count: int, backlog: float, effort: str) -> np.ndarray:
    """Which of the next frames of a list with lean layers are full ones.

    Lean frames go on from a full one, so the first is full. With "auto" one in `FULL_EVERY` is, and none while a hop
    waits: what waits is made up for first. Frames of effort "full" keep nothing to go on from: it would take time.

    Parameters
    ----------
    turn : float
        As a network remembers it: see `NetworkSpec.turn`.
    count : int
        Frames.
    backlog : float, hops, >= 0
        Sound that waits.
    effort : str
        One of `EFFORTS`.

    Returns
    -------
    ndarray, shape (count,), bool
    """
    if effort == "full":
        return np.ones(count, bool)
    full = np.zeros(count, bool)
    if effort == "auto" and backlog < 1:
        full[max(FULL_EVERY - int(turn), 0) if turn else 0 :: FULL_EVERY] = True
    elif not turn:
        full[:1] = True
    return full


def _turn_after(turn: float, full: np.ndarray, effort: str) -> int:
    """What the network remembers of turns after those frames."""
    if effort == "full":
        return 0
    since = full[::-1].argmax() + 1 if full.any() else turn + len(full) if turn else 0
    return min(int(since), FULL_EVERY)


def _side_by_side(seen: list[np.ndarray], bands: int) -> np.ndarray:
    """Sources, each (K, its width), in one row a frame: band after band, of each the sources in turn."""
    if bands == 1:
        return np.concatenate(seen, 1)
    count = len(seen[0])
    return np.concatenate([x.reshape(count, bands, -1) for x in seen], 2).reshape(count, -1)


def _run(layer: Layer, x: np.ndarray, memory: np.ndarray, ahead: int) -> np.ndarray:
    """A layer over all rows of x; its memory stays as the last `ahead` of them have not yet been."""
    if not ahead or layer.spec.backward or not memory.size:
        return layer(x, memory)
    first = layer(x[:-ahead], memory)
    return np.concatenate((first, layer(x[-ahead:], memory.copy())))


def _per_step(layer: LayerSpec) -> np.float32:
    """Steps of int8 in what a layer remembers: convolutions remember int8 values, GRUs numbers in [-1, 1]."""
    return np.float32(1 if KINDS[layer.kind].frames else ACTIVATION_LEVELS)


def initial_tensors(spec: NetworkSpec, memory: np.ndarray) -> dict[str, np.ndarray]:
    """A memory, shape (n,), float32, as tensors of a weights file from which layers begin (`NetworkSpec.initial`)."""
    found = {}
    for layer in spec.layers:
        name, (place, shape) = f"{layer.name}.{INITIAL}", spec.memory[layer.name]
        if name in spec.initial:
            steps = np.rint(memory[place] * _per_step(layer)).clip(-ACTIVATION_LEVELS, ACTIVATION_LEVELS)
            found[name] = steps.astype(np.int8).reshape(shape)
    return found


def _initial_memory(spec: NetworkSpec, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Inverse of `initial_tensors`; what is not among the tensors is zero."""
    memory = np.zeros(spec.memory_size, np.float32)
    for layer in spec.layers:
        steps = tensors.get(f"{layer.name}.{INITIAL}")
        if steps is not None:
            memory[spec.memory[layer.name][0]] = steps.ravel() / _per_step(layer)
    return memory


class Network:
    """A list of layers with its weights; frozen.

    Parameters
    ----------
    spec : NetworkSpec
    tensors : mapping of str to ndarray
        As `NetworkSpec.tensors` names them, and any of `NetworkSpec.initial`.

    Attributes
    ----------
    spec : as given
    layers : dict of str to Layer
    """

    def __init__(self, spec: NetworkSpec, tensors: Mapping[str, np.ndarray]) -> None:
        self.spec = spec
        self._last_seen_by = {source: layer.name for layer in spec.layers for source in layer.sources}
        self.layers: dict[str, Layer] = {}
        for layer in spec.layers:
            first = len(layer.name) + 1
            own = {key[first:]: value for key, value in tensors.items() if key.startswith(f"{layer.name}.")}
            self.layers[layer.name] = LAYERS[layer.kind](layer, own)
        self._initial = _initial_memory(spec, tensors)

    @cached_property
    def _laid_out(self) -> dict[str, Layer]:
        """The layers, their weights side by side: on first use, as compiled code has its own."""
        lay_side_by_side(product for layer in self.layers.values() for product in layer.products)
        return self.layers

    def new_memory(self) -> np.ndarray:
        """What the network remembers before the first frame, shape (n,), float32: zeros, or what was learnt."""
        return self._initial.copy()

    def __call__(
        self,
        features: np.ndarray,
        memory: np.ndarray,
        backlog: float = 0.0,
        effort: str = "full",
        *,
        ahead: int = 0,
        names: Collection[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Run K frames.

        Parameters
        ----------
        features : ndarray, shape (K, inputs), float32
        memory : ndarray, shape (n,), float32
            Updated in place.
        backlog : float, hops
            Sound that waits: see `choose`.
        effort : str
            One of `EFFORTS`; a list without lean layers runs all of itself whatever it says.
        ahead : int, in [0, K)
            So many of the last frames are a run-up for the layers that go backward: `memory` stays as of the frame
            before them, from which the next call goes on. Of a list with lean layers, which has none of those, 0.
        names : collection of str, optional
            The layers whose outputs are wanted: others' are let go when no further layer sees them. None: all.

        Returns
        -------
        dict of str to ndarray, shape (K, units), float32
            Each layer's output; hidden ones as whole numbers in [-127, 127].

        Raises
        ------
        ValueError
            `backlog` is negative or no finite number, or there is no such effort.
        """
        check_effort(backlog, effort)
        outputs = {INPUT: features}
        full = None
        if self.spec.has_lean:
            turn = memory[self.spec.turn]
            chosen = choose(turn, len(features), backlog, effort)
            memory[self.spec.turn] = _turn_after(turn, chosen, effort)
            full = None if effort == "full" else chosen
        for name, layer in self._laid_out.items():
            place, shape = self.spec.memory[name]
            x, remembered = self._inputs(outputs, layer.spec, names), memory[place].reshape(shape)
            if full is not None and isinstance(layer, GRU | Conv) and layer.spec.lean:
                outputs[name] = layer.by_turns(x, remembered, full, memory[self.spec.kept[name]])
            else:
                outputs[name] = _run(layer, x, remembered, ahead)
        return outputs

    def _inputs(self, outputs: dict[str, np.ndarray], layer: LayerSpec, names: Collection[str] | None) -> np.ndarray:
        """What a layer sees; if only `names` are wanted, outputs that no layer after it sees are let go: of a long
        recording all of them would be much."""
        seen = [outputs[source] for source in layer.sources]
        if names is not None:
            for source in layer.sources:
                if source not in names and self._last_seen_by[source] == layer.name:
                    outputs.pop(source, None)
        return seen[0] if len(seen) == 1 else _side_by_side(seen, layer.bands)
