"""A model of the updates of many devices."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..model import load_model
from ..model.heads import changed_weights
from ..model.summary import HEADS, summary_of
from .update import check_terms, check_update, read_update

MIN_UPDATES = 3
"""Fewer would tell of one device by what the others are known to have sent."""


class Aggregate(NamedTuple):
    """What came of updates.

    Attributes
    ----------
    weights : bytes
        The new weights file.
    accepted : list of str
        Names of the updates that are in it.
    rejected : dict of str to str
        Names of the others, and why.
    """

    weights: bytes
    accepted: list[str]
    rejected: dict[str, str]


def aggregate(
    base: bytes,
    updates: Mapping[str, bytes],
    summary: bytes,
    *,
    clip: float,
    noise_multiplier: float = 0.0,
    trim: float = 0.0,
) -> Aggregate:
    """The base with the mean of the updates; each counts alike, in whatever order they come.

    Parameters
    ----------
    base : bytes
        The weights file that devices had.
    updates : mapping of str to bytes
        Files, by name.
    summary : bytes
        Of the base.
    clip, noise_multiplier : float
        What devices were told; see `update.check_update`.
    trim : float in [0, 0.5)
        Share of the smallest and of the largest values of each number that is left out (a trimmed mean, Yin et al.,
        ICML 2018), which a minority of wrong updates cannot move far.

    Returns
    -------
    Aggregate

    Raises
    ------
    ValueError
        Fewer than `MIN_UPDATES` updates can be used, a number is out of range, or the summary is another model's.
    """
    check_terms(clip, noise_multiplier)
    if not 0 <= trim < 0.5:
        raise ValueError(f"trim is {trim}; accepted: a share from 0 to below 0.5")
    public = summary_of(base, summary)
    seen: dict[str, str] = {}
    changes, rejected = {}, {}
    for name, data in updates.items():
        digest = hashlib.sha256(data).hexdigest()
        try:
            if digest in seen:
                raise ValueError(f"is the same as {seen[digest]}")
            update = read_update(data)
            check_update(update, public, clip=clip, noise_multiplier=noise_multiplier)
            changes[digest], seen[digest] = update.change, name
        except ValueError as error:
            rejected[name] = str(error)
    if len(changes) < MIN_UPDATES:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in rejected.items())
        raise ValueError(
            f"{len(changes)} updates can be used; accepted: {MIN_UPDATES} or more{f' ({reasons})' if reasons else ''}"
        )
    order = sorted(changes)  # by sums: sums of floats depend on their order, and the order is to tell nothing
    mean = {name: _mean(np.stack([changes[digest][name] for digest in order]), trim) for name in HEADS}
    return Aggregate(changed_weights(load_model(base), public, mean), sorted(seen.values()), rejected)


def _mean(values: np.ndarray, trim: float) -> np.ndarray:
    try:
        from scipy.stats import trim_mean
    except ImportError as error:
        raise ImportError(f"aggregation needs {error.name}: pip install 'pyenhance[federated]'") from error
    return np.asarray(trim_mean(values.astype(np.float64), trim, axis=0))
