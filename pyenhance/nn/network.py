"""All layers of a list, joined and run by numpy: the definition of what the network computes."""

from collections.abc import Collection, Mapping
from functools import cached_property

import numpy as np

from .layers import LAYERS, Layer, lay_side_by_side
from .quantize import ACTIVATION_LEVELS, quantize_activation
from .spec import ARBITRATOR, BACKLOG, BACKLOG_WIDTH, EFFORTS, INITIAL, INPUT, KINDS, LayerSpec, NetworkSpec


def check_effort(backlog: float, effort: str) -> None:
    """ValueError where `backlog` is negative or no finite number, or `effort` is none of `EFFORTS`."""
    if not (isinstance(backlog, int | float | np.number) and 0 <= backlog < np.inf):
        raise ValueError(f"backlog is {backlog!r}; accepted: a finite number of hops >= 0")
    if effort not in EFFORTS:
        raise ValueError(f"effort is {effort!r}; accepted: {', '.join(EFFORTS)}")


def backlog_values(backlog: float) -> np.ndarray:
    """What layers see of the sound that waits.

    Parameters
    ----------
    backlog : float, hops, >= 0

    Returns
    -------
    ndarray, shape (BACKLOG_WIDTH,), float32, whole numbers in [0, 127]
        Shares of 1, 4, 16 and 64 hops, at most 1.
    """
    shares = np.minimum(np.float32(min(backlog, 4**BACKLOG_WIDTH)) / 4 ** np.arange(BACKLOG_WIDTH, dtype=np.float32), 1)
    return quantize_activation(shares.astype(np.float32))


def _side_by_side(seen: list[np.ndarray], bands: int) -> np.ndarray:
    """Sources, each (K, its width), in one row a frame: band after band, of each the sources in turn."""
    if bands == 1:
        return np.concatenate(seen, 1)
    count = len(seen[0])
    return np.concatenate([x.reshape(count, bands, -1) for x in seen], 2).reshape(count, -1)


def _run(layer: Layer, x: np.ndarray, memory: np.ndarray, full: np.ndarray | None, ahead: int) -> np.ndarray:
    """A layer over all rows of x; its memory stays as the last `ahead` of them have not yet been."""
    if not ahead or layer.spec.backward or not memory.size:
        return layer(x, memory, full)
    now, later = slice(len(x) - ahead), slice(len(x) - ahead, None)
    first = layer(x[now], memory, None if full is None else full[now])
    return np.concatenate((first, layer(x[later], memory.copy(), None if full is None else full[later])))


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
        self._hears_backlog = any(BACKLOG in layer.sources for layer in spec.layers)
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
            Sound that waits: what layers see under the name `BACKLOG`.
        effort : str
            One of `EFFORTS`; a list without lean parts runs all of itself whatever it says.
        ahead : int, in [0, K)
            So many of the last frames are a run-up for the layers that go backward: `memory` stays as of the frame
            before them, from which the next call goes on.
        names : collection of str, optional
            The layers whose outputs are wanted: others' are let go when no further layer sees them. None: all.

        Returns
        -------
        dict of str to ndarray, shape (K, units), float32
            Each layer's output; hidden ones as whole numbers in [-127, 127]. The arbitrator's is what was chosen: its
            own value where the effort is "auto", else 1 for full or 0 for lean.

        Raises
        ------
        ValueError
            `backlog` is negative or no finite number, or there is no such effort.
        """
        check_effort(backlog, effort)
        outputs = {INPUT: features}
        if self._hears_backlog:
            # As memory, frame after frame: layers lay views over what they see.
            outputs[BACKLOG] = np.repeat(backlog_values(backlog)[None], len(features), 0)
        full = None
        for name, layer in self._laid_out.items():
            place, shape = self.spec.memory[name]
            remembered, chosen = memory[place].reshape(shape), full if layer.spec.lean else None
            outputs[name] = _run(layer, self._inputs(outputs, layer.spec, names), remembered, chosen, ahead)
            if name == ARBITRATOR and self.spec.has_lean:
                if effort != "auto":
                    outputs[name].fill(effort == "full")
                full = outputs[name][:, 0] > np.float32(0.5)
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
