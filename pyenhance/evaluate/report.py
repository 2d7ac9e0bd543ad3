"""The result of an evaluation as text, JSON, the tables of a model card, and one HTML page."""

import base64
import html
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..dsp import SAMPLE_RATE
from .groups import MIN_CLIPS, MIN_SPEAKERS
from .metrics import METRICS
from .pairs import Pair, read_pair
from .systems import system

SUFFIXES = (".json", ".md", ".html")

_HEADS = {
    "pesq_wb": "PESQ-WB",
    "stoi": "STOI",
    "estoi": "ESTOI",
    "si_sdr": "SI-SDR",
    "csig": "CSIG",
    "cbak": "CBAK",
    "covl": "COVL",
    "sig": "DNSMOS SIG",
    "bak": "BAK",
    "ovrl": "OVRL",
}
_CONTAINERS = {"FLAC": ("PCM_16", "audio/flac"), "MP3": ("MPEG_LAYER_III", "audio/mpeg")}
_STYLE = """body{max-width:70rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ccc}
th:first-child,td:first-child{text-align:left}img{max-width:100%}audio{vertical-align:middle}"""


def _cell(metric: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.1f}" if metric == "si_sdr" else f"{value:.3f}" if "stoi" in metric else f"{value:.2f}"


def _rows(means: dict[str, Any], systems: Sequence[str]) -> list[list[str]]:
    return [[name, *(_cell(metric, means[name][metric]) for metric in METRICS)] for name in systems]


def as_text(result: dict[str, Any]) -> str:
    """A table of the means, and one for each group."""
    systems = list(result["means"])
    heads = ["", *_HEADS.values()]
    blocks = [("all", result["means"], len(result["clips"]))]
    blocks += [
        (f"{kind}: {value}", means, means["clips"])
        for kind, values in result["groups"].items()
        for value, means in values.items()
    ]
    lines = []
    width = max(12, *(len(name) for name in systems))
    for title, means, clips in blocks:
        lines.append(f"{title} ({clips} clips)")
        for row in [heads, *_rows(means, systems)]:
            lines.append(f"  {row[0]:{width}}" + "".join(f"{cell:>11}" for cell in row[1:]))
        lines.append("")
    lines += [*group_lines(result, subject_of(systems)), ""]
    return "\n".join(lines)


def group_lines(result: dict[str, Any], name: str) -> list[str]:
    """What each group gets, with intervals and counts, and how far best and worst of a kind lie apart, in words.

    Groups of fewer than `MIN_CLIPS` clips are said to be too small, and take no part in the gap.
    """
    lines = []
    measure = "pesq_wb_gain" if "noisy" in result["means"] else "pesq_wb"
    for kind, compared in result["spread"].get(name, {}).items():
        if not any(measure in facts for facts in compared["groups"].values()):
            continue
        cells, small = [], []
        for group, facts in compared["groups"].items():
            own = facts.get(measure)
            if own and own["judged"]:
                of = f"{own['clips']} clips" + (f" of {own['speakers']} speakers" if "speakers" in own else "")
                cells.append(f"{group} {own['mean']:.2f} ({own['low']:.2f} to {own['high']:.2f}, {of})")
            else:
                voices = f" of {own['speakers']}" if own and "speakers" in own else ""
                small.append(f"{group} ({own['clips'] if own else 0}{voices})")
        if small:
            least = f"{MIN_CLIPS} clips" + (f" or {MIN_SPEAKERS} speakers" if " of " in small[0] else "")
            cells.append(f"too small to judge, under {least}: {', '.join(small)}")
        lines.append(f"{kind}, {'gain in PESQ-WB' if measure.endswith('gain') else 'PESQ-WB'}: {'; '.join(cells)}")
        gap = compared["gaps"].get(measure)
        if gap:
            what = "gain in PESQ-WB" if measure.endswith("gain") else "PESQ-WB"
            span = f"95 % interval {gap['low']:.2f} to {gap['high']:.2f}; by chance alone up to {gap['chance']:.2f}"
            lines.append(f"{kind}: {what} {gap['gap']:.2f} higher for {gap['best']} than for {gap['worst']} ({span})")
    return lines


def as_markdown(result: dict[str, Any]) -> str:
    """Tables for a model card: every system over all clips, then the first model by group.

    Languages with fewer than ten clips are left out: so few say nothing.
    """
    systems = list(result["means"])
    subject = subject_of(systems)
    shown = ("pesq_wb", "stoi", "si_sdr", "covl", "sig", "bak", "ovrl")
    lines = [markdown_row(["", *(_HEADS[metric] for metric in shown)]), markdown_row(["---"] * (1 + len(shown)))]
    for name in systems:
        lines.append(markdown_row([name, *(_cell(metric, result["means"][name][metric]) for metric in shown)]))
    heads = [
        f"{subject}, by",
        "clips",
        "PESQ-WB, noisy",
        "enhanced",
        "gain",
        "STOI",
        "SI-SDR",
        "OVRL, noisy",
        "enhanced",
    ]
    lines += ["", markdown_row(heads), markdown_row(["---"] * len(heads))]
    for kind, values in result["groups"].items():
        for value, means in values.items():
            if kind == "language" and means["clips"] < 10:
                continue
            before, after = means.get("noisy", dict.fromkeys(METRICS, math.nan)), means[subject]
            gain = after["pesq_wb"] - before["pesq_wb"]
            cells = [_cell("pesq_wb", v) for v in (before["pesq_wb"], after["pesq_wb"], gain)]
            cells += [_cell(metric, after[metric]) for metric in ("stoi", "si_sdr")]
            cells += [_cell("ovrl", v["ovrl"]) for v in (before, after)]
            lines.append(markdown_row([f"{kind}: {value}", str(means["clips"]), *cells]))
    lines += ["", *(f"- {line}" for line in group_lines(result, subject))]
    return "\n".join(lines) + "\n"


def markdown_row(cells: Sequence[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def subject_of(systems: Sequence[str]) -> str:
    """The system that a report is about: the first that is neither the input nor the oracle."""
    return next((name for name in systems if name not in ("noisy", "oracle")), systems[-1])


def as_json(result: dict[str, Any]) -> str:
    """The result with NaN as null."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, list):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    return json.dumps(clean(result), indent=1)


def as_html(result: dict[str, Any], pairs: Sequence[Pair]) -> str:
    """One page without outside parts: tables, and spectrograms of the best, median and worst clip of the first model.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    systems = list(result["means"])
    parts = ["<h1>Evaluation</h1>", f"<p>{len(pairs)} clips at 48 kHz. Higher is better everywhere; SI-SDR in dB.</p>"]
    parts.append(_table(result["means"], systems))
    for kind, values in result["groups"].items():
        parts.append(f"<h2>By {html.escape(kind)}</h2>")
        for value, means in values.items():
            parts.append(f"<h3>{html.escape(value)} ({means['clips']} clips)</h3>{_table(means, systems)}")
    subject = subject_of(systems)
    gaps = "".join(f"<li>{html.escape(line)}</li>" for line in group_lines(result, subject))
    parts.append(f"<h2>How equally {html.escape(subject)} serves them</h2><ul>{gaps}</ul>")
    parts.append(f"<h2>Best, median and worst of {html.escape(subject)}, by gain in PESQ</h2>")
    gains = [
        (clip["scores"][subject]["pesq_wb"] - clip["scores"].get("noisy", {}).get("pesq_wb", 0), i)
        for i, clip in enumerate(result["clips"])
    ]
    ranked = sorted((gain, i) for gain, i in gains if not math.isnan(gain))
    if ranked:
        run = system(subject)
        for label, (gain, i) in {"Best": ranked[-1], "Median": ranked[len(ranked) // 2], "Worst": ranked[0]}.items():
            clean, noisy = read_pair(pairs[i])
            parts.append(f"<h3>{label}: {html.escape(pairs[i].name)}, {gain:+.2f}</h3>")
            parts.append(spectrograms(pairs[i].name, {"noisy": noisy, subject: run(noisy, clean), "clean": clean}))
    return page("Evaluation", parts)


def page(title: str, parts: Sequence[str]) -> str:
    """An HTML page without outside parts."""
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _table(means: dict[str, Any], systems: Sequence[str]) -> str:
    return table_of([["", *_HEADS.values()], *_rows(means, systems)])


def table_of(rows: Sequence[Sequence[object]]) -> str:
    """A table, its heads in the first row."""
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in rows[0])
    body = ("".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows[1:])
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{row}</tr>" for row in body) + "</table>"


def spectrograms(name: str, signals: dict[str, np.ndarray]) -> str:
    """An image element: one spectrogram above the other, 80 dB deep."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("the HTML page needs matplotlib: pip install 'pyenhance[eval]'") from error
    figure = Figure(figsize=(10, 1 + 2 * len(signals)), layout="constrained")
    axes = figure.subplots(len(signals), 1, sharex=True)
    for axis, (name, x) in zip(axes, signals.items(), strict=True):
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(x, (0, 1024)), 1024)[::480] * np.hanning(1024)
        level = 20 * np.log10(np.abs(np.fft.rfft(frames)) + 1e-6)
        extent = (0, len(x) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000)
        axis.imshow(level.T, origin="lower", aspect="auto", extent=extent, vmin=-50, vmax=30, cmap="magma")
        axis.set(title=name, ylabel="kHz", ylim=(0, 20))
    axes[-1].set_xlabel("s")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="Spectrograms of {html.escape(name)}" src="data:image/png;base64,{data}">'


def seen_and_heard(name: str, sounds: dict[str, np.ndarray], container: str = "FLAC") -> str:
    """Elements that play sounds, in a container of `_CONTAINERS`, and an image of their spectrograms."""
    parts = []
    for label, x in sounds.items():
        text = html.escape(label)
        player = f'<audio controls preload=none aria-label="{text}" src={_sound(x, container)!r}></audio>'
        parts.append(f"<p>{player} {text}</p>")
    return "\n".join([*parts, spectrograms(name, sounds)])


def _sound(x: np.ndarray, container: str) -> str:
    """A data URI."""
    import soundfile

    subtype, kind = _CONTAINERS[container]
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(x, -1, 1), SAMPLE_RATE, format=container, subtype=subtype)
    return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def write(result: dict[str, Any], pairs: Sequence[Pair], path: Path) -> None:
    """Write the result as what the path's suffix says: .json, .md or .html.

    Raises
    ------
    ValueError
        Another suffix.
    """
    write_as(path, lambda: as_json(result), lambda: as_markdown(result), lambda: as_html(result, pairs))


def write_as(path: Path, *writers: Callable[[], str]) -> None:
    """Write what the one of the writers gives that belongs to the path's suffix, as `SUFFIXES` has them.

    Raises
    ------
    ValueError
        Another suffix.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: accepted: a name that ends in {', '.join(SUFFIXES)}")
    path.write_text(writers[SUFFIXES.index(path.suffix)]())
