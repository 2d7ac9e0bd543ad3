"""What a model keeps of public data, so that fitting it to one user cannot forget all others (`adapt`).

A head's inputs are described by their strongest directions, scaled to equal power (so that a fit over them is well
conditioned), by the Gram matrix of those numbers, and by some frames that took no part in either, with what the shipped
head says of them and what would be right: the small set on which a fit is judged.
"""

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from .weights import join, split

HEADS = ("gain", "strength")
"""Layers that `adapt` fits."""

FORMAT = "pyenhance-summary-1"
SUFFIX = ".summary"

_DTYPES: dict[str, np.dtype[Any]] = {
    "I8": np.dtype("int8"),
    "U8": np.dtype("uint8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
}
_LEVELS = 127
_LARGEST_LOGIT = 12.0


class HeadSummary(NamedTuple):
    """Of one head, k directions of its inputs and a last one that is always 1, for its bias.

    Attributes
    ----------
    projection : ndarray, shape (inputs, k), float32
        What makes directions of inputs in [-1, 1].
    gram : ndarray, shape (k + 1, k + 1), float64
        Mean over public frames of the products of any two directions.
    values : ndarray, shape (n, k + 1), float32
        Directions of the frames that are kept.
    logit, target : ndarray, shape (n, bands), float32
        What the shipped head says of them before its sigmoid, and the ideal value in [0, 1].
    """

    projection: np.ndarray
    gram: np.ndarray
    values: np.ndarray
    logit: np.ndarray
    target: np.ndarray

    def directions(self, x: np.ndarray) -> np.ndarray:
        """The directions of inputs (K, inputs) in [-1, 1], float32; shape (K, k + 1)."""
        ones = np.ones((len(x), 1), np.float32)
        return np.concatenate((np.einsum("kj,ji->ki", x, self.projection), ones), 1)


class Summary(NamedTuple):
    """Of a model.

    Attributes
    ----------
    base : str
        SHA-256 of the weights file that it belongs to.
    heads : dict of str to HeadSummary
        Of each of `HEADS`.
    heard : ndarray, shape (n, bands), bool
        Bands of the kept frames that lie within their recording's bandwidth.
    """

    base: str
    heads: dict[str, HeadSummary]
    heard: np.ndarray


def write_summary(summary: Summary) -> bytes:
    """The bytes of a summary, rounded to 8 and 16 bits; `read_summary` takes them."""
    tensors: dict[str, np.ndarray] = {"heard": summary.heard.sum(1).astype(np.uint8)}
    for name, head in summary.heads.items():
        lower = np.tril_indices(len(head.gram))
        tensors[f"{name}.projection"], tensors[f"{name}.projection_scale"] = _rounded(head.projection)
        tensors[f"{name}.gram"] = head.gram[lower].astype(np.float16)
        tensors[f"{name}.values"], tensors[f"{name}.values_scale"] = _rounded(head.values[:, :-1])
        tensors[f"{name}.logit"] = np.rint(np.clip(head.logit / _LARGEST_LOGIT, -1, 1) * _LEVELS).astype(np.int8)
        tensors[f"{name}.target"] = np.rint(head.target * 255).astype(np.uint8)
    header: dict[str, Any] = {}
    names = {dtype: name for name, dtype in _DTYPES.items()}
    parts, end = [], 0
    for name, tensor in tensors.items():
        parts.append(np.ascontiguousarray(tensor).tobytes())
        places = [end, end := end + len(parts[-1])]
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": places}
    payload = b"".join(parts)
    facts = {"format": FORMAT, "base": summary.base, "sha256": hashlib.sha256(payload).hexdigest()}
    data = join({"__metadata__": facts} | header, payload)
    read_summary(data)
    return data


def read_summary(data: bytes) -> Summary:
    """Parse and check a summary.

    Raises
    ------
    ValueError
        It is none, or not whole.
    """
    try:
        header, payload = split(data)
        facts = header.pop("__metadata__")
        if facts["format"] != FORMAT or facts["sha256"] != hashlib.sha256(payload).hexdigest():
            raise ValueError("format or sum")
        tensors = {name: _tensor(entry, payload) for name, entry in header.items()}
        heads = {name: _head(tensors, name) for name in HEADS}
        bands = heads["gain"].logit.shape[1]
        heard = np.arange(bands) < tensors["heard"][:, None]
        return Summary(str(facts["base"]), heads, heard)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"summary: accepted: a whole file of format {FORMAT!r} ({error})") from error


def summary_of(base: bytes, data: bytes) -> Summary:
    """`read_summary`, of the weights file `base`; ValueError where it is another one's."""
    summary, digest = read_summary(data), hashlib.sha256(base).hexdigest()
    if summary.base != digest:
        raise ValueError(f"the summary is of model {summary.base[:12]}; accepted for this one: {digest[:12]}")
    return summary


def shipped_summary(model: str) -> bytes:
    """The summary that ships with a model.

    Raises
    ------
    ValueError
        None does.
    """
    file = resources.files("pyenhance.weights") / f"{model}{SUFFIX}"
    if not file.is_file():
        raise ValueError(f"no summary ships with model {model!r}; accepted: a shipped model's name, or a summary of it")
    return file.read_bytes()


def _rounded(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns as int8, each with its scale."""
    scale = np.maximum(np.abs(matrix).max(0), 1e-8).astype(np.float32) / np.float32(_LEVELS)
    return np.rint(matrix / scale).astype(np.int8), scale


def _tensor(entry: Mapping[str, Any], payload: bytes) -> np.ndarray:
    begin, end = entry["data_offsets"]
    return np.frombuffer(payload[begin:end], _DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _head(tensors: Mapping[str, np.ndarray], name: str) -> HeadSummary:
    own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
    projection = own["projection"] * own["projection_scale"]
    size = projection.shape[1] + 1
    gram = np.zeros((size, size))
    gram[np.tril_indices(size)] = own["gram"]
    gram += np.tril(gram, -1).T
    values = np.concatenate((own["values"] * own["values_scale"], np.ones((len(own["values"]), 1), np.float32)), 1)
    logit = own["logit"] * np.float32(_LARGEST_LOGIT / _LEVELS)
    return HeadSummary(projection, gram, values, logit, own["target"] / np.float32(255))
