"""Diffs between models: an update is a few percent of the weights, applied bit by bit, or not at all.

A diff changes the int8 weights by whole steps under scales that stay, so that base and diff give one exact result
(after "Learning a neural diff for speech models", Macoskey et al., Interspeech 2021). Two kinds:

- *sparse*: the places of the entries that change, as gaps, and their steps;
- *hashed*: every entry belongs to one of B buckets, by a hash of its place; the step of each bucket is what is sent.

Biases change sparsely in both. A tensor that differs too much is sent whole.

The file: eight bytes that name the format, the SHA-256 of all that follows, the length of a JSON header, the header
(kind, sums of base and result, size of the payload) and the payload, deflated with the base's header as the dictionary.
The payload is the result's header and then, tensor by tensor, a code and what it needs.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from . import rice
from .registry import available_models
from .weights import read_weights

KINDS = ("sparse", "hashed")
MAGIC = b"pyediff1"

_SUFFIX = ".safetensors"
_SAME, _WHOLE, _STEPS, _FLOATS, _HASHED = range(5)  # what happens to a tensor
_U8, _U32, _U32_PAIR = struct.Struct("<B"), struct.Struct("<I"), struct.Struct("<II")
_SUM_BYTES = hashlib.sha256().digest_size
_MAX_HEADER_BYTES = 4096
_HEADROOM_BYTES = 65_536  # for the result's header: a payload may be so much larger than its base
_MAX_STEP = 127
_BYTES = {"I8": 1, "F32": 4}


@dataclass(frozen=True)
class DiffHeader:
    """What a diff says of itself.

    Attributes
    ----------
    kind : str, of `KINDS`
    base, result : str
        SHA-256 of the weights file that it is for, and of the one that it leads to.
    size : int, bytes of the payload before it was deflated
    """

    kind: str
    base: str
    result: str
    size: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"diff: kind is {str(self.kind)[:40]!r}; accepted: {', '.join(KINDS)}")
        for name, value in (("base", self.base), ("result", self.result)):
            if not (isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")):
                raise ValueError(f"diff: {name} is {str(value)[:80]!r}; accepted: a SHA-256 in hexadecimal")
        if type(self.size) is not int or self.size < 0:
            raise ValueError(f"diff: size is {str(self.size)[:40]}; accepted: a whole number of bytes")


@dataclass(frozen=True)
class _Tensor:
    """A tensor as it lies in a weights file."""

    dtype: str
    shape: tuple[int, ...]
    data: np.ndarray  # int8 or, for floats, their bits as uint32; flat, read-only


def make_diff(base: bytes, new: bytes, *, kind: str = "sparse", buckets: int = 0, seed: int = 0) -> bytes:
    """The diff that leads from one weights file to another.

    Parameters
    ----------
    base, new : bytes
        Weights files.
    kind : {"sparse", "hashed"}
    buckets, seed : int
        For a hashed diff: how `new` was made from `base`, see `bucket_of`.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        A weights file that is not as it must be, an unknown kind, models that differ by more than a diff can hold, or
        for a hashed diff a model that is not the base and such buckets.
    """
    old_header, old = _tensors(base)
    new_header, tensors = _tensors(new)
    parts = [_U32.pack(len(new_header)), new_header]
    values = None
    if kind == "hashed":
        values = _bucket_values(old, tensors, buckets, seed)
        parts += [_U32_PAIR.pack(seed, buckets), values.tobytes()]
    for name, tensor in tensors.items():
        parts += _encode(old.get(name), tensor, hashed=values is not None)
    payload = b"".join(parts)
    if len(payload) > len(base) + _HEADROOM_BYTES:
        raise ValueError(f"the models differ by {len(payload)} bytes, the base has {len(base)}: send the new one whole")
    header = DiffHeader(kind, _sum(base), _sum(new), len(payload))
    squeeze = zlib.compressobj(9, zdict=old_header)
    text = json.dumps(asdict(header), separators=(",", ":")).encode()
    rest = _U32.pack(len(text)) + text + squeeze.compress(payload) + squeeze.flush()
    diff = MAGIC + hashlib.sha256(rest).digest() + rest
    if apply_diffs(base, [diff]) != new:  # what is published was applied once
        raise ValueError("the diff does not lead to the new model")
    return diff


def read_header(diff: bytes) -> DiffHeader:
    """What a diff says of itself, its sum checked.

    Raises
    ------
    ValueError
        It is no diff, or not whole, or changed.
    """
    return _open(diff)[0]


def apply_diffs(base: bytes, diffs: Sequence[bytes]) -> bytes:
    """The weights file that a chain of diffs leads to.

    Parameters
    ----------
    base : bytes
        A weights file.
    diffs : sequence of bytes, at least one
        Each for the result of the one before it.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        A diff is broken, cut or changed, is for another base, or one of the chain is missing; the message says which.
    """
    if not diffs:
        raise ValueError("no diffs; accepted: one or more")
    reached, before = _sum(base), "the base"
    for i, header in enumerate(map(read_header, diffs), 1):  # the whole chain, before any work
        if header.base != reached:
            found = f"{before} is {reached[:12]}: another base, or a gap"
            raise ValueError(f"diff {i} of {len(diffs)} is for {header.base[:12]}; {found}")
        reached, before = header.result, f"what diff {i} leads to"
    for diff in diffs:
        base = _apply(base, diff)
    return base


def bucket_of(name: str, count: int, buckets: int, seed: int) -> np.ndarray:
    """Which bucket of a hashed diff each entry of a tensor belongs to.

    The result's weight is the base's plus its bucket's step, kept within -127 to 127.

    Parameters
    ----------
    name : str
        Of the tensor.
    count : int
        Entries of the tensor, in the order of its file.
    buckets : int, 1 to 2**31
    seed : int, 0 to 2**32 - 1

    Returns
    -------
    ndarray, shape (count,), int64, in [0, buckets)
    """
    h = np.arange(count, dtype=np.uint32) + np.uint32(zlib.crc32(name.encode(), seed))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):  # MurmurHash3's finaliser (Appleby)
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    h ^= h >> np.uint32(16)
    return ((h.astype(np.uint64) * np.uint64(buckets)) >> np.uint64(32)).astype(np.int64)


def weights_bytes(model: str | Path) -> bytes:
    """The weights file of a shipped model's name or of a path.

    Raises
    ------
    ValueError
        It is neither.
    """
    if str(model) in available_models():
        return (resources.files("pyenhance.weights") / f"{model}{_SUFFIX}").read_bytes()
    path = Path(model)
    if path.suffix != _SUFFIX or not path.is_file():
        shipped = ", ".join(available_models())
        raise ValueError(f"model {str(model)!r} is neither shipped ({shipped}) nor a {_SUFFIX} file")
    return path.read_bytes()


def write_whole(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write a file whole or not at all; FileExistsError where there is one and `force` is not set."""
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; --force overwrites it")
    waiting = path.with_name(f".{path.name}.part")
    try:
        waiting.write_bytes(data)
        waiting.replace(path)
    finally:
        waiting.unlink(missing_ok=True)


def changed_share(base: bytes, new: bytes) -> float:
    """Share of a model's int8 weights that differ from the base's, in [0, 1]; of tensors that both have."""
    old, tensors = (_tensors(data)[1] for data in (base, new))
    both = [(old[name].data, t.data) for name, t in tensors.items() if t.dtype == "I8" and _alike(old.get(name), t)]
    return sum(int((a != b).sum()) for a, b in both) / max(sum(len(a) for a, _ in both), 1)


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _tensors(data: bytes) -> tuple[bytes, dict[str, _Tensor]]:
    """Header and tensors of a weights file, in the order of its bytes; ValueError unless it is as it must be."""
    read_weights(data)
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    tensors, place = {}, 8 + length
    for name, (dtype, shape) in _layout(header).items():
        count = int(np.prod(shape))
        tensors[name] = _Tensor(dtype, shape, np.frombuffer(data, "i1" if dtype == "I8" else "<u4", count, place))
        place += count * _BYTES[dtype]
    return header, tensors


def _layout(header: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each tensor that a weights file's header names, in the order of their bytes."""
    try:
        entries: dict[str, Any] = json.loads(header)
        entries.pop("__metadata__", None)
        order = sorted(entries.items(), key=lambda item: item[1]["data_offsets"][0])
        layout = {name: (str(entry["dtype"]), tuple(map(int, entry["shape"]))) for name, entry in order}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError("diff: the result's header is no weights file's") from error
    for name, (dtype, shape) in layout.items():
        if dtype not in _BYTES or any(side < 0 for side in shape):
            raise ValueError(f"diff: {name[:80]} is {dtype[:20]} {list(shape)[:4]}; accepted: {', '.join(_BYTES)}")
    return layout


def _alike(old: _Tensor | None, new: _Tensor) -> bool:
    return old is not None and (old.dtype, old.shape) == (new.dtype, new.shape)


def _encode(old: _Tensor | None, new: _Tensor, *, hashed: bool) -> list[bytes]:
    """A tensor's code and what it needs, the shortest."""
    whole = [_U8.pack(_WHOLE), new.data.tobytes()]
    if old is None or not _alike(old, new):
        return whole
    places = np.flatnonzero(old.data != new.data)
    if not len(places):
        return [_U8.pack(_SAME)]
    if hashed and new.dtype == "I8":
        return [_U8.pack(_HASHED)]
    gaps = rice.encode(np.diff(places, prepend=-1) - 1)
    if new.dtype == "I8":
        steps = new.data[places].astype(np.int64) - old.data[places]
        sparse = [_U8.pack(_STEPS), gaps, rice.encode(np.abs(steps) - 1), np.packbits(steps < 0).tobytes()]
    else:
        planes = new.data[places].view(np.uint8).reshape(-1, 4).T  # exponents beside exponents deflate well
        sparse = [_U8.pack(_FLOATS), gaps, planes.tobytes()]
    return sparse if sum(map(len, sparse)) < sum(map(len, whole)) else whole


def _bucket_values(old: dict[str, _Tensor], new: dict[str, _Tensor], buckets: int, seed: int) -> np.ndarray:
    """The step of each bucket that makes the new int8 tensors of the old ones; shape (buckets,), int8."""
    if not 1 <= buckets < 2**31 or not 0 <= seed < 2**32:
        raise ValueError(
            f"{buckets} buckets of seed {seed}; accepted: 1 to 2**31 - 1 buckets, seeds from 0 to 2**32 - 1"
        )
    most, least = np.full(buckets, -256), np.full(buckets, 256)
    changed = [
        (name, old[name].data.astype(np.int64), tensor.data.astype(np.int64))
        for name, tensor in new.items()
        if tensor.dtype == "I8" and _alike(old.get(name), tensor) and (old[name].data != tensor.data).any()
    ]
    for name, before, after in changed:
        own = bucket_of(name, len(before), buckets, seed)
        step = after - before
        inside = np.abs(after) < _MAX_STEP  # at the edge the step may have been larger
        np.maximum.at(most, own[inside | (after > 0)], step[inside | (after > 0)])
        np.minimum.at(least, own[~inside & (after < 0)], step[~inside & (after < 0)])
    values = np.where(most > -256, most, np.where(least < 256, least, 0))
    exact = np.abs(values).max(initial=0) <= _MAX_STEP and all(
        np.array_equal(_hashed(name, before, values, seed), after) for name, before, after in changed
    )
    if not exact:
        raise ValueError(f"the new model is not the base and {buckets} buckets of seed {seed}")
    return values.astype(np.int8)


def _hashed(name: str, old: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray:
    """A tensor, each entry moved by its bucket's step; shape (n,), int64."""
    moved = old.astype(np.int64) + values[bucket_of(name, len(old), len(values), seed)]
    return np.clip(moved, -_MAX_STEP, _MAX_STEP)


def _open(diff: bytes) -> tuple[DiffHeader, bytes]:
    """Header and deflated payload, the sum checked."""
    start = len(MAGIC) + _SUM_BYTES
    if diff[: len(MAGIC)] != MAGIC:
        raise ValueError(f"diff: it begins with {diff[: len(MAGIC)]!r}; accepted: {MAGIC!r}")
    rest = diff[start:]
    digest = hashlib.sha256(rest).digest()
    if diff[len(MAGIC) : start] != digest:
        raise ValueError(
            f"diff: its sum is {digest.hex()[:12]}, it says {diff[len(MAGIC) : start].hex()[:12]}: changed or cut"
        )
    reader = rice.Reader(rest)
    (length,) = reader.numbers(_U32)
    if length > _MAX_HEADER_BYTES:
        raise ValueError(f"diff: a header of {length} bytes; accepted: up to {_MAX_HEADER_BYTES}")
    try:
        header = DiffHeader(**json.loads(bytes(reader.take(length))))
    except (TypeError, RecursionError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError("diff: the header is not as it must be") from error
    return header, rest[_U32.size + length :]


def _inflate(packed: bytes, size: int, limit: int, dictionary: bytes) -> bytes:
    """The payload, never more than its base allows."""
    if size > limit:
        raise ValueError(f"diff: a payload of {size} bytes; accepted for this base: up to {limit}")
    inflating = zlib.decompressobj(zdict=dictionary)
    try:
        payload = inflating.decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(f"diff: the payload cannot be inflated: {error}") from error
    if len(payload) != size or not inflating.eof or inflating.unused_data:
        raise ValueError(f"diff: the payload has {'more' if len(payload) > size else 'not'} the {size} bytes it says")
    return payload


def _apply(base: bytes, diff: bytes) -> bytes:
    header, packed = _open(diff)
    old_header, old = _tensors(base)
    reader = rice.Reader(_inflate(packed, header.size, len(base) + _HEADROOM_BYTES, old_header))
    new_header = bytes(reader.take(*reader.numbers(_U32)))
    values, seed = None, 0
    if header.kind == "hashed":
        seed, buckets = reader.numbers(_U32_PAIR)
        values = np.frombuffer(reader.take(buckets), np.int8).astype(np.int64)
    parts = [len(new_header).to_bytes(8, "little"), new_header]
    for name, (dtype, shape) in _layout(new_header).items():
        parts.append(_decode(reader, name, old.get(name), dtype, shape, values, seed))
    reader.end()
    result = b"".join(parts)
    if _sum(result) != header.result:
        raise ValueError(f"diff: the result's sum is {_sum(result)[:12]}; the diff says {header.result[:12]}")
    read_weights(result)
    return result


def _decode(
    reader: rice.Reader,
    name: str,
    old: _Tensor | None,
    dtype: str,
    shape: tuple[int, ...],
    values: np.ndarray | None,
    seed: int,
) -> bytes:
    """A tensor's bytes."""
    (code,) = reader.numbers(_U8)
    if code == _WHOLE:
        size = _BYTES[dtype]
        for side in shape:
            size *= side
        return bytes(reader.take(size))
    if old is None or (old.dtype, old.shape) != (dtype, shape):
        raise ValueError(f"diff: {name[:80]} is {dtype} {list(shape)[:4]}, which the base has not")
    if code == _SAME:
        return old.data.tobytes()
    if code == _HASHED and dtype == "I8" and values is not None and len(values):
        return _hashed(name, old.data, values, seed).astype(np.int8).tobytes()
    if code == (_STEPS if dtype == "I8" else _FLOATS):
        places = np.cumsum(reader.rice(len(old.data)) + 1) - 1
        if len(places) and not 0 <= places[-1] < len(old.data):
            raise ValueError(f"diff: {name[:80]} changes entry {places[-1]} of {len(old.data)}")
        return (_stepped if dtype == "I8" else _floats)(reader, name, old.data, places)
    raise ValueError(f"diff: code {code} for {name[:80]}, {dtype}")


def _stepped(reader: rice.Reader, name: str, old: np.ndarray, places: np.ndarray) -> bytes:
    size = reader.rice(len(places)) + 1
    if len(size) != len(places):
        raise ValueError(f"diff: {name[:80]} has {len(places)} places and {len(size)} steps")
    steps = np.where(reader.bits(len(places)), -size, size)
    moved = old.astype(np.int64)
    moved[places] += steps
    if np.abs(moved).max(initial=0) > _MAX_STEP:
        odd = moved[np.abs(moved).argmax()]
        raise ValueError(f"diff: a step takes {name[:80]} to {odd}; accepted: -{_MAX_STEP} to {_MAX_STEP}")
    return moved.astype(np.int8).tobytes()


def _floats(reader: rice.Reader, name: str, old: np.ndarray, places: np.ndarray) -> bytes:
    planes = np.frombuffer(reader.take(4 * len(places)), np.uint8).reshape(4, len(places))
    moved = old.copy()
    moved[places] = np.ascontiguousarray(planes.T).view("<u4")[:, 0]
    return moved.tobytes()
