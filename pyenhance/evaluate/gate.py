"""The release gate: a new model is compared with the one that it replaces, clip by clip.

Better on average is not enough. A *negative flip* is a clip on which the new model falls by more than a margin; their
rate can fall at a constant average (positive-congruent training, Yan et al., CVPR 2021).
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..measure import NFR, SI_SDR_MARGIN_DB
from ..model.diff import weights_bytes
from .groups import MIN_CLIPS, compare_all, interval
from .heads import compare_heads, in_words
from .pairs import Pair
from .run import score_clips

MARGINS = {"pesq_wb": 0.05, "si_sdr": SI_SDR_MARGIN_DB, "ovrl": 0.1}
"""What a clip may fall by before it counts as a negative flip, of each measure that the gate looks at."""

DECIDING = "pesq_wb"
"""The measure that must not fall on the mean, nor by much on any clip or group."""

LEAST_PAIRS = 5

PESQ_STARTS = 5
"""See `Scorer`: a single PESQ is as unsteady as the margin is wide."""

NAMES = {"pesq_wb": "PESQ-WB", "si_sdr": "SI-SDR", "ovrl": "DNSMOS OVRL"}


@dataclass(frozen=True)
class Limits:
    """What a new model must keep to.

    Attributes
    ----------
    margins : mapping of str to float
        Of each measure, see `MARGINS`.
    nfr : float
        Largest negative flip rate of any measure, in [0, 1].
    clip_fall, group_fall : float
        Most that PESQ-WB may fall by on a clip, and on the mean of a group of at least `MIN_CLIPS` clips.
    mean_fall : mapping of str to float
        Most that a measure's mean may fall by; none may that is not named. For a model that is to cost less.

    Raises
    ------
    ValueError
        An unknown measure, a value below 0 or no number, or a rate above 1.
    """

    margins: Mapping[str, float] = field(default_factory=lambda: dict(MARGINS))
    nfr: float = NFR
    clip_fall: float = 0.3
    group_fall: float = 0.02
    mean_fall: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.margins) != set(MARGINS):
            raise ValueError(f"margins are for {sorted(self.margins)}; accepted: {sorted(MARGINS)}")
        if unknown := set(self.mean_fall) - set(MARGINS):
            raise ValueError(f"mean_fall is for {sorted(unknown)}; accepted: {sorted(MARGINS)}")
        named = {f"margin of {name}": value for name, value in self.margins.items()}
        named |= {f"mean_fall of {name}": value for name, value in self.mean_fall.items()}
        for name, value in (named | {"clip_fall": self.clip_fall, "group_fall": self.group_fall}).items():
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} is {value}; accepted: a number >= 0")
        if not 0 <= self.nfr <= 1:
            raise ValueError(f"nfr is {self.nfr}; accepted: a rate from 0 to 1 (0.05 is 5 %)")


def gate(
    old: str,
    new: str,
    pairs: Sequence[Pair],
    *,
    limits: Limits | None = None,
    dnsmos: Path | None = None,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score two models on the same clips and judge whether the new one may replace the old one.

    Parameters
    ----------
    old, new : str
        A shipped model's name or a weights file, or "noisy", the untouched clip.
    pairs : sequence of Pair, at least `LEAST_PAIRS`
    limits : Limits, optional
    dnsmos, workers, on_progress
        As for `score_clips`.

    Returns
    -------
    dict
        What `judge` returns, and old and new as {"name", "model", "sha256"}: without its folder, and as it was given.
        heads, of two models: see `compare_heads`; it is told and decides nothing.

    Raises
    ------
    ValueError, ImportError
        Too few pairs, a model that cannot be loaded, a file that cannot be used, or an extra that is not installed.
    """
    if len(pairs) < LEAST_PAIRS:
        raise ValueError(f"{len(pairs)} pairs; accepted: {LEAST_PAIRS} or more, else chance decides")
    models: dict[str, Any] = {}
    for side, model in (("old", old), ("new", new)):
        digest = None if model == "noisy" else hashlib.sha256(weights_bytes(model)).hexdigest()
        models[side] = {"name": Path(model).stem, "model": model, "sha256": digest}
    systems = list(dict.fromkeys((old, new)))
    clips = score_clips(
        pairs, systems, dnsmos=dnsmos, pesq_starts=PESQ_STARTS, workers=workers, on_progress=on_progress
    )
    result = models | judge(clips, old, new, limits)
    if "noisy" not in (old, new):
        result["heads"] = compare_heads(pairs, old, new, workers=workers)
    return result


def judge(clips: Sequence[Mapping[str, Any]], old: str, new: str, limits: Limits | None = None) -> dict[str, Any]:
    """Judge from scores.

    Parameters
    ----------
    clips : sequence of {"name", "groups", "scores": {system: {measure: value}}}
        As `score_clips` returns them.
    old, new : str
        Names of the two systems in the scores.
    limits : Limits, optional

    Returns
    -------
    dict
        passed: bool; verdict: str, in words; reasons: list of str, why it does not pass; limits;
        measures: {measure: {clips, old, new, gain, low, high, margin, negative_flips, positive_flips, nfr}};
        groups: {kind: see `groups.compare_groups`, of the gains};
        clips: [{name, groups, old, new, gain: {measure: value}, negative_flips: [measure]}], the worst first.

    Raises
    ------
    ValueError
        No clip has a value of the deciding measure.
    """
    limits = limits or Limits()
    rows, reasons = [], []
    for clip in clips:
        before, after = (clip["scores"][name] for name in (old, new))
        row: dict[str, Any] = {"name": clip["name"], "groups": dict(clip["groups"]), "old": {}, "new": {}, "gain": {}}
        for measure in MARGINS:
            a, b = before[measure], after[measure]
            if math.isnan(b) and not math.isnan(a):
                reasons.append(
                    f"{clip['name']} has no {NAMES[measure]} any more, it was {a:.2f}: nothing is left of it"
                )
            if not math.isnan(a + b):
                row["old"][measure], row["new"][measure], row["gain"][measure] = a, b, b - a
        row["negative_flips"] = [m for m, gain in row["gain"].items() if gain < -limits.margins[m]]
        rows.append(row)
    rows.sort(key=lambda row: row["gain"].get(DECIDING, math.inf))
    gains = {m: np.array([row["gain"].get(m, math.nan) for row in rows]) for m in MARGINS}
    gains = {m: column for m, column in gains.items() if not np.isnan(column).all()}
    if DECIDING not in gains:
        raise ValueError(f"no clip has a {NAMES[DECIDING]}: too short, silent, or without speech")
    measures = {m: _measure(m, column, rows, limits) for m, column in gains.items()}
    groups = compare_all([row["groups"] for row in rows], gains)
    reasons += _reasons(rows, measures, groups, limits)
    facts = {"passed": not reasons, "verdict": "", "reasons": reasons, "limits": asdict(limits)}
    facts |= {"measures": measures, "groups": groups, "clips": rows}
    return facts | {"verdict": _words(facts, Path(old).stem, Path(new).stem)}


def _measure(measure: str, column: np.ndarray, rows: Sequence[dict[str, Any]], limits: Limits) -> dict[str, Any]:
    gain = column[~np.isnan(column)]
    margin = limits.margins[measure]
    low, high = interval(gain)
    negative, positive = int((gain < -margin).sum()), int((gain > margin).sum())
    means = {
        side: float(np.mean([row[side][measure] for row in rows if measure in row[side]])) for side in ("old", "new")
    }
    facts = {"clips": len(gain)} | means | {"gain": float(gain.mean()), "low": low, "high": high, "margin": margin}
    return facts | {"negative_flips": negative, "positive_flips": positive, "nfr": negative / len(gain)}


def _reasons(
    rows: Sequence[dict[str, Any]], measures: Mapping[str, Any], groups: Mapping[str, Any], limits: Limits
) -> list[str]:
    """Why a model does not pass; nothing when it does."""
    reasons = []
    for measure, facts in measures.items():
        # Of the deciding measure even chance must not account for a fall; the others must not surely have fallen.
        worst, allowed = facts["low"] if measure == DECIDING else facts["high"], limits.mean_fall.get(measure, 0)
        if worst < -allowed:
            span = f"{facts['low']:+.3f} to {facts['high']:+.3f}"
            accepted = f"; accepted: a fall of {allowed:g}" if allowed else ""
            reasons.append(
                f"the mean of {NAMES[measure]} changes by {facts['gain']:+.3f}, which may be {span}{accepted}"
            )
        if facts["nfr"] > limits.nfr:
            count = f"{facts['negative_flips']} of {facts['clips']} clips, {facts['nfr']:.1%},"
            reasons.append(
                f"{count} fall by more than {facts['margin']:g} of {NAMES[measure]}; accepted: {limits.nfr:.1%}"
            )
    for row in rows:
        gain = row["gain"].get(DECIDING, 0)
        if gain < -limits.clip_fall:
            reasons.append(f"{row['name']} falls by {-gain:.2f} of {NAMES[DECIDING]}; accepted: {limits.clip_fall:g}")
    for kind, compared in groups.items():
        for name, facts in compared["groups"].items():
            group = facts.get(DECIDING)
            if group and group["judged"] and group["mean"] < -limits.group_fall:
                fall = f"{-group['mean']:.3f} of {NAMES[DECIDING]}"
                reasons.append(f"the group {kind}: {name} falls by {fall}; accepted: {limits.group_fall:g}")
    return reasons


def _words(facts: Mapping[str, Any], old: str, new: str) -> str:
    """The verdict as sentences; of two versions of one model, too."""
    if old == new:
        old = "the version before"
    if not facts["passed"]:
        return f"{new} may not replace {old}: {'; '.join(facts['reasons'])}."
    parts = []
    for measure, own in facts["measures"].items():
        span = f"{own['low']:+.2f} to {own['high']:+.2f}"
        parts.append(f"{NAMES[measure]} {own['gain']:+.2f} ({span}), worse on {own['nfr']:.1%} of the clips")
    clips = facts["measures"][DECIDING]["clips"]
    allowed = [f"{NAMES[measure]} {fall:g}" for measure, fall in facts["limits"]["mean_fall"].items()]
    condition = f", whose means were allowed to fall ({', '.join(allowed)})" if allowed else ""
    return f"{new} may replace {old}{condition}: over {clips} clips {'; '.join(parts)}."


def as_text(result: Mapping[str, Any]) -> str:
    """Verdict, measures, groups that fall, and the worst clips, for a terminal."""
    lines = [result["verdict"], ""]
    heads = ("", "clips", "old", "new", "gain", "95 % interval", "margin", "worse", "better")
    lines.append("".join(f"{head:>{16 if i == 5 else 12 if i == 0 else 9}}" for i, head in enumerate(heads)))
    for measure, facts in result["measures"].items():
        span = f"{facts['low']:+.3f} to {facts['high']:+.3f}"
        lines.append(
            f"{NAMES[measure]:>12}{facts['clips']:>9}{facts['old']:>9.2f}{facts['new']:>9.2f}{facts['gain']:>+9.3f}"
            f"{span:>18}{facts['margin']:>7g}{facts['negative_flips']:>9}{facts['positive_flips']:>9}"
        )
    if "heads" in result:
        lines += ["", in_words(result["heads"])]
    lines += ["", f"{NAMES[DECIDING]} by group (in brackets: fewer than {MIN_CLIPS} clips, too few to judge)"]
    for kind, compared in result["groups"].items():
        cells = []
        for name, facts in compared["groups"].items():
            if DECIDING in facts:
                cell = f"{name} {facts[DECIDING]['mean']:+.2f}"
                cells.append(cell if facts[DECIDING]["judged"] else f"[{cell}]")
        lines.append(f"  {kind}: {', '.join(cells)}")
    lines += ["", "Worst clips"]
    for row in worst_clips(result):
        gains = ", ".join(f"{NAMES[m]} {gain:+.2f}" for m, gain in row["gain"].items())
        lines.append(f"  {row['name']}: {gains}")
    return "\n".join(lines) + "\n"


def worst_clips(result: Mapping[str, Any], count: int = 5) -> list[dict[str, Any]]:
    """The clips on which the new model compares worst, by the deciding measure."""
    return [row for row in result["clips"] if DECIDING in row["gain"]][:count]


def record(result: Mapping[str, Any], path: Path, pairs: str) -> None:
    """Add a verdict to a history of verdicts, which is what shows that the models that ship were gated.

    Parameters
    ----------
    result : mapping
        Of `gate`.
    path : Path
        A JSON file {"verdicts": [...]}, what else is in it stays; made when it does not exist, and replaced whole.
    pairs : str
        Name of the set of pairs.

    Raises
    ------
    ValueError
        The file holds something else.
    """
    history = read_record(path) if path.exists() else {"verdicts": []}
    kept = {side: {key: result[side][key] for key in ("name", "sha256")} for side in ("old", "new")}
    kept |= {key: result[key] for key in ("passed", "verdict", "limits", "measures", "heads") if key in result}
    judged = sorted((row for row in result["clips"] if DECIDING in row["gain"]), key=lambda row: row["name"])
    clips = {row["name"]: [round(row[side][DECIDING], 3) for side in ("old", "new")] for row in judged}
    history["verdicts"].append({"pairs": pairs} | kept | {"clips": clips})
    lines = ",\n".join(json.dumps(verdict) for verdict in history["verdicts"])  # a verdict a line
    others = "".join(
        f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in history.items() if key != "verdicts"
    )
    waiting = path.with_name(f".{path.name}.part")
    waiting.write_text(f'{{{others}"verdicts": [\n{lines}\n]}}\n')
    waiting.replace(path)


def read_record(path: Path) -> dict[str, Any]:
    """A history of verdicts that `record` wrote; ValueError when it is none."""
    try:
        history = json.loads(path.read_text())
        verdicts = history["verdicts"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: accepted: JSON with a list of verdicts") from error
    if not isinstance(verdicts, list):
        raise ValueError(f"{path}: verdicts are {type(verdicts).__name__}; accepted: a list")
    return history
