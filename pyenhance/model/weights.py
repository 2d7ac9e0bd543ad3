"""Reading a weights file: one ``.safetensors``, checked before anything is used.

The format is eight bytes of header length, a JSON header and the tensors' bytes. Reading it takes numpy alone.
"""

import hashlib
import json
from typing import Any

import numpy as np

from ..dsp.constants import SAMPLE_RATE
from .topology import Topology

FORMAT = "pyenhance-1"
"""Version of names, layout and meaning of the tensors and features."""

_MAX_HEADER_BYTES = 1_000_000
_DTYPES = {"I8": np.dtype("int8"), "F32": np.dtype("<f4")}


def read_weights(data: bytes) -> tuple[Topology, dict[str, np.ndarray], dict[str, str]]:
    """Parse and check the bytes of a weights file.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    topology : Topology
    tensors : dict of str to ndarray, read-only
    metadata : dict of str to str

    Raises
    ------
    ValueError
        Anything that is not as it must be: header, format, sample rate, names, types, shapes, places, sum, numbers.
    """
    header, payload = _split(data)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("weights: no metadata of strings")
    if metadata.get("format") != FORMAT:
        raise ValueError(f"weights: format is {metadata.get('format')!r}; accepted: {FORMAT!r}")
    if metadata.get("sample_rate") != str(SAMPLE_RATE):
        raise ValueError(f"weights: sample_rate is {metadata.get('sample_rate')!r}; accepted: '{SAMPLE_RATE}'")
    digest = hashlib.sha256(payload).hexdigest()
    if metadata.get("sha256") != digest:
        raise ValueError(f"weights: sha256 of the tensors is {digest}; the file says {metadata.get('sha256')!r}")
    topology = Topology.from_json(metadata.get("topology", ""))
    expected = topology.tensors()
    if set(header) != set(expected):
        odd = sorted(set(header) ^ set(expected))
        raise ValueError(f"weights: tensors missing or unknown: {', '.join(odd[:5])}")
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
        if kind == "F32" and not np.isfinite(tensor).all():
            raise ValueError(f"weights: {name} holds NaN or Inf")
        if kind == "I8" and tensor.min(initial=0) == -128:  # a kernel may turn the sign of a weight
            raise ValueError(f"weights: {name} holds -128; accepted: -127 to 127")
        tensors[name] = tensor.reshape(shape)
        end = stop
    if end != len(payload):
        raise ValueError(f"weights: {len(payload) - end} bytes follow the last tensor")
    return topology, tensors, metadata


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    if len(data) < 8:
        raise ValueError(f"weights: {len(data)} bytes; accepted: a .safetensors file")
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(_MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError(f"weights: header of {length} bytes; accepted: 2 to {min(_MAX_HEADER_BYTES, len(data) - 8)}")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError as error:
        raise ValueError("weights: the header is no JSON") from error
    if not isinstance(header, dict) or not all(isinstance(value, dict) for value in header.values()):
        raise ValueError("weights: the header is no JSON object of objects")
    return header, data[8 + length :]


def _offsets(entry: dict[str, Any]) -> tuple[int, int]:
    offsets = entry.get("data_offsets")
    whole = isinstance(offsets, list) and len(offsets) == 2 and all(type(v) is int and v >= 0 for v in offsets)
    if not whole:
        raise ValueError(f"weights: data_offsets are {offsets!r}; accepted: two whole numbers")
    return offsets[0], offsets[1]
