"""What is asked of samples whoever works on them: that they are fit for it, and how loud they are."""

from typing import Any

import numpy as np

from .dsp import LOUDEST


def checked_samples(x: Any, shape: str = "(n,)") -> np.ndarray:
    """One channel of finite float32 samples, or a ValueError that names what was given."""
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype is {x.dtype}; accepted: float32, float64")
    if x.ndim != 1:
        raise ValueError(f"shape is {x.shape}; accepted: {shape}")
    good = np.abs(x) <= LOUDEST  # which NaN is not
    if not good.all():
        where = int(np.flatnonzero(~good)[0])
        raise ValueError(
            f"sample {where} is {x[where]}; accepted: finite numbers of at most {LOUDEST:.0e}, where full scale is 1"
        )
    return x.astype(np.float32, copy=False)


def active_rms(x: np.ndarray) -> float:
    """Root mean square over the 20 ms frames within 30 dB of the loudest; 0 for silence."""
    frames = x[: len(x) // 960 * 960].reshape(-1, 960)
    rms = np.sqrt(np.einsum("kn,kn->k", frames, frames) / 960)
    top = rms.max(initial=0)
    return float(np.sqrt((rms[rms >= top * 10**-1.5] ** 2).mean())) if top > 0 else 0.0
