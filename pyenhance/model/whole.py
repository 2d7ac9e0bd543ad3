"""A model that hears whole recordings, on one channel: its network runs in long stretches."""

import numpy as np

from ..dsp import Frames
from .registry import Model

STRETCH_FRAMES = 3000
"""Frames, of 10 ms, whose gains are found at once: a recording of any length needs no more memory than this."""

RUN_UP_FRAMES = 400
"""Frames after a stretch with which layers that go backward begin, so that they reach its end as if they came from the
recording's. Layers that go forward pass from stretch to stretch as if there were none, and a recording of less than a
stretch and its run-up is run in one piece. EXPERIMENTS.md has how far the gains are from those of one piece."""


class WholeStream:
    """The steps from hops to enhanced hops, in which the network waits for a stretch and its run-up.

    Parameters
    ----------
    model : Model
        Of whole recordings.

    Attributes
    ----------
    frames : int
        Frames that wait.
    """

    def __init__(self, model: Model) -> None:
        self._stream = model.stream(model.new_state())
        self._held: list[Frames] = []
        self.frames = 0

    def lead_in(self, hops: np.ndarray) -> None:
        """As `ModelStream.lead_in`, shape (K, 480)."""
        self._stream.lead_in(hops)

    def analyse(self, hops: np.ndarray) -> None:
        """Hear K more hops, shape (K, 480)."""
        self._held.append(self._stream.analyse(hops))
        self.frames += len(hops)

    def estimate(self, count: int) -> list[tuple[Frames, np.ndarray, np.ndarray]]:
        """The oldest `count` frames, in parts, each with gains and strengths, shape (K, bands).

        The frames that wait behind them are the run-up, as many as that needs.
        """
        features = np.concatenate([held.features for held in self._held])[: count + RUN_UP_FRAMES]
        gain, strength, _ = self._stream.estimate(features, ahead=len(features) - count)
        parts, first = [], 0
        while first < count:
            held = self._held.pop(0)
            taken = min(len(held.features), count - first)
            if taken < len(held.features):
                self._held.insert(0, _rows(held, slice(taken, None)))
            rows = slice(first, first + taken)
            parts.append((_rows(held, slice(taken)), gain[rows], strength[rows]))
            first += taken
        self.frames -= count
        return parts

    def synthesise(self, frames: Frames, gain: np.ndarray, strength: np.ndarray, dry: float) -> np.ndarray:
        """The sound of K frames, in their order, shape (K, 480)."""
        return self._stream.synthesise(frames, gain, strength, dry=dry)


def _rows(frames: Frames, rows: slice) -> Frames:
    return Frames(*(value[rows] for value in vars(frames).values()))
