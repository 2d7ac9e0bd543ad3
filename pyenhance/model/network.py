"""The PercepNet network: 70 features in, 34 gains, 34 strengths and voice activity out."""

from dataclasses import dataclass

import numpy as np

from ..nn import GRU, Conv1d, Linear
from .topology import Topology

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
    """What the network remembers between calls, by layer: frames of a convolution, hidden state of a GRU."""

    memory: dict[str, np.ndarray]


class Network:
    """All layers, joined (PercepNet, section 6).

    Parameters
    ----------
    topology : Topology
    tensors : dict of str to ndarray
        As `Topology.tensors` names them.
    kernel : str, optional
        What computes the integer products; see `nn.choose_kernel`.
    """

    def __init__(self, topology: Topology, tensors: dict[str, np.ndarray], kernel: str | None = None) -> None:
        self.topology = topology
        self.layers: dict[str, Linear | Conv1d | GRU] = {}
        for name, (kind, _, _) in topology.layers().items():
            own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
            activation = _ACTIVATIONS.get(name)
            if kind == "gru":
                self.layers[name] = GRU(**own, kernel=kernel)
            elif kind.startswith("conv"):
                frames = int(kind[4:])
                self.layers[name] = Conv1d(
                    own["weight"], own["weight_scale"], own["bias"], frames, activation, kernel=kernel
                )
            else:
                integers = name != "dense"  # which sees the features
                self.layers[name] = Linear(
                    own["weight"], own["weight_scale"], own["bias"], activation, integers=integers, kernel=kernel
                )

    def new_state(self) -> NetworkState:
        """The state before the first frame."""
        return NetworkState({n: x.new_state() for n, x in self.layers.items() if isinstance(x, Conv1d | GRU)})

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
        dense = self.layers["dense"](features)
        conv1 = self._step("conv1", dense, state)
        conv2 = self._step("conv2", conv1, state)
        gru1 = self._step("gru1", conv2, state)
        gru2 = self._step("gru2", gru1, state)
        gru3 = self._step("gru3", gru2, state)
        gain_gru = self._step("gain_gru", gru3, state)
        strength_gru = self._step("strength_gru", np.concatenate((gru3, conv2), 1), state)
        gain = self.layers["gain"](np.concatenate((conv2, gru1, gru2, gru3, gain_gru), 1))
        strength = self.layers["strength"](strength_gru)
        vad = self.layers["vad"](strength_gru)
        if trace is not None:
            trace.update(dense=dense, conv1=conv1, conv2=conv2, gru1=gru1, gru2=gru2, gru3=gru3, gain_gru=gain_gru)
            trace.update(strength_gru=strength_gru, gain=gain, strength=strength, vad=vad)
        return gain, strength, vad[:, 0]

    def _step(self, name: str, x: np.ndarray, state: NetworkState) -> np.ndarray:
        y, state.memory[name] = self.layers[name].step(x, state.memory[name])
        return y
