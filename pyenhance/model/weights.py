"""Weights files, read and written: one ``.safetensors``, checked before anything is used.

The container is eight bytes of header length, a JSON header and the tensors' bytes; it takes numpy alone. Format 2 says
in its metadata what the network is (``layers``) and what signal path it was trained for (``signal``, see
`SignalSpec.to_json`); format 1, whose files have the default signal path and PercepNet's layers, is still read.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..dsp import HOP, SAMPLE_RATE, SignalSpec
from ..nn import NetworkSpec
from .percepnet import percepnet

FORMAT = "pyenhance-2"
"""Version of names, layout and meaning of the tensors, features and metadata."""

_FORMAT_1 = "pyenhance-1"
_WIDTHS = ("dense", "conv1", "conv2", "gru", "gain_gru", "strength_gru")  # that its files say, of `percepnet`
_MAX_HEADER_BYTES = 1_000_000
_HEADER_ALIGNMENT = 8
LARGEST = 1e6
"""Of scales and biases: far more than any that was trained, and no sum of them leaves float32's range."""

_DTYPES: dict[str, np.dtype[Any]] = {"I8": np.dtype("int8"), "F32": np.dtype("<f4")}
_OWN_METADATA = ("format", "sample_rate", "hop", "signal", "layers", "sha256")


class Weights(NamedTuple):
    """What a weights file holds.

    Attributes
    ----------
    signal : SignalSpec
    spec : NetworkSpec
    tensors : dict of str to ndarray
        As `NetworkSpec.tensors` names them, and those of `NetworkSpec.initial` that the file has; read-only.
    metadata : dict of str to str
    """

    signal: SignalSpec
    spec: NetworkSpec
    tensors: dict[str, np.ndarray]
    metadata: dict[str, str]


def read_weights(data: bytes) -> Weights:
    """Parse and check the bytes of a weights file.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    Weights

    Raises
    ------
    ValueError
        Anything that is not as it must be: header, format, sample rate, layers, signal path, names, types, shapes,
        places, sum, numbers.
    """
    header, payload = split(data)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("weights: no metadata of strings")
    if metadata.get("format") not in (FORMAT, _FORMAT_1):
        raise ValueError(f"weights: format is {metadata.get('format')!r}; accepted: {FORMAT!r}, {_FORMAT_1!r}")
    if metadata.get("sample_rate") != str(SAMPLE_RATE):
        raise ValueError(f"weights: sample_rate is {metadata.get('sample_rate')!r}; accepted: '{SAMPLE_RATE}'")
    digest = hashlib.sha256(payload).hexdigest()
    if metadata.get("sha256") != digest:
        raise ValueError(f"weights: sha256 of the tensors is {digest}; the file says {metadata.get('sha256')!r}")
    signal, spec = _specs(metadata)
    check_fit(signal, spec)
    expected = _expected(spec, header)
    end = 0
    tensors = {}
    for name in sorted(header, key=lambda n: _offsets(header[n])):
        kind, shape = expected[name]
        begin, stop = _offsets(header[name])
        if header[name].get("dtype") != kind or header[name].get("shape") != list(shape):
            found = f"{header[name].get('dtype')} {header[name].get('shape')}"
            raise ValueError(f"weights: {name} is {found}; accepted: {kind} {list(shape)}")
        size = int(np.prod(shape)) * _DTYPES[kind].itemsize
        if begin != end or stop - begin != size or stop > len(payload):
            raise ValueError(f"weights: {name} lies at {begin} to {stop}; accepted: {end} to {end + size}")
        tensor = np.frombuffer(payload, _DTYPES[kind], count=size // _DTYPES[kind].itemsize, offset=begin)
        if kind == "F32" and not (good := np.abs(tensor) <= LARGEST).all():
            raise ValueError(f"weights: {name} holds {tensor[~good][0]}; accepted: numbers of at most {LARGEST:.0e}")
        if kind == "I8" and tensor.min(initial=0) == -128:  # a kernel may turn the sign of a weight
            raise ValueError(f"weights: {name} holds -128; accepted: -127 to 127")
        tensors[name] = tensor.reshape(shape)
        end = stop
    if end != len(payload):
        raise ValueError(f"weights: {len(payload) - end} bytes follow the last tensor")
    return Weights(signal, spec, tensors, metadata)


def write_weights(
    signal: SignalSpec,
    spec: NetworkSpec,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of a weights file; `read_weights` takes them.

    Parameters
    ----------
    signal : SignalSpec
    spec : NetworkSpec
    tensors : mapping of str to ndarray
        As `NetworkSpec.tensors` names them: int8, float32; and any of `NetworkSpec.initial`, which are int8.
    metadata : mapping of str to str, optional
        What else the file is to say, such as training_commit and training_data.

    Returns
    -------
    bytes
        The same for the same arguments.

    Raises
    ------
    ValueError
        A tensor that is missing, unknown or not as it must be, metadata that is no text or that the writer sets itself.
    """
    facts = dict(metadata or {})
    for key, value in facts.items():
        if key in _OWN_METADATA or not isinstance(value, str):
            raise ValueError(f"metadata {key!r} is {value!r}; accepted: text, under other names than {_OWN_METADATA}")
    header: dict[str, Any] = {}
    parts = []
    end = 0
    for name, (kind, shape) in _expected(spec, tensors).items():
        if tensors[name].dtype != _DTYPES[kind] or tensors[name].shape != shape:
            found = f"{tensors[name].dtype} {tensors[name].shape}"
            raise ValueError(f"weights: {name} is {found}; accepted: {_DTYPES[kind]} {shape}")
        parts.append(np.ascontiguousarray(tensors[name]).tobytes())
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [end, end + len(parts[-1])]}
        end += len(parts[-1])
    payload = b"".join(parts)
    own = {"format": FORMAT, "sample_rate": str(SAMPLE_RATE), "hop": str(HOP)}
    own |= {"signal": signal.to_json(), "layers": spec.to_json(), "sha256": hashlib.sha256(payload).hexdigest()}
    data = join({"__metadata__": own | facts} | header, payload)
    read_weights(data)  # nothing is written that would not be read
    return data


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and payload of a ``.safetensors`` file; ValueError where it is none."""
    if len(data) < 8:
        raise ValueError(f"weights: {len(data)} bytes; accepted: a .safetensors file")
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(_MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError(f"weights: header of {length} bytes; accepted: 2 to {min(_MAX_HEADER_BYTES, len(data) - 8)}")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise ValueError("weights: the header is no JSON") from error
    if not isinstance(header, dict) or not all(isinstance(value, dict) for value in header.values()):
        raise ValueError("weights: the header is no JSON object of objects")
    return header, data[8 + length :]


def join(header: Mapping[str, Any], payload: bytes) -> bytes:
    """Inverse of `split`; the header is padded with spaces, so that the payload is aligned."""
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _HEADER_ALIGNMENT)
    return len(text).to_bytes(8, "little") + text + payload


def check_fit(signal: SignalSpec, spec: NetworkSpec) -> None:
    """ValueError where a network does not fit the signal path: its input, or a head (gain, strength, vad)."""
    if spec.inputs != signal.num_features:
        raise ValueError(f"layers: {spec.inputs} features; accepted with {signal}: {signal.num_features}")
    heads = {"gain": signal.num_bands, "strength": signal.num_bands, "vad": 1}
    layers = {layer.name: layer for layer in spec.layers}
    for name, units in heads.items():
        if name not in layers:
            raise ValueError(f"layers: {', '.join(layers)}; accepted: with one named {name!r}")
        head = layers[name]
        if head.units != units or head.activation != "sigmoid":
            raise ValueError(
                f"layer {name!r}: {head.units} units and {head.activation!r}; accepted: {units} units and 'sigmoid'"
            )


def _specs(metadata: Mapping[str, str]) -> tuple[SignalSpec, NetworkSpec]:
    """What the metadata says of the signal path and the layers."""
    if metadata["format"] == FORMAT:
        signal = SignalSpec.from_json(metadata.get("signal", ""))
        return signal, NetworkSpec.from_json(metadata.get("layers", ""), signal.num_features)
    text = metadata.get("topology", "")
    try:
        widths = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"topology is no JSON: {text[:80]!r}") from error
    names = sorted(_WIDTHS)
    if not isinstance(widths, dict) or sorted(widths) != names:
        raise ValueError(f"topology is {text[:200]!r}; accepted: an object with {names}")
    return SignalSpec(), percepnet(SignalSpec(), **widths)


def _expected(spec: NetworkSpec, found: Collection[str]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of the tensors of a file that has these; ValueError where one is missing or unknown."""
    expected = spec.tensors | {name: ("I8", shape) for name, shape in spec.initial.items() if name in found}
    if odd := sorted(set(found) ^ set(expected)):
        raise ValueError(f"weights: tensors missing or unknown: {', '.join(odd[:5])}")
    return expected


def _offsets(entry: dict[str, Any]) -> tuple[int, int]:
    offsets = entry.get("data_offsets")
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(type(v) is int and v >= 0 for v in offsets)):
        raise ValueError(f"weights: data_offsets are {offsets!r}; accepted: two whole numbers")
    return offsets[0], offsets[1]
