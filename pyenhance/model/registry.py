"""Models by name or by path."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..nn import choose_kernel
from .network import Network, NetworkState
from .weights import read_weights

_SUFFIX = ".safetensors"
_loaded: dict[tuple[str, str], "Model"] = {}


@dataclass(frozen=True)
class Model:
    """A network with its facts; frozen, so any number of streams may share it.

    Attributes
    ----------
    name : str
    network : Network
    metadata : dict of str to str
        From the weights file: format, topology, sample_rate, training commit, sha256.
    """

    name: str
    network: Network
    metadata: dict[str, str]

    @property
    def kernel(self) -> str:
        """What runs the network."""
        return self.network.kernel

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


def load_model(model: Any = "default", kernel: str | None = None) -> Model:
    """A model from its name, from a weights file, or as it is.

    Parameters
    ----------
    model : str, path or Model
        A shipped model's name, a ``.safetensors`` path, or a `Model`, which is returned.
    kernel : str, optional
        What runs the network: "numpy", or where they work "simd" and "relaxed"; by default the environment's
        ``PYENHANCE_KERNEL``, else the fastest.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        No such model or kernel, or a weights file that is not as it must be.
    """
    if isinstance(model, Model):
        return model
    kernel = choose_kernel(kernel)
    text = str(model)
    if (text, kernel) in _loaded:
        return _loaded[text, kernel]
    if text in available_models():
        file = resources.files("pyenhance.weights") / f"{text}{_SUFFIX}"
        _loaded[text, kernel] = _read(text, file.read_bytes(), text, kernel)
        return _loaded[text, kernel]
    path = Path(text)
    if path.suffix != _SUFFIX or not path.is_file():
        raise ValueError(f"model {text!r} is neither shipped ({', '.join(available_models())}) nor a {_SUFFIX} file")
    return _read(path.stem, path.read_bytes(), text, kernel)


def _read(name: str, data: bytes, asked: str, kernel: str) -> Model:
    try:
        topology, tensors, metadata = read_weights(data)
    except ValueError as error:
        raise ValueError(f"model {asked!r}: {error}") from error
    return Model(name, Network(topology, tensors, kernel), metadata)
