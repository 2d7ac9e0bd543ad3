"""What a user records to fit a model to voice and room: checked, and mixed into examples with their clean target."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..dsp import HOP, SAMPLE_RATE
from ..samples import active_rms, checked_samples

MIN_VOICE_S, MIN_NOISE_S = 8.0, 5.0
"""Shortest recordings, seconds: of the voice within 30 dB of its loudest, so pauses do not count; of the room, all."""

MAX_VOICE_S, MAX_NOISE_S = 60.0, 60.0
"""What comes after so many seconds of a recording is left out: it would cost time and add little."""

MIN_VOICE_DB, MIN_NOISE_DB = -50.0, -90.0
"""Faintest recordings, dB below full scale: active level of the voice, level of the room."""

MIN_RANGE_DB = 20.0
"""Least distance of the voice's active level from its quietest tenth: what is to be learnt must be the voice."""

MAX_CLIPPED = 1e-3
"""Largest share of samples that stand still within 2 % of the peak."""

TRAIN_SNRS_DB, HELD_OUT_SNRS_DB = (-3, 2, 7, 12, 17), (0, 5, 10)
"""Active level of the voice over the level of the noise."""

_FRAME = 960
_GOLDEN = (5**0.5 - 1) / 2


class Mix(NamedTuple):
    """An example.

    Attributes
    ----------
    noisy, clean : ndarray, shape (n,), float32, n a multiple of 480
    """

    noisy: np.ndarray
    clean: np.ndarray


def check_voice(x: Any) -> np.ndarray:
    """A recording of the voice in quiet, its mean taken out.

    Parameters
    ----------
    x : ndarray, shape (n,), float32 or float64, 48 kHz

    Returns
    -------
    ndarray, shape (m,), float32, at most `MAX_VOICE_S` of it

    Raises
    ------
    ValueError
        It is silent, clipped, too short or too noisy; the message has what was measured and what is accepted.
    """
    x = _cut("voice", x, MAX_VOICE_S)
    level = active_rms(x)
    _loud_enough("voice", level, MIN_VOICE_DB)
    _whole("voice", x)
    rms = _levels(x)
    seconds = float((rms >= level * 10**-1.5).sum()) * _FRAME / SAMPLE_RATE
    if seconds < MIN_VOICE_S:
        raise ValueError(f"voice: {seconds:.1f} s of speech; accepted: at least {MIN_VOICE_S:g} s")
    span_db = 20 * np.log10(level / max(float(np.quantile(rms, 0.1)), level * 1e-6))
    if span_db < MIN_RANGE_DB:
        raise ValueError(
            f"voice: too noisy, speech is {span_db:.0f} dB above its pauses; accepted: at least {MIN_RANGE_DB:g} dB"
        )
    return x


def check_noise(x: Any) -> np.ndarray:
    """A recording of the room while nobody speaks, its mean taken out.

    Parameters, returns and errors as for `check_voice`; at most `MAX_NOISE_S` of it.
    """
    x = _cut("noise", x, MAX_NOISE_S)
    if len(x) < MIN_NOISE_S * SAMPLE_RATE:
        raise ValueError(f"noise: {len(x) / SAMPLE_RATE:.1f} s; accepted: at least {MIN_NOISE_S:g} s")
    _loud_enough("noise", float(np.sqrt(np.einsum("n,n->", x, x) / len(x))), MIN_NOISE_DB)
    _whole("noise", x)
    return x


def split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two thirds of a recording, to learn from, and the last, which is held out; whole hops."""
    at = len(x) * 2 // 3 // HOP * HOP
    return x[:at], x[at : len(x) // HOP * HOP]


def make_mixes(voice: np.ndarray, noise: np.ndarray, snrs_db: Sequence[float]) -> list[Mix]:
    """The voice in the noise, once for each SNR.

    The noise begins elsewhere each time, at multiples of the golden ratio, which spread over it evenly (Weyl), and goes
    round. The same arguments give the same mixes: there is no chance in it.

    Parameters
    ----------
    voice, noise : ndarray, shape (n,), float32; n of the voice a multiple of 480
    snrs_db : sequence of float

    Returns
    -------
    list of Mix, as long as the voice
    """
    level = active_rms(voice)
    mixes = []
    for i, snr_db in enumerate(snrs_db, 1):
        begin = int(len(noise) * (i * _GOLDEN % 1))
        z = np.tile(noise, len(voice) // len(noise) + 2)[begin:][: len(voice)]
        scale = level / np.sqrt(np.einsum("n,n->", z, z) / len(z) + 1e-20) * 10 ** (-snr_db / 20)
        mixes.append(Mix((voice + np.float32(scale) * z).astype(np.float32), voice))
    return mixes


def _cut(name: str, x: Any, longest_s: float) -> np.ndarray:
    try:
        x = checked_samples(x)[: int(longest_s * SAMPLE_RATE)]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return x - np.float32(x.mean()) if len(x) else x


def _levels(x: np.ndarray) -> np.ndarray:
    """Root mean square of each 20 ms."""
    frames = x[: len(x) // _FRAME * _FRAME].reshape(-1, _FRAME)
    return np.sqrt(np.einsum("kn,kn->k", frames, frames) / _FRAME)


def _loud_enough(name: str, level: float, least_db: float) -> None:
    level_db = 20 * np.log10(level) if level > 0 else -np.inf
    if level_db < least_db:
        raise ValueError(f"{name}: silent, {level_db:.0f} dBFS; accepted: at least {least_db:g} dBFS")


def _whole(name: str, x: np.ndarray) -> None:
    """ValueError where the tops of the wave are cut off: a whole wave passes its peak, a clipped one stays there."""
    peak = np.abs(x).max()
    still = (np.abs(x[1:]) > 0.98 * peak) & (np.abs(np.diff(x)) < 2e-3 * peak)
    share = float(still.mean())
    if share > MAX_CLIPPED:
        raise ValueError(f"{name}: clipped, {share:.2%} of its samples; accepted: at most {MAX_CLIPPED:.1%}")
