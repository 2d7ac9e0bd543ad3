"""Models by name, by path, or from bytes."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import NUMPY, Backend, StreamState, choose, wanted_kernel
from ..dsp import SignalSpec
from ..nn import Network
from .stream import ModelStream, Runner
from .weights import read_weights

_SUFFIX = ".safetensors"
_loaded: dict[tuple[str, str | None], "Model"] = {}


@dataclass(frozen=True)
class Model:
    """A signal path and a network with its facts; frozen, so any number of streams may share it.

    Attributes
    ----------
    name : str
    signal : SignalSpec
    network : Network
        As numpy runs it.
    tensors : dict of str to ndarray
        As `NetworkSpec.tensors` and `initial` name them, read-only.
    backend : Backend
        What runs it here.
    metadata : dict of str to str
        From the weights file: format, sample_rate, training commit, sha256 and others.
    """

    name: str
    signal: SignalSpec
    network: Network
    tensors: dict[str, np.ndarray]
    backend: Backend
    metadata: dict[str, str]

    @property
    def kernel(self) -> str:
        """What runs the network."""
        return self.backend.network

    @property
    def weights(self) -> int:
        """Number of int8 weights."""
        return self.network.spec.weights

    @property
    def whole_recordings(self) -> bool:
        """Whether it hears all of a recording before it says anything of its beginning, and so runs no stream."""
        return self.network.spec.whole_recordings

    @cached_property
    def runner(self) -> Runner:
        """What the streams of the model share."""
        return Runner(self.signal, self.network, self.backend)

    def new_state(self) -> StreamState:
        """The state before the first hop."""
        return StreamState(self.signal, self.network.new_memory())

    def stream(self, state: StreamState) -> ModelStream:
        """The model's steps on a state."""
        return ModelStream(self.runner, state)

    def estimate(
        self,
        features: np.ndarray,
        memory: np.ndarray,
        trace: dict[str, np.ndarray] | None = None,
        *,
        backlog: float = 0.0,
        effort: str = "full",
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Run the network alone over K frames.

        Parameters
        ----------
        features : ndarray, shape (K, num_features), float32
        memory : ndarray, shape (n,), float32
            As `network.new_memory` makes it; updated in place.
        trace : dict, optional
            Receives each layer's output, shape (K, units), float32; hidden ones as whole numbers in [-127, 127].
        backlog, effort
            As for `nn.Network`.

        Returns
        -------
        gain, strength : ndarray, shape (K, bands), float32, in [0, 1]
        vad : ndarray, shape (K,), float32, in [0, 1]
        """
        names = ("gain", "strength", "vad") if trace is None else tuple(self.network.layers)
        outputs = self.runner.layers(features, memory, names, backlog, effort)
        if trace is not None:
            trace.update(outputs)
        return outputs["gain"], outputs["strength"], outputs["vad"][:, 0]


def available_models() -> list[str]:
    """Names of the models that ship with the package."""
    files = resources.files("pyenhance.weights").iterdir()
    return sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX))


def load_model(model: Any = "default", kernel: str | None = None) -> Model:
    """A model from its name, from a weights file or its bytes, or as it is.

    Parameters
    ----------
    model : str, path, bytes or Model
        A shipped model's name, a ``.safetensors`` path, the bytes of such a file, or a `Model`, which is returned.
    kernel : str, optional
        What runs it: "numpy", or where they work "simd", "relaxed" and "native"; by default the environment's
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
    if isinstance(model, bytes | bytearray | memoryview):
        data = bytes(model)
        name = f"weights-{hashlib.sha256(data).hexdigest()[:8]}"
        return _read(name, data, name, kernel)
    text = str(model)
    key = (text, wanted_kernel(kernel))
    if key in _loaded:
        return _loaded[key]
    if text in available_models():
        file = resources.files("pyenhance.weights") / f"{text}{_SUFFIX}"
        _loaded[key] = _read(text, file.read_bytes(), text, kernel)
        return _loaded[key]
    path = Path(text)
    if path.suffix != _SUFFIX or not path.is_file():
        raise ValueError(f"model {text!r} is neither shipped ({', '.join(available_models())}) nor a {_SUFFIX} file")
    return _read(path.stem, path.read_bytes(), text, kernel)


def stream_models() -> list[str]:
    """Of `available_models`, those that run streams: the others hear whole recordings."""
    return [name for name in available_models() if not load_model(name, NUMPY).whole_recordings]


def check_streams(model: Model) -> Model:
    """The model, or a ValueError that says what it is for: it hears whole recordings and runs no stream."""
    if model.whole_recordings:
        raise ValueError(
            f"model {model.name!r} hears whole recordings, and this is a stream; accepted: {', '.join(stream_models())}"
            " and others without layers that go backward; recordings take this one: `enhance`, `pyenhance denoise`, "
            "in JavaScript `engine.recording`"
        )
    return model


def forget_model(model: str) -> None:
    """Read a weights file anew when it is next asked for: it has been replaced.

    Parameters
    ----------
    model : str
        A shipped model's name, or a path.
    """
    for key in [key for key in _loaded if key[0] == model]:
        del _loaded[key]


def _read(name: str, data: bytes, asked: str, kernel: str | None) -> Model:
    try:
        signal, spec, tensors, metadata = read_weights(data)
    except ValueError as error:
        raise ValueError(f"model {asked!r}: {error}") from error
    return Model(name, signal, Network(spec, tensors), tensors, choose(kernel, signal), metadata)
