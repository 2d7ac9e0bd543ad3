"""Between the audio thread, the worker and the page: rings, messages, and what both sides do with them."""

import json
import subprocess
from pathlib import Path

import pytest

from ..conftest import PATIENCE_S

HERE = Path(__file__).parent


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_no_sample_is_lost_changed_or_moved(node: str, seed: int) -> None:
    command = [node, HERE / "ring_fuzz.mjs", str(seed), "1500000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["read"] >= 1_500_000 and facts["fullest"] > 2000


@pytest.mark.parametrize(
    "script",
    [
        "ring",
        "protocol",
        "engine",
        "place",
        "node",
        "lowered",
        "track",
        "worker",
        "processor",
        "delay",
        "silence",
        "channels",
        "switch",
        "stream_overload",
        "resample",
        "update",
        "remote",
        "profiles",
        "remembered",
    ],
)
def test_script(node: str, script: str) -> None:
    """Each of the scripts beside this file says in its first lines what it shows."""
    done = subprocess.run(
        [node, HERE / f"{script}.mjs"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0 and done.stdout.strip() == "ok", done.stderr
