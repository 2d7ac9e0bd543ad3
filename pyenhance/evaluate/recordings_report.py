"""What `recordings.evaluate_recordings` found as text, JSON, a Markdown table, and one page to see and hear it on."""

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..audio import read_audio
from ..threads import one_thread
from .recordings import OPINIONS, Recording
from .report import as_json, markdown_row, page, seen_and_heard, subject_of, table_of, write_as
from .systems import system

_HEADS = ("DNSMOS SIG", "BAK", "OVRL")


def _span(facts: Mapping[str, float], sign: str = "") -> str:
    if math.isnan(facts["mean"]):
        return "-"
    mean, low, high = (f"{facts[key]:{sign}.2f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def _rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Means of all systems, then differences, both with their intervals."""
    subject = subject_of(list(result["means"]))
    rows = [[name, *(_span(means[opinion]) for opinion in OPINIONS)] for name, means in result["means"].items()]
    return rows + [
        [f"{subject}, less {name}", *(_span(less[opinion], "+") for opinion in OPINIONS)]
        for name, less in result["differences"].items()
    ]


def as_text(result: Mapping[str, Any]) -> str:
    """A table of means and differences."""
    rows = [[f"{len(result['clips'])} recordings", *_HEADS], *_rows(result)]
    width = max(len(row[0]) for row in rows)
    return "".join(f"{row[0]:{width}}" + "".join(f"{cell:>25}" for cell in row[1:]) + "\n" for row in rows)


def as_markdown(result: Mapping[str, Any]) -> str:
    """A table of means and differences, and one of each recording's SIG, BAK and OVRL."""
    systems = list(result["means"])
    lines = [["", *_HEADS], ["---"] * 4, *_rows(result)]
    clips = [["SIG / BAK / OVRL", *systems], ["---"] * (1 + len(systems))]
    clips += [
        [clip["name"], *(" / ".join(_opinions(clip["scores"][name])) for name in systems)] for clip in result["clips"]
    ]
    return "\n".join([*map(markdown_row, lines), "", *map(markdown_row, clips)]) + "\n"


def _opinions(scores: Mapping[str, float]) -> list[str]:
    return ["-" if math.isnan(scores[opinion]) else f"{scores[opinion]:.2f}" for opinion in OPINIONS]


def as_html(result: Mapping[str, Any], recordings: Sequence[Recording]) -> str:
    """One page without outside parts: the table, then each recording's scores, sounds and spectrograms.

    Raises
    ------
    ImportError
        matplotlib or soundfile is not installed.
    """
    names = list(result["means"])
    parts = ["<h1>Recordings</h1>", table_of([["", *_HEADS], *_rows(result)])]
    parts.append("<p>In brackets the middle 95 % of bootstrap means. Sounds are MP3, for the page's size.</p>")
    with one_thread():
        systems = {name: system(name) for name in names}
        for recording, clip in zip(recordings, result["clips"], strict=True):
            noisy = read_audio(recording.path)
            facts = "; ".join(f"{key}: {text}" for key, text in recording.facts.items())
            parts.append(f"<h2>{html.escape(recording.name)}</h2><p>{html.escape(facts)}</p>")
            figures = [[name, *_opinions(clip["scores"][name])] for name in names]
            parts.append(table_of([["", *_HEADS], *figures]))
            sounds = {name: run(noisy, noisy) for name, run in systems.items()}
            parts.append(seen_and_heard(recording.name, sounds, "MP3"))
    return page("Recordings", parts)


def write(result: Mapping[str, Any], recordings: Sequence[Recording], path: Path) -> None:
    """Write the result as what the path's suffix says: .json, .md or .html.

    Raises
    ------
    ValueError
        Another suffix.
    """
    write_as(path, lambda: as_json(dict(result)), lambda: as_markdown(result), lambda: as_html(result, recordings))
