"""The delay of a stream, removed: the one place that does it."""

from typing import Any

import numpy as np


class Aligned:
    """A streaming enhancer whose output starts where its input started.

    Parameters
    ----------
    enhancer : Enhancer, or whatever has its `process`, `flush` and `latency_samples`
        Time is the last axis of what it takes and returns.
    """

    def __init__(self, enhancer: Any) -> None:
        self._enhancer = enhancer
        self._skip = enhancer.latency_samples

    def process(self, x: np.ndarray) -> np.ndarray:
        """As `Enhancer.process`, without the delay: what belongs to the first `latency_samples` comes later."""
        return self._trimmed(self._enhancer.process(x))

    def flush(self) -> np.ndarray:
        """As `Enhancer.flush`: process and flush together return as many samples as they were given."""
        rest = self._trimmed(self._enhancer.flush())
        self._skip = self._enhancer.latency_samples
        return rest

    def _trimmed(self, y: np.ndarray) -> np.ndarray:
        dropped = min(self._skip, y.shape[-1])
        self._skip -= dropped
        return y[..., dropped:]


def enhance_aligned(enhancer: Any, x: np.ndarray) -> np.ndarray:
    """A whole signal through a streaming enhancer that is at its start; it is at its start again afterwards.

    Parameters
    ----------
    enhancer : as for `Aligned`
    x : ndarray, shape (..., n)

    Returns
    -------
    ndarray, shape (..., n), float32, the delay removed
    """
    stream = Aligned(enhancer)
    return np.concatenate((stream.process(x), stream.flush()), axis=-1)


def padded(x: np.ndarray, latency_samples: int, hop: int) -> np.ndarray:
    """A signal and the silence that drives all of it through a delay, in whole hops; shape (n + latency + some,)."""
    return np.concatenate((x, np.zeros(latency_samples + (-len(x)) % hop, x.dtype)))


def trimmed(hops: np.ndarray, length: int, latency_samples: int) -> np.ndarray:
    """What comes out of such a delay, hops or samples, cut to the `length` samples that went in; shape (length,)."""
    return hops.ravel()[latency_samples : latency_samples + length]
