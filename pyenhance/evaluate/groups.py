"""Whom an enhancer serves, and how unequally: scores by group, with counts, intervals and the gap between groups."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..dsp import HOP, SAMPLE_RATE, SignalSpec, SignalState
from ..dsp.pitch import DECIMATION, FILTER_REACH, LAG_BIAS, LAGS, decimate, lag_correlation

MIN_CLIPS = 10
"""A group with fewer is shown, but nothing is concluded from it."""

MIN_SPEAKERS = 5
"""The same of speakers, where they are known: many clips of one voice tell of that voice."""

RESAMPLES = 2000
CONFIDENCE = 0.95

SNR_EDGES_DB = (-2.5, 2.5, 7.5, 12.5)
PITCH_EDGES_HZ = (110, 150, 200)
LEVEL_EDGES_DBFS = (-30, -24)
BANDWIDTH_EDGES_HZ = (4500, 9000, 16_000)

_VOICED_CORR = 0.7  # of a hop, and
_VOICED_HOPS = 20  # of a clip, before its pitch is told
_ACTIVE_DB = 30  # below the loudest frame: what is quieter is a pause


def bucket(value: float, edges: Sequence[float], unit: str) -> str:
    """Name of the range that a value lies in: "below 110 Hz", "110 to 150 Hz", "above 200 Hz"."""
    if value < edges[0]:
        return f"below {edges[0]:g} {unit}"
    for low, high in pairwise(edges):
        if value < high:
            return f"{low:g} to {high:g} {unit}"
    return f"above {edges[-1]:g} {unit}"


def bucket_order(value: str) -> tuple[int, float, str]:
    """Key that sorts the names of `bucket` by their bounds, before all other names."""
    words = value.split()
    try:
        if words[0] == "below":
            return (0, -np.inf, "")
        return (0, float(words[-2]) + (words[0] == "above"), "")
    except (IndexError, ValueError):
        return (1, 0, value)


def measured_groups(clean: np.ndarray) -> dict[str, str]:
    """What a clip's clean voice itself tells: its pitch range and its level.

    Parameters
    ----------
    clean : ndarray, shape (n,), float32, 48 kHz

    Returns
    -------
    dict of str to str
        "pitch" and "level"; left out where there is too little voice to tell.
    """
    groups = {}
    pitch_hz = median_pitch_hz(clean)
    if pitch_hz is not None:
        groups["pitch"] = bucket(pitch_hz, PITCH_EDGES_HZ, "Hz")
    frames = clean[: len(clean) // (2 * HOP) * 2 * HOP].reshape(-1, 2 * HOP)
    power = np.mean(frames.astype(np.float64) ** 2, axis=1)
    if power.max(initial=0) > 0:
        active = power[power > power.max() * 10 ** (-_ACTIVE_DB / 10)].mean()
        groups["level"] = bucket(10 * np.log10(active), LEVEL_EDGES_DBFS, "dBFS")
    return groups


def median_pitch_hz(clean: np.ndarray) -> float | None:
    """Median pitch of the voiced hops of a clean voice, in Hz; None when there are too few.

    Parameters
    ----------
    clean : ndarray, shape (n,), float32, 48 kHz
    """
    whole = clean[: len(clean) // HOP * HOP].astype(np.float32)
    if not len(whole):
        return None
    signal = np.concatenate((np.zeros(FILTER_REACH, np.float32), whole))
    correlation = lag_correlation(decimate(SignalState(SignalSpec()), signal))
    best = (correlation + LAG_BIAS).argmax(1)
    voiced = correlation[np.arange(len(best)), best] > _VOICED_CORR
    voiced &= (best > 0) & (best < len(LAGS) - 1)  # a rumble correlates at every lag, most at the shortest
    if voiced.sum() < _VOICED_HOPS:
        return None
    return float(SAMPLE_RATE / DECIMATION / np.median(LAGS[best[voiced]]))


def interval(
    values: np.ndarray, speakers: np.ndarray | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of a mean: the middle 95 % of the means of seeded resamples.

    Parameters
    ----------
    values : ndarray, shape (n,), n >= 1, without NaN
    speakers : ndarray, shape (n,), optional
        Who speaks: speakers are then resampled, with all that they say, as clips of one voice are alike.

    Returns
    -------
    low, high : float
    """
    low, high = np.quantile(_resampled_means(values, resamples, np.random.default_rng(seed), speakers), _TAILS)
    return float(low), float(high)


_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def _resampled_means(
    values: np.ndarray, resamples: int, rng: np.random.Generator, speakers: np.ndarray | None
) -> np.ndarray:
    sums, counts = _by_speaker(values, speakers)
    drawn = rng.integers(len(sums), size=(resamples, len(sums)))
    return sums[drawn].sum(1) / counts[drawn].sum(1)


def _by_speaker(values: np.ndarray, speakers: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of each speaker's values; without speakers each value stands for itself."""
    if speakers is None:
        return values, np.ones(len(values))
    _, of = np.unique(speakers, return_inverse=True)
    return np.bincount(of, values), np.bincount(of).astype(float)


def compare_groups(
    labels: Sequence[str | None],
    values: Mapping[str, np.ndarray],
    speakers: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Means by group, and how far the best and the worst group lie apart.

    The means are fairlearn's `MetricFrame`; the intervals are ours, as its own resampling takes seconds a frame.

    Parameters
    ----------
    labels : sequence of n str or None
        The group of each clip; clips with None take no part.
    values : mapping of str to ndarray, shape (n,)
        Measures; NaN where one is not defined.
    speakers : sequence of n str, optional
        Who speaks in each clip; intervals are then over speakers, see `interval`.

    Returns
    -------
    dict
        groups: {label: {"clips": n, measure: {"clips", "speakers", "mean", "low", "high", "judged"}}}; a measure that
        no clip of a group has is left out, and so is the number of speakers where it is not known. gaps: {measure:
        {"best", "worst", "gap", "low", "high", "chance"}} among the groups that are judged, of at least `MIN_CLIPS`
        clips and `MIN_SPEAKERS` speakers, where there are two: `low` and `high` bound the difference of these two
        groups, and groups made by chance lie further apart than `chance` in one case of twenty.

    Raises
    ------
    ImportError
        fairlearn is not installed.
    """
    known = np.array([label is not None for label in labels], bool)
    names = np.array([label for label in labels if label is not None], object)
    voices = None if speakers is None else np.array(speakers, object)[known]
    order = sorted(set(names), key=bucket_order)
    groups: dict[str, dict[str, Any]] = {name: {"clips": int((names == name).sum())} for name in order}
    gaps = {}
    for measure, every in values.items():
        column = np.asarray(every, float)[known]
        defined = ~np.isnan(column)
        if not defined.any():
            continue
        column, own = column[defined], names[defined]
        heard = None if voices is None else voices[defined].astype(str)
        frame = _frame(column, own)
        counts = frame.by_group["clips"]
        for name in counts.index:
            among = None if heard is None else heard[own == name]
            low, high = interval(column[own == name], among, resamples=resamples, seed=seed)
            clips = int(counts[name])
            facts = {"clips": clips, "mean": float(frame.by_group["mean"][name]), "low": low, "high": high}
            enough = clips >= MIN_CLIPS
            if among is not None:
                facts["speakers"] = len(set(among))
                enough &= facts["speakers"] >= MIN_SPEAKERS
            groups[name][measure] = facts | {"judged": enough}
        judged = np.isin(own, [name for name in counts.index if groups[name][measure]["judged"]])
        if len(set(own[judged])) > 1:
            gaps[measure] = _gap(column[judged], own[judged], resamples, seed, None if heard is None else heard[judged])
    return {"groups": groups, "gaps": gaps}


def _frame(column: np.ndarray, own: np.ndarray) -> Any:
    """MetricFrame of one measure: its mean and the number of clips, by group."""
    try:
        from fairlearn.metrics import MetricFrame
    except ImportError as error:
        raise ImportError(f"groups need {error.name}: pip install 'pyenhance[eval]'") from error
    metrics = {"mean": lambda _, scores: float(np.mean(scores)), "clips": lambda _, scores: len(scores)}
    return MetricFrame(metrics=metrics, y_true=column, y_pred=column, sensitive_features={"group": own.astype(str)})


def _gap(column: np.ndarray, own: np.ndarray, resamples: int, seed: int, speakers: np.ndarray | None) -> dict[str, Any]:
    frame = _frame(column, own)
    means = frame.by_group["mean"]
    best, worst = str(means.idxmax()), str(means.idxmin())
    rng = np.random.default_rng(seed)
    above, below = (
        _resampled_means(column[own == name], resamples, rng, None if speakers is None else speakers[own == name])
        for name in (best, worst)
    )
    low, high = np.quantile(above - below, _TAILS)
    chance = np.quantile(_by_chance(column, own, resamples, rng, speakers), CONFIDENCE)
    facts = {"gap": float(frame.difference()["mean"]), "low": float(low), "high": float(high), "chance": float(chance)}
    return {"best": best, "worst": worst} | facts


def _by_chance(
    column: np.ndarray, own: np.ndarray, resamples: int, rng: np.random.Generator, speakers: np.ndarray | None
) -> np.ndarray:
    """How far groups of the same sizes lie apart when chance deals them out; shape (resamples,).

    What is dealt out are speakers, where each belongs to one group, else clips.
    """
    units = own
    if speakers is not None:
        pairs = sorted(set(zip(speakers.tolist(), own.tolist(), strict=True)))
        if len(pairs) == len({speaker for speaker, _ in pairs}):
            units = np.array([group for _, group in pairs], object)
        else:
            speakers = None
    sums, counts = _by_speaker(column, speakers)
    member = (units == np.array(sorted(set(units)), object)[:, None]).astype(float)  # (groups, units)
    dealt = rng.permuted(np.tile(np.arange(len(units)), (resamples, 1)), axis=1)
    return np.asarray(np.ptp((sums[dealt] @ member.T) / (counts[dealt] @ member.T), axis=1))


def compare_all(
    groups: Sequence[Mapping[str, str]],
    values: Mapping[str, np.ndarray],
    speakers: Sequence[str] | None = None,
    **options: int,
) -> dict[str, dict[str, Any]]:
    """`compare_groups` for every kind of group that the clips have.

    Parameters
    ----------
    groups : sequence of n mappings
        The groups of each clip, by kind. A sex that is guessed ("F?") counts as if it were told.
    values : mapping of str to ndarray, shape (n,)
    speakers : sequence of n str, optional

    Returns
    -------
    dict: kind of group to what `compare_groups` returns.
    """
    kinds = dict.fromkeys(kind for own in groups for kind in own)
    labels = {kind: [own.get(kind) for own in groups] for kind in kinds}
    if "sex" in labels:
        labels["sex"] = [None if label is None else label.removesuffix("?") or None for label in labels["sex"]]
    return {kind: compare_groups(column, values, speakers, **options) for kind, column in labels.items()}
