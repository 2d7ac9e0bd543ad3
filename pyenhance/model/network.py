"""The PercepNet network: 70 features in, 34 gains, 34 strengths and voice activity out."""

from dataclasses import dataclass

import numpy as np

from ..dsp.constants import NUM_FEATURES
from ..nn import GRU, Conv1d, Layer, Linear, Program, choose_kernel
from .topology import SOURCES, Topology

_ACTIVATIONS = {
    "dense": "clamp",
    "conv1": "clamp",
    "conv2": "tanh",
    "gain": "sigmoid",
    "strength": "sigmoid",
    "vad": "sigmoid",
}


@dataclass
class NetworkState:
    """What the network remembers between calls.

    Attributes
    ----------
    memory : ndarray, shape (n,), float32
        Frames of the convolutions and hidden states of the GRUs, end to end.
    """

    memory: np.ndarray


class Network:
    """All layers, joined (PercepNet, section 6).

    Parameters
    ----------
    topology : Topology
    tensors : dict of str to ndarray
        As `Topology.tensors` names them.
    kernel : str, optional
        See `nn.choose_kernel`.

    Attributes
    ----------
    layers : dict of str to Layer
    kernel : str
        What runs: "numpy" also where a compiled one was wanted and cannot run this topology.
    """

    def __init__(self, topology: Topology, tensors: dict[str, np.ndarray], kernel: str | None = None) -> None:
        self.topology = topology
        self.layers: dict[str, Layer] = {}
        for name, (kind, _, _) in topology.layers().items():
            own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
            activation = _ACTIVATIONS.get(name)
            if kind == "gru":
                self.layers[name] = GRU(**own)
            elif kind.startswith("conv"):
                self.layers[name] = Conv1d(own["weight"], own["weight_scale"], own["bias"], int(kind[4:]), activation)
            else:
                integers = name != "dense"  # which sees the features
                self.layers[name] = Linear(
                    own["weight"], own["weight_scale"], own["bias"], activation, integers=integers
                )
        self._memory: dict[str, tuple[slice, tuple[int, ...]]] = {}  # where in the memory a layer's lies, and its shape
        end = 0
        for name, layer in self.layers.items():
            if isinstance(layer, Conv1d | GRU):
                before = layer.new_state()
                self._memory[name] = (slice(end, end + before.size), before.shape)
                end += before.size
        self._memory_size = end
        self.kernel, self._program = choose_kernel(kernel), None
        if any(layer.units % 16 for layer in self.layers.values() if isinstance(layer, GRU)):
            self.kernel = "numpy"
        if self.kernel != "numpy":
            self._program = Program(self.layers, SOURCES, NUM_FEATURES, self.kernel)

    def new_state(self) -> NetworkState:
        """The state before the first frame."""
        return NetworkState(np.zeros(self._memory_size, np.float32))

    def __call__(
        self, features: np.ndarray, state: NetworkState, trace: dict[str, np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Run K frames.

        Parameters
        ----------
        features : ndarray, shape (K, 70), float32
        state : NetworkState
            Updated in place.
        trace : dict, optional
            Receives each layer's output, shape (K, units), float32; hidden ones as whole numbers in [-127, 127].

        Returns
        -------
        gain, strength : ndarray, shape (K, 34), float32, in [0, 1]
        vad : ndarray, shape (K,), float32, in [0, 1]
        """
        names = ("gain", "strength", "vad") if trace is None else tuple(self.layers)
        if self._program is not None:
            outputs = dict(zip(names, self._program(features, state.memory, *names), strict=True))
        else:
            outputs = self._run(features, state.memory)
        if trace is not None:
            trace.update((name, outputs[name]) for name in names)
        return outputs["gain"], outputs["strength"], outputs["vad"][:, 0]

    def _run(self, features: np.ndarray, memory: np.ndarray) -> dict[str, np.ndarray]:
        """Every layer's output, by numpy."""
        outputs = {"features": features}
        for name, layer in self.layers.items():
            seen = [outputs[source] for source in SOURCES[name]]
            x = seen[0] if len(seen) == 1 else np.concatenate(seen, 1)
            if name in self._memory:
                place, shape = self._memory[name]
                outputs[name], after = layer.step(x, memory[place].reshape(shape))
                memory[place] = after.ravel()
            else:
                outputs[name] = layer(x)
        return outputs
