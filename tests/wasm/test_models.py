"""The models that a site lists: versions, verdicts, and the diffs that lead to the newest."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyenhance.model import apply_diffs, load_model, make_diff, stream_models
from pyenhance.model.diff import weights_bytes
from pyenhance.model.image import write_image

from ..conftest import PATIENCE_S, ROOT
from ..unit.test_diff import changed

sys.path.insert(0, str(ROOT / "wasm"))
import make_site

NEWEST = weights_bytes("tiny")
OLDER = changed(NEWEST, 0.01, seed=1)
OLDEST = changed(OLDER, 0.01, seed=2)
DIFFS = [make_diff(OLDER, NEWEST), make_diff(OLDEST, OLDER)]


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path


def test_the_list_leads_from_each_version_to_the_newest(engine: Path) -> None:
    models = make_site.write_models(engine, {"tiny": NEWEST}, {"tiny": DIFFS}, {"tiny": b"a summary"})
    listed = json.loads((engine / "models" / "models.json").read_text())["tiny"]
    assert listed["sha256"] == hashlib.sha256(NEWEST).hexdigest() and listed["bytes"] == len(NEWEST)
    assert (engine / listed["weights"]).read_bytes() == NEWEST and models["tiny"]["weights"] == listed["weights"]
    assert (engine / models["tiny"]["summary"]).read_bytes() == b"a summary"
    assert (engine / models["tiny"]["image"]).read_bytes() == write_image(load_model(NEWEST, "numpy"))
    by = {entry["from"]: entry for entry in listed["diffs"]}
    for start, steps in ((OLDEST, 2), (OLDER, 1)):
        at, chain = hashlib.sha256(start).hexdigest(), []
        while at != listed["sha256"]:
            chain.append((engine / by[at]["file"]).read_bytes())
            assert len(chain[-1]) == by[at]["bytes"]
            at = by[at]["to"]
        assert len(chain) == steps and apply_diffs(start, chain) == NEWEST


@pytest.mark.parametrize("diffs", [DIFFS[1:], [make_diff(NEWEST, OLDER)], [make_diff(NEWEST, OLDER), DIFFS[0]]])
def test_diffs_that_do_not_lead_to_the_newest_are_refused(engine: Path, diffs: list[bytes]) -> None:
    with pytest.raises(SystemExit, match="model tiny: from"):
        make_site.write_models(engine, {"tiny": NEWEST}, {"tiny": diffs}, {})


def test_the_browser_s_python_applies_them_or_says_why_not(site: Path, node: str, tmp_path: Path) -> None:
    flipped = bytearray(DIFFS[1])
    flipped[300] ^= 4
    files = {"base": OLDEST, "second": DIFFS[0], "first": DIFFS[1], "flipped": bytes(flipped), "cut": DIFFS[1][:-9]}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    chains = ["first,second", "first", "second", "flipped,second", "cut,second", "second,first"]
    places = [",".join(str(tmp_path / name) for name in chain.split(",")) for chain in chains]
    command = [node, Path(__file__).with_name("update.mjs"), site, tmp_path / "base", *places]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    whole, first, *refused = json.loads(done.stdout)
    assert whole["sha256"] == whole["sum"] == hashlib.sha256(NEWEST).hexdigest() and whole["latency"] == 1440
    assert first["sha256"] == first["sum"] == hashlib.sha256(OLDER).hexdigest()
    for told, expected in zip(refused, ("another base", "changed or cut", "changed or cut", "a gap"), strict=True):
        assert told.startswith("ValueError: diff") and expected in told


def test_the_site_lists_what_ships(site: Path) -> None:
    listed = json.loads((site / "engine" / "models" / "models.json").read_text())
    assert sorted(listed) == stream_models()
    for name, entry in listed.items():
        assert entry["sha256"] == hashlib.sha256(weights_bytes(name)).hexdigest()
        assert (site / "engine" / entry["weights"]).stat().st_size == entry["bytes"]
        said = rf"{name} may replace the version before(, whose means were allowed to fall \(.+\))?: over 120 clips"
        assert re.match(said, entry["verdict"])
