"""The rings between the audio thread and the worker, both sides on real threads."""

import json
import subprocess
from pathlib import Path

import pytest

from ..conftest import PATIENCE_S, ROOT

HERE = Path(__file__).parent


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_no_sample_is_lost_changed_or_moved(node: str, seed: int) -> None:
    command = [node, HERE / "ring_fuzz.mjs", ROOT / "site" / "ring.js", str(seed), "1500000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["read"] >= 1_500_000 and facts["fullest"] > 2000


@pytest.mark.parametrize("script", ["stream_overload.mjs", "resample.mjs"])
def test_overload_loses_nothing_and_rates_convert(node: str, script: str) -> None:
    done = subprocess.run([node, HERE / script], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0 and done.stdout.strip() == "ok", done.stderr
