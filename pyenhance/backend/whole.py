"""A network with layers that go backward, for compiled code: it goes through a recording a few layers at a time."""

import ctypes
from collections.abc import Collection
from itertools import groupby

import numpy as np

from ..nn.network import Network
from ..nn.spec import INPUT
from .program import Program
from .structures import BLOCK_HOPS


class WholeProgram:
    """Neighbouring layers of one direction are a program; backward ones are given blocks and frames from the last on.

    Parameters
    ----------
    network, library, turns
        As for `Program`.
    """

    def __init__(self, network: Network, library: ctypes.CDLL, turns: bool) -> None:
        self._widths = network.spec.widths
        self._programs: list[tuple[Program, bool]] = []
        self._last_seen_by: dict[str, int] = {}
        for backward, layers in groupby(network.spec.layers, lambda layer: layer.backward):
            program = Program(network, library, turns, [layer.name for layer in layers])
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
            wanted = [name for name in program.layers if name in names or self._last_seen_by.get(name, -1) > index]
            found = {name: np.empty((len(features), self._widths[name]), np.float32) for name in wanted}
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
        return {name: outputs[name] for name in names}


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
        for name, values in program(seen[INPUT][rows], memory, list(found), backlog, given=given).items():
            found[name][rows] = values
