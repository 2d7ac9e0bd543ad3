"""The tools of tests/perf count and measure what they say."""

import json
import subprocess
import sys

import numpy as np

from pyenhance import load_model
from pyenhance.dsp import SignalSpec

from ..conftest import ROOT
from ..networks import random_features
from ..perf.run_up import run_up_rows
from ..whole import whole_spec, whole_weights


def test_numpy_calls_counts_views_and_what_comes_of_them() -> None:
    """A process of its own: its arrays go on counting."""
    code = "import json; from tests.perf.numpy_calls import numpy_calls; print(json.dumps(numpy_calls(1)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    calls = json.loads(done.stdout)
    # The windows of the frames, of the comb's copies, of the pitch tracker's correlations and scores, of convolutions.
    assert calls["view"] >= 5 and calls["rfft"] >= 3, calls


def test_the_longer_the_run_up_the_nearer_the_recording_in_one_piece() -> None:
    features = random_features(whole_spec(SignalSpec()), np.random.default_rng(0), 200)
    for model in (load_model(whole_weights()), load_model("tiny")):
        none, some = run_up_rows(model, features, (0, 60), stretch=70, compared=20)
        assert none["mean"] > 2 * some["mean"]
