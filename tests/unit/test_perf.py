"""The tools of tests/perf count and measure what they say."""

import json
import subprocess
import sys

from ..conftest import ROOT


def test_numpy_calls_counts_views_and_what_comes_of_them() -> None:
    """A process of its own: its arrays go on counting."""
    code = "import json; from tests.perf.numpy_calls import numpy_calls; print(json.dumps(numpy_calls(1)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    calls = json.loads(done.stdout)
    # The windows of the frames, of the comb's copies, of the pitch tracker's correlations and scores, of convolutions.
    assert calls["view"] >= 5 and calls["rfft"] >= 3, calls
