"""The gate's report: one HTML page with its pictures and sounds inside, or JSON."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..threads import one_thread
from .gate import DECIDING, MARGINS, NAMES, PESQ_STARTS, worst_clips
from .groups import MIN_CLIPS
from .heads import in_words
from .pairs import Pair, read_pair
from .report import as_json, page, seen_and_heard, table_of
from .systems import system

SUFFIXES = (".json", ".html")


def as_html(result: Mapping[str, Any], pairs: Sequence[Pair]) -> str:
    """A page without outside parts: verdict, measures, groups, and the worst clips by eye and by ear.

    Parameters
    ----------
    result : mapping
        Of `gate.gate`.
    pairs : sequence of Pair
        What it was judged on.

    Raises
    ------
    ImportError
        matplotlib or soundfile is not installed.
    """
    old, new = result["old"]["name"], result["new"]["name"]
    parts = [f"<h1>{'Passes' if result['passed'] else 'Does not pass'}: {_text(new)} in place of {_text(old)}</h1>"]
    if result["passed"]:
        parts.append(f"<p>{_text(result['verdict'])}</p>")
    else:
        parts.append(_list(result["reasons"]))
    for side in ("old", "new"):
        digest = result[side]["sha256"]
        parts.append(
            f"<p>{side}: {_text(result[side]['name'])}{f', sha256 <code>{digest}</code>' if digest else ''}</p>"
        )
    parts += ["<h2>Measures</h2>", _measures(result), _rules(result["limits"])]
    if "heads" in result:
        parts += ["<h2>Compatibility</h2>", f"<p>{_text(in_words(result['heads']))}</p>"]
    parts += [f"<h2>{NAMES[DECIDING]} by group</h2>", _groups(result["groups"])]
    parts.append("<h2>Worst clips</h2>")
    files = {pair.name: pair for pair in pairs}
    with one_thread():
        systems = {side: system(result[side]["model"]) for side in ("old", "new")}
        for row in worst_clips(result):
            clean, noisy = read_pair(files[row["name"]])
            sounds = {"noisy": noisy}
            sounds |= {f"{side} ({result[side]['name']})": run(noisy, clean) for side, run in systems.items()}
            sounds["clean"] = clean
            parts.append(_clip(row, sounds))
    return page(f"{new} in place of {old}", parts)


def _text(value: object) -> str:
    return html.escape(str(value))


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>"


def _measures(result: Mapping[str, Any]) -> str:
    rows: list[Sequence[object]] = [
        ("", "clips", "old", "new", "mean gain", "95 % interval", "margin", "negative flips", "NFR", "positive flips")
    ]
    for name, facts in result["measures"].items():
        figures = (f"{facts['old']:.2f}", f"{facts['new']:.2f}", f"{facts['gain']:+.3f}", _span(facts))
        flips = (f"{facts['margin']:g}", facts["negative_flips"], f"{facts['nfr']:.1%}", facts["positive_flips"])
        rows.append((NAMES[name], facts["clips"], *figures, *flips))
    return table_of(rows)


def _rules(limits: Mapping[str, Any]) -> str:
    falls = ", ".join(f"{NAMES[measure]} {fall:g}" for measure, fall in limits["mean_fall"].items())
    allowed = f" Means may fall by so much: {falls}." if falls else ""
    return (
        f"<p>PESQ is the mean over {PESQ_STARTS} starts within a frame. A negative flip is a clip that falls by more "
        f"than the margin. It passes when no measure has more than "
        f"{limits['nfr']:.1%} of them, the interval of the mean of {NAMES[DECIDING]} is nowhere below 0 and that of "
        f"no other measure is wholly, no clip falls by more than {limits['clip_fall']:g} of {NAMES[DECIDING]}, and no "
        f"group of {MIN_CLIPS} clips or more by more than {limits['group_fall']:g}.{allowed}</p>"
    )


def _groups(groups: Mapping[str, Any]) -> str:
    rows: list[Sequence[object]] = [("", "clips", "mean gain", "95 % interval", "")]
    lines = []
    for kind, compared in groups.items():
        for name, facts in compared["groups"].items():
            if DECIDING in facts:
                own = facts[DECIDING]
                remark = "" if own["judged"] else "too few to judge"
                rows.append((f"{kind}: {name}", own["clips"], f"{own['mean']:+.3f}", _span(own), remark))
        gap = compared["gaps"].get(DECIDING)
        if gap:
            lines.append(
                f"{kind}: {gap['best']} gains {gap['gap']:.3f} more than {gap['worst']} ({_span(gap)}); "
                f"by chance alone groups of these sizes lie up to {gap['chance']:.3f} apart"
            )
    return table_of(rows) + _list(lines)


def _span(facts: Mapping[str, float]) -> str:
    return f"{facts['low']:+.3f} to {facts['high']:+.3f}"


def _clip(row: Mapping[str, Any], sounds: Mapping[str, np.ndarray]) -> str:
    """A clip's figures, spectrograms and sounds."""
    kinds = ", ".join(f"{kind}: {name}" for kind, name in row["groups"].items())
    figures: list[tuple[str, ...]] = [("", "old", "new", "gain")]
    for measure in MARGINS:
        if measure in row["gain"]:
            values = (row["old"][measure], row["new"][measure])
            figures.append((NAMES[measure], *(f"{v:.2f}" for v in values), f"{row['gain'][measure]:+.2f}"))
    parts = [f"<h3>{_text(row['name'])}</h3><p>{_text(kinds)}</p>", table_of(figures)]
    return "\n".join([*parts, seen_and_heard(row["name"], dict(sounds))])


def write(result: Mapping[str, Any], pairs: Sequence[Pair], path: Path) -> None:
    """Write the result as what the path's suffix says: .json or .html.

    Raises
    ------
    ValueError
        See `check_target`.
    """
    check_target(path)
    path.write_text(as_json(dict(result)) + "\n" if path.suffix == ".json" else as_html(result, pairs))


def check_target(path: Path) -> None:
    """ValueError unless the path's suffix is one that `write` knows and its folder exists."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: accepted: a name that ends in {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: {path.parent} is no folder")
