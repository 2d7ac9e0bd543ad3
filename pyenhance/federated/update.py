"""What one device gives away of what it learnt: a clipped and noised change of the heads in a file of some kilobytes.

The file is a ``.safetensors`` container: the change of each head as seen from the summary's directions
(`local.Change`), the sum of the model it is for, and how it was clipped and noised. It has no sound, no time, no amount
and no name. A diff (`model.diff`) could not hold it: a diff leads to whole int8 steps, into which noise of a fraction
of a step, whose mean over many devices is what is wanted, would be rounded.
"""

import hashlib
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..model.diff import apply_diffs
from ..model.summary import HEADS, Summary, summary_of
from ..model.weights import join, read_weights, split
from ..nn import INITIAL
from .local import Change, clipped, norm

FORMAT = "pyenhance-update-1"
SUFFIX = ".update"
MAX_BYTES = 1_000_000
DELTA = 1e-3
"""At which epsilon is told."""

Normal = Callable[[tuple[int, ...]], np.ndarray]
"""Independent standard normal numbers of a shape."""

_ROUNDING = 1e-4  # of a norm
_EPSILON_STEP = 1e-9  # relative
_LARGE = 20.0  # beyond it e^(x^2) is out of range, and the tail's first terms are exact enough
_TAIL = 8.0  # standard deviations that the norm of noise may be above its expectation


class Update(NamedTuple):
    """What the file says.

    Attributes
    ----------
    base : str
        SHA-256 of the weights file whose heads changed.
    clip : float
        Largest norm that the change had before the noise.
    noise_multiplier : float
        Standard deviation of the noise in units of `clip`.
    change : Change
    """

    base: str
    clip: float
    noise_multiplier: float
    change: Change


def system_normal(shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers of the system's own randomness (Box and Muller, 1958); float64.

    A seeded generator's could be told from what it gave before, and a browser's numpy has none.
    """
    count = math.prod(shape)
    words = np.frombuffer(os.urandom(16 * count), np.uint64).reshape(2, count) >> np.uint64(11)
    radius, turn = (words + 0.5) / 2**53
    return np.asarray((np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * turn)).reshape(shape))


def make_update(
    base: bytes,
    diff: bytes,
    summary: bytes,
    *,
    clip: float,
    noise_multiplier: float,
    normal: Normal = system_normal,
) -> bytes:
    """The update of a device whose model was adapted (`pyenhance adapt`).

    Parameters
    ----------
    base : bytes
        The shipped weights file.
    diff : bytes
        What `adapt` made for it.
    summary : bytes
        Of the shipped model.
    clip : float > 0
    noise_multiplier : float >= 0
    normal : callable, optional
        Where the noise comes from; by default `system_normal`, which nobody can foretell.

    Raises
    ------
    ValueError
        A number out of range, a diff or summary for another model, or a diff that changes more than the heads and where
        layers begin; that stays on the device.
    """
    check_terms(clip, noise_multiplier)
    public = summary_of(base, summary)
    old, new = read_weights(base).tensors, read_weights(apply_diffs(base, [diff])).tensors
    own = {f"{name}.{kind}" for name in HEADS for kind in ("weight", "bias")}
    kept_back = {name for name in old if name.endswith(f".{INITIAL}")}
    changed = (name for name in old if not np.array_equal(old[name], new[name]))
    others = sorted(set(changed) - own - kept_back)
    if others:
        raise ValueError(f"the diff changes {', '.join(others[:3])}; accepted: {', '.join(sorted(own))} alone")
    change = {}
    for name in HEADS:
        steps = new[f"{name}.weight"].astype(np.float64) - old[f"{name}.weight"]
        moved = steps * old[f"{name}.weight_scale"][:, None]  # (bands, inputs)
        seen = np.linalg.lstsq(public.heads[name].projection.astype(np.float64), moved.T, rcond=None)[0]
        bias = new[f"{name}.bias"].astype(np.float64) - old[f"{name}.bias"]
        change[name] = np.concatenate((seen, bias[None])).astype(np.float32)
    kept = clipped(change, clip)
    for value in kept.values():
        value += (noise_multiplier * clip * normal(value.shape)).astype(np.float32)
    return write_update(Update(public.base, clip, noise_multiplier, kept))


def check_terms(clip: float, noise_multiplier: float) -> None:
    """ValueError unless a clip is above 0 and a noise multiplier not below."""
    if not (clip > 0 and math.isfinite(clip)):
        raise ValueError(f"clip is {clip}; accepted: a number > 0")
    if not (noise_multiplier >= 0 and math.isfinite(noise_multiplier)):
        raise ValueError(f"noise multiplier is {noise_multiplier}; accepted: a number >= 0")


def write_update(update: Update) -> bytes:
    """The bytes of an update; `read_update` takes them."""
    header: dict[str, Any] = {}
    parts, end = [], 0
    for name in HEADS:
        parts.append(np.ascontiguousarray(update.change[name], "<f4").tobytes())
        places = [end, end := end + len(parts[-1])]
        header[name] = {"dtype": "F32", "shape": list(update.change[name].shape), "data_offsets": places}
    payload = b"".join(parts)
    facts = {"format": FORMAT, "base": update.base, "sha256": hashlib.sha256(payload).hexdigest()}
    facts |= {"clip": repr(float(update.clip)), "noise_multiplier": repr(float(update.noise_multiplier))}
    return join({"__metadata__": facts} | header, payload)


def read_update(data: bytes) -> Update:
    """Parse an update and check that it is whole.

    Raises
    ------
    ValueError
        It is too large, none, changed, of other tensors, or holds what is no number.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data):,} bytes; accepted: at most {MAX_BYTES:,}")
    try:
        header, payload = split(data)
        facts = header.pop("__metadata__")
        if facts["format"] != FORMAT:
            raise ValueError(f"format {str(facts['format'])[:40]!r}")
        if facts["sha256"] != hashlib.sha256(payload).hexdigest():
            raise ValueError("its sum is not the one it says: changed or cut")
        if tuple(header) != HEADS:
            raise ValueError(f"tensors {', '.join(header)[:80]}")
        clip, noise_multiplier = float(facts["clip"]), float(facts["noise_multiplier"])
        check_terms(clip, noise_multiplier)
        change, end = {}, 0
        for name, entry in header.items():
            rows, columns = entry["shape"]
            begin, stop = entry["data_offsets"]
            if entry["dtype"] != "F32" or begin != end or stop - begin != 4 * rows * columns or min(rows, columns) < 1:
                raise ValueError(f"{name} is {entry['dtype']} {entry['shape']} at {entry['data_offsets']}")
            change[name] = np.frombuffer(payload, "<f4", rows * columns, begin).reshape(rows, columns).copy()
            end = stop
        if end != len(payload):
            raise ValueError(f"{len(payload) - end} bytes follow the last tensor")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"accepted: a whole file of format {FORMAT!r} ({error})") from error
    for name, value in change.items():
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds {value[~np.isfinite(value)][0]}; accepted: finite numbers")
    return Update(str(facts["base"]), clip, noise_multiplier, change)


def check_update(update: Update, summary: Summary, *, clip: float, noise_multiplier: float) -> None:
    """Whether an update is what devices were asked for.

    Parameters
    ----------
    update : Update
    summary : Summary
        Of the model that was sent out.
    clip, noise_multiplier : float
        What devices were told.

    Raises
    ------
    ValueError
        It is for another model, has other shapes, was clipped or noised otherwise, or is larger than clip and noise
        can make it.
    """
    if update.base != summary.base:
        raise ValueError(f"is for model {update.base[:12]}; accepted: {summary.base[:12]}")
    for name, value in update.change.items():
        head = summary.heads[name]
        shape = (head.projection.shape[1] + 1, head.logit.shape[1])
        if value.shape != shape:
            raise ValueError(f"{name} has the shape {value.shape}; accepted: {shape}")
    told = (update.clip, update.noise_multiplier)
    if told != (clip, noise_multiplier):
        raise ValueError(
            f"clip {told[0]:g} and noise multiplier {told[1]:g}; accepted: {clip:g} and {noise_multiplier:g}"
        )
    numbers = sum(value.size for value in update.change.values())
    most = clip * (1 + noise_multiplier * (math.sqrt(numbers) + _TAIL)) * (1 + _ROUNDING)
    size = norm(update.change)
    if size > most:
        raise ValueError(f"has a norm of {size:.4g}; accepted: at most {most:.4g}, by clip {clip:g} and its noise")


def describe(update: Update, data: bytes) -> dict[str, Any]:
    """What a person may want to know before it leaves the device.

    Returns
    -------
    dict
        bytes, numbers, norm, clip, noise_multiplier, base, delta; epsilon: of this update alone, None without noise.
    """
    spent = local_epsilon(update.noise_multiplier, DELTA) if update.noise_multiplier > 0 else None
    facts: dict[str, Any] = {"bytes": len(data), "numbers": sum(value.size for value in update.change.values())}
    facts |= {"norm": norm(update.change), "clip": update.clip, "noise_multiplier": update.noise_multiplier}
    return facts | {"base": update.base, "epsilon": spent, "delta": DELTA}


def local_epsilon(noise_multiplier: float, delta: float) -> float:
    """Epsilon of one update that carries all of its noise itself: any two updates differ by 2 C at most.

    The Gaussian mechanism, exactly (Balle and Wang, ICML 2018, theorem 8), by halving: a device has no accountant.

    Parameters
    ----------
    noise_multiplier : float > 0
    delta : float in (0, 1)
    """
    sigma = noise_multiplier / 2
    low, high = 0.0, 1.0
    while _gaussian_delta(sigma, high) > delta:
        high *= 2
    while high - low > _EPSILON_STEP * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _gaussian_delta(sigma, middle) > delta else (low, middle)
    return high


def _gaussian_delta(sigma: float, epsilon: float) -> float:
    """Of a sensitivity of 1: Phi(a - b) - e^epsilon Phi(-a - b), with a = 1 / (2 sigma), b = epsilon sigma."""
    a, b = 0.5 / sigma, epsilon * sigma
    above = (a + b) / math.sqrt(2)
    # e^epsilon is e^(2ab), which leaves e^(-(a - b)^2 / 2) of the normal tail: neither can overflow.
    if above < _LARGE:
        scaled = math.exp(above**2) * math.erfc(above)
    else:
        scaled = (1 - 0.5 / above**2) / (above * math.sqrt(math.pi))
    return 0.5 * (math.erfc((b - a) / math.sqrt(2)) - math.exp(-((a - b) ** 2) / 2) * scaled)
