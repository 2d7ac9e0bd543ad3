"""The notebook of the steps: it is one, and its cells run in their order."""

import json
import re
import sys
from pathlib import Path

import pytest

from pyenhance.lab import STEPS

from ..conftest import ROOT

sys.path.insert(0, str(ROOT / "wasm"))
from make_notebook import make_notebook


@pytest.fixture(scope="module")
def notebook() -> dict:
    return json.loads(make_notebook())


def test_form(notebook: dict) -> None:
    """What nbformat's schema of version 4.5 asks for."""
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(set(names)) == len(names)
    for cell in notebook["cells"]:
        wanted = {"cell_type", "id", "metadata", "source"}
        assert set(cell) == wanted | ({"execution_count", "outputs"} if cell["cell_type"] == "code" else set())
    said = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    steps = [text for text in said if re.match(r"## \d\. \w.*\n\n\w", text)]
    assert len(steps) == len(STEPS) and "A vowel repeats itself" in steps[3]


def test_cells_run_in_order(notebook: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("matplotlib", reason="the notebook's pictures need matplotlib")
    monkeypatch.chdir(ROOT / "site" / "page")  # where its sounds are
    space: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), space)
    results = space["results"]
    assert set(results) == {*STEPS, "edited"}
    score = {step: result.si_sdr_db for step, result in results.items()}
    assert score["noisy"] < score["network"] < score["gains"] < score["bins"] and score["gains"] < score["comb"]
    assert score["edited"] == score["comb"], "without the post-filter"
    assert "def envelope_postfilter(" in capsys.readouterr().out
    shown = results["comb"]._repr_html_()
    assert "data:image/png;base64,iVBOR" in shown and "data:audio/wav;base64,UklGR" in shown


def test_the_site_has_it(site: Path, notebook: dict) -> None:
    assert json.loads((site / "how.ipynb").read_text()) == notebook
