"""All layers of a list, joined and run by numpy: the definition of what the network computes."""

from collections.abc import Mapping

import numpy as np

from .layers import LAYERS, Layer
from .spec import INPUT, NetworkSpec


class Network:
    """A list of layers with its weights; frozen.

    Parameters
    ----------
    spec : NetworkSpec
    tensors : mapping of str to ndarray
        As `NetworkSpec.tensors` names them.

    Attributes
    ----------
    spec : as given
    layers : dict of str to Layer
    """

    def __init__(self, spec: NetworkSpec, tensors: Mapping[str, np.ndarray]) -> None:
        self.spec = spec
        self.layers: dict[str, Layer] = {}
        for layer in spec.layers:
            first = len(layer.name) + 1
            own = {key[first:]: value for key, value in tensors.items() if key.startswith(f"{layer.name}.")}
            self.layers[layer.name] = LAYERS[layer.kind](layer, own)

    def new_memory(self) -> np.ndarray:
        """What the network remembers before the first frame, shape (n,), float32: zeros."""
        return np.zeros(self.spec.memory_size, np.float32)

    def __call__(self, features: np.ndarray, memory: np.ndarray) -> dict[str, np.ndarray]:
        """Run K frames.

        Parameters
        ----------
        features : ndarray, shape (K, inputs), float32
        memory : ndarray, shape (n,), float32
            Updated in place.

        Returns
        -------
        dict of str to ndarray, shape (K, units), float32
            Each layer's output; hidden ones as whole numbers in [-127, 127].
        """
        outputs = {INPUT: features}
        for name, layer in self.layers.items():
            seen = [outputs[source] for source in layer.spec.sources]
            x = seen[0] if len(seen) == 1 else np.concatenate(seen, 1)
            place, shape = self.spec.memory[name]
            outputs[name] = layer(x, memory[place].reshape(shape))
        return outputs
