"""Score systems on pairs, in parallel."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..threads import one_thread
from .groups import bucket_order, compare_all, measured_groups
from .metrics import METRICS, Scorer
from .pairs import Pair, read_pair
from .processes import in_processes
from .systems import System, system

SPREAD = ("pesq_wb", "si_sdr", "ovrl")
"""Measures whose spread over the groups is told."""

_systems: dict[str, System]
_scorer: Scorer


def _start(names: Sequence[str], dnsmos: Path | None, pesq_starts: int, quick: bool) -> None:
    global _systems, _scorer
    _systems = {name: system(name) for name in names}
    _scorer = Scorer(dnsmos, pesq_starts=pesq_starts, quick=quick)


def _score(pair: Pair) -> dict[str, Any]:
    with one_thread():  # the processes are the parallelism
        clean, noisy = read_pair(pair)
        scores = {name: _scorer(clean, run(noisy, clean)) for name, run in _systems.items()}
        return {
            "name": pair.name,
            "speaker": pair.speaker,
            "groups": pair.groups | measured_groups(clean),
            "scores": scores,
        }


def score_clips(
    pairs: Sequence[Pair],
    systems: Sequence[str],
    *,
    dnsmos: Path | None = None,
    pesq_starts: int = 1,
    quick: bool = False,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Score systems on the same clips.

    Parameters
    ----------
    pairs : sequence of Pair
    systems : sequence of str
        See `systems.system`.
    dnsmos, pesq_starts, quick
        See `Scorer`.
    workers : int, optional
        Processes; one a core by default.
    on_progress : callable, optional
        Called with clips done and clips in all.

    Returns
    -------
    list of {name, speaker, groups, scores: {system: {metric: value}}}
        In the order of the pairs. Groups are the manifest's, and pitch range and level from the clean voice.

    Raises
    ------
    ValueError, ImportError
        An unknown system, a file that cannot be used, or an extra that is not installed.
    """
    start = (systems, dnsmos, pesq_starts, quick)
    _start(*start)  # what is wrong shows here, before any process starts
    return in_processes(_score, pairs, _start, start, workers=workers, on_progress=on_progress)


def evaluate(pairs: Sequence[Pair], systems: Sequence[str], **options: Any) -> dict[str, Any]:
    """Score systems on the same clips: single scores, means, means by group, and how far groups lie apart.

    Parameters
    ----------
    pairs, systems, and options
        As for `score_clips`, which also tells the errors.

    Returns
    -------
    dict
        clips: see `score_clips`; means: {system: {metric: mean}};
        groups: {group: {value: {"clips": n, system: {metric: mean}}}}. Means leave NaN out.
        spread: {system: {group: see `groups.compare_groups`}} of `SPREAD` and, as "NAME_gain", of what they gain over
        the untouched clip.
    """
    clips = score_clips(pairs, systems, **options)
    groups: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(name for clip in clips for name in clip["groups"]):
        values = sorted({clip["groups"][kind] for clip in clips if kind in clip["groups"]}, key=bucket_order)
        groups[kind] = {}
        for value in values:
            chosen = [clip for clip in clips if clip["groups"].get(kind) == value]
            groups[kind][value] = {"clips": len(chosen)} | _means(chosen, systems)
    spread = {name: _spread(clips, name) for name in systems if name not in ("noisy", "oracle")}
    return {"clips": clips, "means": _means(clips, systems), "groups": groups, "spread": spread}


def _spread(clips: Sequence[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """How unequally a system serves the groups: each measure, and where the untouched clip was scored, its gain."""
    values = {metric: np.array([clip["scores"][name][metric] for clip in clips]) for metric in SPREAD}
    if clips and "noisy" in clips[0]["scores"]:
        before = {metric: np.array([clip["scores"]["noisy"][metric] for clip in clips]) for metric in SPREAD}
        values |= {f"{metric}_gain": values[metric] - before[metric] for metric in SPREAD}
    speakers = [clip["speaker"] for clip in clips]
    return compare_all([clip["groups"] for clip in clips], values, speakers if all(speakers) else None)


def _means(clips: Sequence[dict[str, Any]], systems: Sequence[str]) -> dict[str, dict[str, float]]:
    means: dict[str, dict[str, float]] = {}
    for name in systems:
        table = np.array([[clip["scores"][name][metric] for metric in METRICS] for clip in clips])
        known = ~np.isnan(table)
        sums = np.where(known, table, 0).sum(0)
        counts = known.sum(0)
        means[name] = {
            metric: float(total / count) if count else float("nan")
            for metric, total, count in zip(METRICS, sums, counts, strict=True)
        }
    return means
