"""A model's stream as one image of memory, for a WebAssembly instance of its own that needs no Python to be there.

The image holds what a compiled stream points to, laid out for 32-bit addresses from `BASE` on: structures, tables,
scales and biases. Of the weights it says where they go and how they lie; they come from the weights file, so nothing is
sent twice. What is zero at the start is not in it either.

The file: the length of a JSON header (uint32), the header, and the segments' bytes end to end. The header has

- layout: sum of the structures (see `backend.structures.layout`), which the library must have been made from;
- sha256: of the tensors of the weights file;
- base, size: bytes from `BASE` that the image takes;
- segments: [address, bytes] of what follows;
- weights: {address, tensor, outputs, inputs, rows, columns, turns} of each matrix (see `Program`);
- stream, network: addresses of the structures; memory: of what the network remembers; dry: of the stream's field;
  input, output, facts: addresses;
- lean: where a model has lean layers, what `backend.stream.lean_fields` says; else null;
- state: {name: [address, bytes]} of all that a stream remembers;
- check: hops of `check_sound`, and the address of what numpy makes of the last of them: an engine whose SIMD is wrong
  is found out before it is heard;
- model, hop, num_bands, latency_samples, max_hops.
"""

import ctypes
import json
import struct
import threading
from typing import Any

import numpy as np

from ..backend import BLOCK_HOPS, Backend, CompiledStream, Program, SignalTables
from ..backend.stream import lean_fields
from ..backend.structures import FIELDS, layout
from ..dsp import HOP
from .registry import Model, check_streams
from .stream import ModelStream, Runner

BASE = 512 * 1024
"""Where the image begins: below lie the module's own data and its stack."""

_ALIGNMENT = 16
CHECK_HOPS = 6
_PIECE = 64  # bytes; pieces of zeros are left out
_SIZES = {"int32_t": 4, "float": 4, "double": 8}  # pointers have 4
_FORMATS = {"int32_t": "<i", "float": "<f", "double": "<d"}


def field_offsets(name: str) -> tuple[dict[str, int], int]:
    """Where the fields of a structure lie with 32-bit addresses, and its size; bytes."""
    offsets: dict[str, int] = {}
    end = widest = 0
    for field, kind in FIELDS[name].items():
        size = _SIZES.get(kind, 4)
        widest = max(widest, size)
        offsets[field] = end = -(-end // size) * size
        end += size
    return offsets, -(-end // widest) * widest


class _Memory:
    """Addresses, given out one after the other."""

    def __init__(self) -> None:
        self.end = BASE
        self.segments: list[tuple[int, bytes]] = []
        self._places: dict[int, int] = {}
        self._kept: list[Any] = []  # ids are of what lives

    def room(self, size: int) -> int:
        address = self.end
        self.end += -(-size // _ALIGNMENT) * _ALIGNMENT
        return address

    def reserve(self, array: np.ndarray) -> int:
        """Address of an array whose contents come from elsewhere."""
        self._kept.append(array)
        self._places[id(array)] = self.room(array.nbytes)
        return self._places[id(array)]

    def array(self, array: np.ndarray) -> int:
        """Address of an array; of views, within what they are a view of."""
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        if id(owner) not in self._places:
            self._kept.append(owner)
            self._places[id(owner)] = self.room(owner.nbytes)
            self._store(self._places[id(owner)], np.ascontiguousarray(owner).tobytes())
        return self._places[id(owner)] + array.ctypes.data - owner.ctypes.data

    def _store(self, address: int, data: bytes) -> None:
        """What is to lie at an address, less the pieces that are zero."""
        for first in range(0, len(data), _PIECE):
            piece = data[first : first + _PIECE]
            if any(piece):
                last = self.segments[-1] if self.segments else (0, b"")
                if last[0] + len(last[1]) == address + first:
                    self.segments[-1] = (last[0], last[1] + piece)
                else:
                    self.segments.append((address + first, piece))

    def structure(self, structure: ctypes.Structure) -> int:
        """Address of a structure, or of several side by side."""
        if id(structure) not in self._places:
            self._kept.append(structure)
            together = structure.kept if isinstance(structure, ctypes.Array) else [structure]
            parts = [self._bytes(part) for part in together]
            self._places[id(structure)] = self.room(sum(map(len, parts)))
            self.segments.append((self._places[id(structure)], b"".join(parts)))
        return self._places[id(structure)]

    def _bytes(self, structure: ctypes.Structure) -> bytes:
        name = type(structure).__name__
        offsets, size = field_offsets(name)
        data = bytearray(size)
        for field, value in structure.kept.items():
            kind = FIELDS[name][field]
            if field == "size":
                value = size
            elif "*" in kind:
                kind, value = "int32_t", self.address(value)
            struct.pack_into(_FORMATS[kind], data, offsets[field], value)
        return bytes(data)

    def address(self, value: Any) -> int:
        """Address of whatever a field points to."""
        if value is None:
            return 0
        return self.array(value) if isinstance(value, np.ndarray) else self.structure(value)


def check_sound() -> np.ndarray:
    """Something to compare numpy and compiled code by, shape (CHECK_HOPS, 480), float32: whole numbers make it.

    It has an offset, so that all that is done about energy below the voice takes part.
    """
    n = np.arange(CHECK_HOPS * HOP)
    return (n * n % 997 / np.float32(5000)).astype(np.float32).reshape(-1, HOP)


def write_image(model: Model) -> bytes:
    """The image of a model's stream before its first hop.

    Parameters
    ----------
    model : Model
        From a weights file.

    Raises
    ------
    ValueError
        It hears whole recordings.
    """
    signal, network = check_streams(model).signal, model.network
    program = Program(network, None)
    tables = SignalTables(signal, program.features, threading.Lock())
    state = model.new_state()
    reference = ModelStream(Runner(signal, network, Backend("numpy", "numpy", {})), model.new_state())
    expected = reference.process(check_sound(), 0.0, effort="auto")[0][-1].copy()
    stream = CompiledStream(None, tables, program, state)
    memory = _Memory()
    weights = []
    names = {id(tensor): tensor_name for tensor_name, tensor in model.tensors.items()}
    for laid_out, original in program.matrices:
        address = memory.reserve(laid_out)
        rows, columns = program.padded(original)
        outputs, inputs = original.shape
        turns = laid_out.ndim == 4
        weights.append(
            {
                "address": address,
                "tensor": names[id(original)],
                **{"outputs": outputs, "inputs": inputs, "rows": rows, "columns": columns, "turns": turns},
            }
        )
    address = memory.structure(stream.structure)
    check = {"hops": CHECK_HOPS, "address": memory.array(expected)}
    header = {
        "layout": layout(),
        "sha256": model.metadata["sha256"],
        "model": model.name,
        "num_bands": signal.num_bands,
        "latency_samples": signal.latency_samples,
        "hop": HOP,
        "max_hops": BLOCK_HOPS,
        "stream": address,
        "network": memory.structure(program.structure),
        "memory": memory.array(state.memory),
        "dry": address + field_offsets("stream")[0]["dry"],
        **{part: memory.array(getattr(stream, part)) for part in ("input", "output", "facts")},
        "lean": lean_fields(address, field_offsets("stream")[0]) if network.spec.has_lean else None,
        "state": {name: [memory.array(value), value.nbytes] for name, value in state.parts().items()},
        "weights": weights,
        "base": BASE,
        "size": memory.end - BASE,
        "check": check,
        "segments": [[place, len(data)] for place, data in memory.segments],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<I", len(text)) + text + b"".join(data for _, data in memory.segments)
