"""The browser's door to Python, as CPython sees it."""

import itertools
import json
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from pyenhance import Enhancer, enhance, load_model
from pyenhance.dsp import LOUDEST
from pyenhance.live import CALLS, LiveEngine, answer
from pyenhance.model.adapt import adapt
from pyenhance.model.diff import make_diff, weights_bytes
from pyenhance.model.image import write_image
from pyenhance.model.summary import shipped_summary

from ..conftest import noisy_voice, voiced
from .test_adapt import NOISE, RATE, VOICE
from .test_diff import changed


@pytest.mark.parametrize("model", ["default", "tiny"])
def test_facts_of_the_model_that_runs(model: str) -> None:
    facts = answer("warm_up", {"model": model})
    live = answer("open_live", {"model": model, "max_hops": 3})
    assert isinstance(live, LiveEngine) and live.input.shape == (3 * 480,)
    assert facts["model"] == model and facts["weights"] > 100_000
    assert (facts["latency_samples"], facts["num_bands"]) == (live.latency_samples, live.num_bands)
    assert live.latency_samples == live.enhancer.latency_samples
    assert live.facts.shape == (3 + live.num_bands,)
    json.dumps(facts)  # plain values


def test_live_strength() -> None:
    live = answer("open_live", {"model": "tiny", "max_hops": 1})
    live.strength_db = 0
    x = noisy_voice(0.5).reshape(-1, 480)
    out = []
    for hop in x:
        live.input[:] = hop
        live.run(1)
        out.append(live.output.copy())
    delay = live.latency_samples
    np.testing.assert_allclose(np.concatenate(out)[delay:], x.ravel()[:-delay], atol=1e-5)
    live.strength_db = None
    assert live.enhancer.strength_db is None


@pytest.mark.parametrize("model", ["default", "low-delay"])
def test_another_model_in_the_middle(model: str) -> None:
    """As `Enhancer.switch` does it; the blocks and their facts are the new model's."""
    live, other = answer("open_live", {"model": "tiny", "max_hops": 2}), Enhancer("tiny", effort="auto")
    live.strength_db = other.strength_db = 20
    x = noisy_voice(1.0).reshape(-1, 2, 480)
    for i, hops in enumerate(x):
        if i == 20:
            live.change(model)
            other.switch(model)
            assert live.latency_samples == other.latency_samples
        live.input[:] = hops.ravel()
        live.run(2)
        np.testing.assert_array_equal(live.output, other.process_hops(hops).ravel())
        np.testing.assert_array_equal(live.facts[3:], other.last_hop.gain)
    with pytest.raises(ValueError, match="no-such"):
        live.change("no-such")
    live.run(2)


def test_the_image_of_a_weights_file() -> None:
    weights = weights_bytes("tiny")
    model = load_model(weights)
    made = answer("write_image", {"weights": memoryview(weights)})
    assert made["model"] == model.name and made["image"].tobytes() == write_image(model)
    with pytest.raises(ValueError, match="weights-"):
        answer("write_image", {"weights": memoryview(weights[:-1])})


def test_diffs_lead_to_the_newest_version() -> None:
    base = weights_bytes("tiny")
    versions = [base, changed(base, 0.01, seed=1), changed(base, 0.02, seed=2)]
    diffs = [make_diff(*pair) for pair in itertools.pairwise(versions)]
    given = {"base": memoryview(base), "diffs": [memoryview(diff) for diff in diffs]}
    made = answer("apply_diffs", given)
    assert made["weights"].tobytes() == versions[-1] and made["sha256"] == sha256(versions[-1]).hexdigest()
    assert made["image"].tobytes() == write_image(load_model(versions[-1]))
    with pytest.raises(ValueError, match="another base, or a gap"):
        answer("apply_diffs", {**given, "diffs": given["diffs"][1:]})


def test_a_file_that_was_replaced_is_read_anew() -> None:
    before = load_model("tiny")
    assert load_model("tiny") is before
    answer("forget_model", {"model": "default"})
    assert load_model("tiny") is before
    answer("forget_model", {"model": "tiny"})
    assert load_model("tiny") is not before


def test_a_recording_in_pieces_is_the_whole() -> None:
    """Two channels, uneven at the end, a sample that is no number; and two recordings do not disturb one another."""
    x = np.stack((noisy_voice(1.5), noisy_voice(1.5, seed=5)))[:, : 480 * 140 + 77]
    x[1, 500], x[0, 700] = np.nan, 1e30
    other = {"recording": 8, "model": "tiny", "strength_db": 6.0}
    parts = []
    for at in range(0, x.shape[1], 480 * 50):
        piece = [memoryview(np.ascontiguousarray(channel[at : at + 480 * 50])) for channel in x]
        last = at + 480 * 50 >= x.shape[1]
        given = {"recording": 7, "model": "tiny", "strength_db": None, "channels": piece, "last": last}
        parts.append(answer("enhance_piece", given))
        answer("enhance_piece", {**other, "channels": [np.ones(480, np.float32)], "last": False})
    whole = np.stack([np.concatenate(channel) for channel in zip(*parts, strict=True)])
    assert all(part.dtype == np.float32 and part.flags.c_contiguous for piece in parts for part in piece)
    np.testing.assert_allclose(
        whole, enhance(np.where(np.abs(x) <= LOUDEST, x, 0).T, 48_000, model="tiny").T, atol=1e-6
    )
    for recording in (7, 8, 9):
        assert answer("end_recording", {"recording": recording}) is None


def test_the_lab_and_pictures() -> None:
    with pytest.raises(ValueError, match="open_lab first"):
        answer("run_step", {"step": "noisy", "bands": 34, "comb": 1.0})
    y, x = noisy_voice(1.0), voiced(1.0)
    assert answer("open_lab", {"noisy": memoryview(y), "clean": memoryview(x), "model": "tiny"}) is None
    step = answer("run_step", {"step": "gains", "bands": 34, "comb": 1.0})
    assert step["sound"].shape == y.shape and isinstance(step["si_sdr"], float)
    assert step["data"].shape == (np.prod(step["shape"]),) and step["data"].dtype == np.uint8
    source = answer("source", {"name": "mix"})
    assert source.startswith("def mix(")
    answer("edit", {"name": "mix", "source": source})
    picture = answer("picture", {"sound": memoryview(y), "columns": 7})
    assert picture["shape"] == [96, 7]


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("dance", {}, "call 'dance' is unknown; accepted: warm_up"),
        ("open_live", {"model": "tiny", "max_hops": 0}, "max_hops is 0"),
        ("open_live", {"model": "none", "max_hops": 1}, "'none'"),
        ("bench", {"model": "tiny", "k": 0, "seconds": 1.0, "kernel": None}, "k is 0"),
    ],
)
def test_what_is_refused(name: str, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        answer(name, arguments)


def test_bench() -> None:
    row = answer("bench", {"model": "tiny", "k": 2, "seconds": 0.1, "kernel": "numpy"})
    assert row["k"] == 2 and row["us_mean"] > 0
    assert "bench" in CALLS


def test_a_model_is_fitted_step_by_step() -> None:
    """Between two steps others have their turn, and it may be ended; the result is that of `adapt`."""
    begin = {"adaptation": 1, "model": "tiny", "voice": memoryview(VOICE), "noise": memoryview(NOISE[: 10 * RATE])}
    begin["summary"] = memoryview(shipped_summary("tiny"))
    answer("begin_adapting", begin)
    answer("begin_adapting", begin | {"adaptation": 2})
    shown = []
    while "result" not in (step := answer("adapt_step", {"adaptation": 1})):
        shown.append((step["done"], step["total"]))
    assert [done for done, _ in shown] == sorted(done for done, _ in shown) and shown[-1][0] == shown[-1][1]
    result, alone = step["result"], adapt("tiny", VOICE, NOISE[: 10 * RATE])
    assert result["diff"].tobytes() == alone.diff and result["weights"].tobytes() == alone.weights
    assert result["sha256"] == sha256(alone.weights).hexdigest()
    figures = result["figures"]
    for name, (before, after) in alone.figures.items():
        assert (figures["before"][name], figures["after"][name]) == (before, after)
    assert figures["clips"] == len(alone.clips) >= figures["better"] > 0 == figures["fell"]
    sounds = result["sounds"]
    assert len({sound.shape for sound in sounds.values()}) == 1 and sounds["noisy"].dtype == np.float32
    for name, sound in sounds.items():
        at = np.argmax(np.correlate(sound[:48000], sounds["noisy"][1000:47000]))
        assert abs(at - 1000) <= 2, f"{name} is not aligned"
    json.dumps(figures)
    answer("end_adapting", {"adaptation": 2})
    with pytest.raises(ValueError, match="adaptation 2 is not under way"):
        answer("adapt_step", {"adaptation": 2})


def test_what_cannot_be_fitted_is_refused_as_adapt_does() -> None:
    summary = memoryview(shipped_summary("tiny"))
    begin = {"adaptation": 3, "model": "tiny", "voice": memoryview(VOICE[: 6 * RATE]), "noise": memoryview(NOISE)}
    answer("begin_adapting", begin | {"summary": summary})
    with pytest.raises(ValueError, match=r"voice: \d\.\d s of speech; accepted: at least 8 s"):
        answer("adapt_step", {"adaptation": 3})
    answer("end_adapting", {"adaptation": 3})
