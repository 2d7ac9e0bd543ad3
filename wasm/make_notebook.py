"""how.ipynb: the steps of the page "How it works" as a Jupyter notebook, its words taken from the page's HTML."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "site" / "page" / "how.html"

HEAD = """# How a speech enhancer works

From noise to voice in six steps, each computed by the functions of pyenhance itself. It needs pyenhance (`pip install
.[audio]` in its folder), matplotlib, and beside this notebook the two sounds that the page offers with it, or two of
your own."""
OPEN = '''import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import soundfile
from pyenhance.lab import Lab, picture

clean, rate = soundfile.read("sample-clean.flac", dtype="float32")  # the voice
noisy, _ = soundfile.read("sample.flac", dtype="float32")
snr_db = 3  # voice over noise; -10 to 30

assert rate == 48_000 and clean.shape == noisy.shape
noise = noisy - clean
noisy = clean + noise * clean.std() / noise.std() / 10 ** (snr_db / 20)
peak = max(1, np.abs(noisy).max())
lab = Lab(noisy / peak, clean / peak, "default")


class Heard:
    """A sound to listen to, with its picture: time to the right, pitch up."""

    def __init__(self, sound):
        self.sound, self.si_sdr_db = sound, lab.si_sdr(sound)

    def _repr_html_(self):
        image, wav = io.BytesIO(), io.BytesIO()
        plt.imsave(image, picture(self.sound), cmap="viridis", vmin=0, vmax=255, format="png")
        soundfile.write(wav, self.sound, 48_000, format="WAV", subtype="PCM_16")
        png, audio = (base64.b64encode(data.getvalue()).decode() for data in (image, wav))
        return (
            f'<img alt="spectrogram" src="data:image/png;base64,{png}" style="width: 100%; height: 9rem">'
            f'<audio controls src="data:audio/wav;base64,{audio}"></audio>'
            f"<p>{self.si_sdr_db:.1f} dB of voice over all that is not voice (SI-SDR)</p>"
        )


results = {}'''
SETTINGS = {"gains": ", bands=34", "comb": ", comb=1.0"}
CHANGE = """## Change the code

`comb_filter`, `mix` and `envelope_postfilter` can be replaced inside the lab. Change what follows, run the two cells,
and hear what the function was for."""
PRINT = 'print(lab.source("envelope_postfilter"))'
EDIT = '''lab.edit(
    "envelope_postfilter",
    """
def envelope_postfilter(gain, energy):
    return gain
""",
)
results["edited"] = Heard(lab.run("postfilter"))
results["edited"]'''


class _Steps(HTMLParser):
    """Title and first paragraph of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self._step, self._tag = "", ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._step = dict(attributes).get("data-step") or self._step
        self._tag = tag
        if self._step:
            self.found.setdefault(self._step, {})

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""
        if tag == "li":
            self._step = ""

    def handle_data(self, data: str) -> None:
        if self._step and self._tag in ("h2", "p"):
            self.found[self._step].setdefault(self._tag, re.sub(r"\s+", " ", data.strip()))


def make_notebook() -> str:
    """The notebook, in Jupyter's format 4.5 (nbformat.readthedocs.io)."""
    steps = _Steps()
    steps.feed(PAGE.read_text())
    cells = [("markdown", HEAD), ("code", OPEN)]
    for number, (step, said) in enumerate(steps.found.items(), 1):
        cells.append(("markdown", f"## {number}. {said['h2']}\n\n{said['p']}"))
        cells.append(
            ("code", f'results["{step}"] = Heard(lab.run("{step}"{SETTINGS.get(step, "")}))\nresults["{step}"]')
        )
    cells += [("markdown", CHANGE), ("code", PRINT), ("code", EDIT)]
    notebook = {
        "cells": [_cell(kind, text, f"cell-{i}") for i, (kind, text) in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _cell(kind: str, text: str, name: str) -> dict:
    cell = {"cell_type": kind, "id": name, "metadata": {}, "source": text.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})
