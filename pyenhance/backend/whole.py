"""A network with layers that go backward, for compiled code: it goes through a recording a few layers at a time."""

import ctypes
from collections.abc import Collection
from itertools import groupby

import numpy as np

from ..nn.network import Network
from ..nn.spec import HIDDEN, INPUT, LayerSpec
from .program import Program
from .structures import BLOCK_HOPS


class WholeProgram:
    """Neighbouring layers of one direction are a program; backward ones are given blocks and frames from the last on.

    Parameters
    ----------
    network, library
        As for `Program`.
    """

    def __init__(self, network: Network, library: ctypes.CDLL) -> None:
        self._layers = {layer.name: layer for layer in network.spec.layers}
        self._programs: list[tuple[Program, bool]] = []
        self._last_seen_by: dict[str, int] = {}
        for backward, layers in groupby(network.spec.layers, lambda layer: layer.backward):
            program = Program(network, library, [layer.name for layer in layers])
            self._last_seen_by |= dict.fromkeys(program.given, len(self._programs))
            self._programs.append((program, backward))

    def __call__(
        self,
        features: np.ndarray,
        memory: np.ndarray,
        names: Collection[str],
        ahead: int = 0,
        backlog: float = 0.0,
    ) -> dict[str, np.ndarray]:
        """As `Network`, K frames of which the last `ahead` leave no trace in memory; the named layers' outputs."""
        outputs, now = {INPUT: features}, len(features) - ahead
        for index, (program, backward) in enumerate(self._programs):
            wanted = {
                name: self._layers[name]
                for name in program.layers
                if name in names or self._last_seen_by.get(name, -1) > index
            }
            found: dict[str, np.ndarray] = {
                name: np.empty((len(features), layer.units), _stored(layer)) for name, layer in wanted.items()
            }
            if backward:
                last_first = _reversed(outputs), np.zeros_like(memory), _reversed(found)
                _run(program, *last_first, 0, len(features), backlog)
            else:
                _run(program, outputs, memory, found, 0, now, backlog)
                _run(program, outputs, memory.copy(), found, now, len(features), backlog)
            outputs |= found
            for name in program.given:
                if name not in names and self._last_seen_by[name] == index:
                    del outputs[name]
        return {name: outputs[name].astype(np.float32, copy=False) for name in names}


def _stored(layer: LayerSpec) -> type:
    """Of the arrays that hold a layer's outputs: int8 where they are whole numbers of 8 bits, a quarter as large."""
    return np.int8 if layer.activation in HIDDEN else np.float32


def _reversed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array[::-1] for name, array in arrays.items()}


def _run(
    program: Program,
    seen: dict[str, np.ndarray],
    memory: np.ndarray,
    found: dict[str, np.ndarray],
    first: int,
    end: int,
    backlog: float,
) -> None:
    """Frames from `first` to `end`, in blocks, into the arrays of `found`."""
    for start in range(first, end, BLOCK_HOPS):
        rows = slice(start, min(start + BLOCK_HOPS, end))
        given = {name: seen[name][rows] for name in program.given}
        out = {name: values[rows] for name, values in found.items()}
        program(seen[INPUT][rows], memory, list(found), backlog, given=given, out=out)
