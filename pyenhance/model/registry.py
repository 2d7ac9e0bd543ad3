"""Models by name or by path."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..nn import KERNEL
from .network import Network, NetworkState
from .weights import read_weights

_SUFFIX = ".safetensors"
_loaded: dict[str, "Model"] = {}


@dataclass(frozen=True)
class Model:
    """A network with its facts; frozen, so any number of streams may share it.

    Attributes
    ----------
    name : str
    network : Network
    metadata : dict of str to str
        From the weights file: format, topology, sample_rate, training commit, sha256.
    kernel : str
        What computes the integer products.
    """

    name: str
    network: Network
    metadata: dict[str, str]
    kernel: str = KERNEL

    @property
    def weights(self) -> int:
        """Number of int8 weights."""
        return self.network.topology.weights

    def new_state(self) -> NetworkState:
        """The network's state before the first frame."""
        return self.network.new_state()


def available_models() -> list[str]:
    """Names of the models that ship with the package."""
    files = resources.files("pyenhance.weights").iterdir()
    return sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX))


def load_model(model: Any = "default") -> Model:
    """A model from its name, from a weights file, or as it is.

    Parameters
    ----------
    model : str, path or Model
        A shipped model's name, a ``.safetensors`` path, or a `Model`, which is returned.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        No such model, or a weights file that is not as it must be.
    """
    if isinstance(model, Model):
        return model
    text = str(model)
    if text in _loaded:
        return _loaded[text]
    if text in available_models():
        file = resources.files("pyenhance.weights") / f"{text}{_SUFFIX}"
        _loaded[text] = Model(text, *_network(file.read_bytes(), text))
        return _loaded[text]
    path = Path(text)
    if path.suffix != _SUFFIX or not path.is_file():
        raise ValueError(f"model {text!r} is neither shipped ({', '.join(available_models())}) nor a {_SUFFIX} file")
    return Model(path.stem, *_network(path.read_bytes(), text))


def _network(data: bytes, name: str) -> tuple[Network, dict[str, str]]:
    try:
        topology, tensors, metadata = read_weights(data)
    except ValueError as error:
        raise ValueError(f"model {name!r}: {error}") from error
    return Network(topology, tensors), metadata
