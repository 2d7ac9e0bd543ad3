"""A model is fitted to a voice and a room, from two recordings, or stays as it was."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance import dsp, enhance
from pyenhance.cli import main
from pyenhance.measure import GAMMA, SMALL, si_sdr
from pyenhance.model import adapt as adapting
from pyenhance.model import apply_diffs, load_model, stream_models
from pyenhance.model.adapt import Adaptation, NotBetter, adapt
from pyenhance.model.diff import weights_bytes
from pyenhance.model.heads import (
    ALIKE,
    MEMORY_FRAMES,
    Examples,
    changed_head,
    head_inputs,
    mix_examples,
    normal_equations,
    slopes,
)
from pyenhance.model.recordings import Mix, check_noise, check_voice, make_mixes, split
from pyenhance.model.summary import HEADS, read_summary, shipped_summary, write_summary

from ..conftest import voiced

MODEL = "tiny"
RATE = 48_000


def speaker(seconds: float, f0_hz: float = 140) -> np.ndarray:
    """`voiced`, now louder, now softer, so that no two tops of the wave are alike."""
    t = np.arange(int(seconds * RATE)) / RATE
    return (voiced(seconds, f0_hz) * (0.55 + 0.45 * np.sin(2 * np.pi * 0.31 * t))).astype(np.float32)


def fan(seconds: float, seed: int = 0) -> np.ndarray:
    """A hiss that falls towards high frequencies over the hum of a motor."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    hiss = np.fft.irfft(np.fft.rfft(rng.normal(size=n)) / (1 + np.arange(n // 2 + 1) / n * RATE / 500), n)
    hum = sum(np.sin(2 * np.pi * 97 * h * np.arange(n) / RATE) / h for h in range(1, 12))
    return (0.02 * (hiss / hiss.std() + 0.5 * hum)).astype(np.float32)


VOICE, NOISE = speaker(24), fan(20)


@pytest.fixture(scope="module")
def adapted() -> Adaptation:
    steps: list[tuple[int, int]] = []
    result = adapt(MODEL, VOICE, NOISE[: 10 * RATE], progress=lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1] and sorted(steps) == steps
    return result


def test_the_user_is_heard_better(adapted: Adaptation) -> None:
    """In sentences and in a half of the noise that were not recorded."""
    gains = []
    for noisy, clean in make_mixes(speaker(9, 150)[: 8 * RATE], NOISE[10 * RATE :], (0, 5, 10)):
        before, after = (
            si_sdr(clean, enhance(noisy, RATE, model=model)) for model in (MODEL, load_model(adapted.weights))
        )
        gains.append(after - before)
    assert np.mean(gains) > 0.3 and min(gains) > -0.5, gains


def test_what_is_kept_is_better_on_what_was_held_out(adapted: Adaptation) -> None:
    loss, ratio, public = (adapted.figures[name] for name in ("gain_loss", "si_sdr", "public_gain_loss"))
    assert loss[1] < loss[0] and ratio[1] >= ratio[0]
    assert public[1] <= public[0] * (1 + adapting.LOSS_RISE)
    assert len(adapted.clips) == 12 and {clip["snr_db"] for clip in adapted.clips} == {0, 5, 10}
    assert ratio[1] == pytest.approx(np.mean([clip["si_sdr"][1] for clip in adapted.clips]))


def test_the_diff_is_small_and_exact(adapted: Adaptation) -> None:
    base = weights_bytes(MODEL)
    assert len(adapted.diff) <= adapting.DIFF_LIMIT_BYTES and len(adapted.diff) < len(base) / 4
    assert apply_diffs(base, [adapted.diff]) == adapted.weights
    old, new = load_model(MODEL), load_model(adapted.weights)
    assert new.signal == old.signal and new.network.spec == old.network.spec
    changed = {name for name, value in new.tensors.items() if not np.array_equal(value, old.tensors[name])}
    heads = {f"{head}.{kind}" for head in HEADS for kind in ("weight", "bias")}
    assert changed == heads | {name for name in new.network.spec.initial if name in new.tensors}, "scales stay"


def test_the_same_without_numpys_random(adapted: Adaptation, tmp_path: Path) -> None:
    """Which the browser's numpy does not have; and a second time the same bytes."""
    np.save(tmp_path / "voice.npy", VOICE)
    np.save(tmp_path / "noise.npy", NOISE[: 10 * RATE])
    code = f"""
import hashlib, sys
sys.modules["numpy.random"] = None
import numpy as np
from pyenhance.model.adapt import adapt
result = adapt({MODEL!r}, *(np.load({str(tmp_path)!r} + name) for name in ("/voice.npy", "/noise.npy")))
print(hashlib.sha256(result.diff).hexdigest())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == hashlib.sha256(adapted.diff).hexdigest(), done.stderr


def test_a_smaller_diff_where_one_is_asked_for(adapted: Adaptation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapting, "DIFF_LIMIT_BYTES", len(adapted.diff) * 2 // 3)
    less = adapt(MODEL, VOICE, NOISE[: 10 * RATE])
    assert len(less.diff) <= len(adapted.diff) * 2 // 3
    assert less.figures["gain_loss"][1] < less.figures["gain_loss"][0]


@pytest.mark.parametrize(
    ("voice", "noise", "message"),
    [
        (np.zeros(20 * RATE, np.float32), NOISE, r"voice: silent, -inf dBFS; accepted: at least -50 dBFS"),
        (VOICE * np.float32(1e-4), NOISE, r"voice: silent, -\d+ dBFS; accepted"),
        (VOICE[: 6 * RATE], NOISE, r"voice: \d\.\d s of speech; accepted: at least 8 s"),
        (VOICE[:0], NOISE, r"voice: silent"),
        (VOICE + 0.01 * fan(24, 1) / fan(24, 1).std(), NOISE, r"voice: too noisy, speech is 1\d dB above its pauses"),
        (np.clip(6 * VOICE, -0.1, 0.1), NOISE, r"voice: clipped, \d+\.\d\d% of its samples; accepted: at most 0.1%"),
        (np.where(np.arange(len(VOICE)) == 9, np.nan, VOICE), NOISE, r"voice: sample 9 is nan; accepted: finite"),
        (VOICE.astype(np.int16), NOISE, r"voice: dtype is int16; accepted: float32, float64"),
        (np.stack((VOICE, VOICE)), NOISE, r"voice: shape is \(2, \d+\); accepted: \(n,\)"),
        (VOICE, NOISE[: 4 * RATE], r"noise: 4\.0 s; accepted: at least 5 s"),
        (VOICE, np.zeros_like(NOISE), r"noise: silent, -inf dBFS; accepted: at least -90 dBFS"),
        (VOICE, np.clip(50 * NOISE, -0.5, 0.5), r"noise: clipped"),
        (VOICE, NOISE[:, None], r"noise: shape is"),
    ],
)
def test_recordings_that_are_refused(voice: np.ndarray, noise: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adapt(MODEL, voice, noise)


def test_recordings_lose_their_offset_and_what_is_too_long() -> None:
    assert abs(float(check_voice(VOICE + np.float32(0.1)).mean())) < 1e-4
    assert len(check_noise(fan(70))) == 60 * RATE


def test_mixes_have_their_snr_and_nothing_of_what_is_held_out() -> None:
    kept, held = split(VOICE)
    assert len(kept) % 480 == len(held) % 480 == 0 and np.array_equal(np.concatenate((kept, held)), VOICE)
    mixes = make_mixes(kept, NOISE[: 3 * RATE], (-3, 7))
    for (noisy, clean), snr_db in zip(mixes, (-3, 7), strict=True):
        active = clean[np.abs(clean) > 0]
        found = 10 * np.log10(np.mean(active**2) / np.mean((noisy - clean) ** 2))
        assert found == pytest.approx(snr_db, abs=1)
    first, second = ((noisy - clean) for noisy, clean in mixes)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.9, "the noise begins elsewhere"


def test_nothing_is_kept_that_is_not_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(adapting, "LOSS_RISE", -1)
    monkeypatch.setattr(adapting, "ANCHOR_FRAMES", adapting.ANCHOR_FRAMES[:1])
    with pytest.raises(NotBetter, match=r"the shipped model stays: the gain loss of other voices and rooms goes from"):
        adapt(MODEL, VOICE, NOISE)
    arguments = _files(tmp_path)
    assert main(arguments) == 1
    assert "the shipped model stays" in capsys.readouterr().err
    assert not (tmp_path / "mine.diff").exists()


def test_the_command(adapted: Adaptation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = _files(tmp_path)
    assert main([*arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    diff = (tmp_path / "mine.diff").read_bytes()
    assert facts["bytes"] == len(diff) and facts["si_sdr"][1] >= facts["si_sdr"][0]
    assert len(apply_diffs(weights_bytes(MODEL), [diff])) > 0
    assert main(arguments) == 1
    assert "mine.diff exists; --force overwrites it" in capsys.readouterr().err


def _files(folder: Path) -> list[str]:
    for name, samples in (("voice", VOICE), ("noise", NOISE[: 10 * RATE])):
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="FLOAT")
    places = (f"--{name}={folder / name}.wav" for name in ("voice", "noise"))
    return ["adapt", *places, "--model", MODEL, "-o", str(folder / "mine.diff")]


@pytest.mark.parametrize("name", stream_models())
def test_shipped_summaries_belong_to_their_models(name: str) -> None:
    data = shipped_summary(name)
    summary, model = read_summary(data), load_model(name)
    assert len(data) <= 250_000 and summary.base == hashlib.sha256(weights_bytes(name)).hexdigest()
    for head, own in summary.heads.items():
        assert own.projection.shape[0] == model.tensors[f"{head}.weight"].shape[1]
        assert own.logit.shape == own.target.shape == summary.heard.shape == (len(own.values), model.signal.num_bands)
        assert np.linalg.eigvalsh(own.gram).min() > -0.01, "rounded, and still a Gram matrix"
        assert np.diag(own.gram) == pytest.approx(1, abs=0.1), "directions of equal power"
    again = read_summary(write_summary(summary))
    for head in HEADS:
        for one, other in zip(again.heads[head], summary.heads[head], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_summaries_that_are_refused() -> None:
    data = shipped_summary(MODEL)
    for broken in (b"", data[:-1], data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], weights_bytes(MODEL)):
        with pytest.raises(ValueError, match="summary: accepted: a whole file"):
            read_summary(broken)
    with pytest.raises(ValueError, match="the summary is of model"):
        adapt("default", VOICE, NOISE, summary=data)
    with pytest.raises(ValueError, match="no summary ships with model"):
        shipped_summary("large")


@pytest.mark.parametrize("power", [GAMMA, 1.0])
@pytest.mark.parametrize("name", HEADS)
def test_slopes_are_those_of_the_error(name: str, power: float) -> None:
    """A small step of one logit changes the squared error as the slopes say."""
    rng = np.random.default_rng(3)
    logit, target = rng.normal(0, 2, (1, 1)), rng.uniform(size=(1, 1))

    def loss(z: np.ndarray) -> float:
        value = 1 / (1 + np.exp(-z))
        kept, wanted = (value, target) if name == "gain" else (1 - value, 1 - target)
        return float((((wanted + SMALL) ** power - (kept + SMALL) ** power) ** 2).sum())

    error, slope = slopes(name, logit, target, power)
    step = 1e-5
    found = (loss(logit + step) - loss(logit - step)) / (2 * step)
    assert found == pytest.approx(float((-2 * error * slope).item()), rel=1e-3)
    assert float((error**2).item()) == pytest.approx(loss(logit))


@pytest.mark.parametrize("name", HEADS)
def test_normal_equations_are_those_of_the_slopes(name: str) -> None:
    """In float32, which takes half the time of float64."""
    rng = np.random.default_rng(4)
    values, logit = (rng.normal(size=(400, n)).astype(np.float32) for n in (7, 3))
    target, heard = (rng.uniform(size=(400, 3)).astype(np.float32) for _ in range(2))
    system, right = normal_equations(name, Examples(values, logit, target, heard))
    parts = [(GAMMA, heard)] if name == "strength" else [(1.0, heard), (GAMMA, np.full_like(heard, ALIKE))]
    pairs = [(weight, *slopes(name, logit, target, power)) for power, weight in parts]
    curvature = sum(weight * slope**2 for weight, _, slope in pairs)
    pull = sum(weight * slope * error for weight, error, slope in pairs)
    assert system.dtype == right.dtype == np.float32
    np.testing.assert_allclose(system, np.einsum("nb,ni,nj->bij", curvature, values, values), atol=0.02)
    np.testing.assert_allclose(right, np.einsum("nb,ni->bi", pull, values), atol=0.02)


def test_examples_count_by_amplitude_and_tell_what_is_remembered_while_somebody_speaks() -> None:
    """A mix whose second half is noise alone: what is remembered is that of the first half."""
    model, summary = load_model(MODEL), read_summary(shipped_summary(MODEL))
    clean = np.concatenate((VOICE[: 2 * RATE], np.zeros(2 * RATE, np.float32)))
    mix = Mix(clean + NOISE[: 4 * RATE], clean)
    memories: list[np.ndarray] = []
    counted = mix_examples(model, summary, mix, slice(None), by_amplitude=True, memories=memories)
    alike = mix_examples(model, summary, mix, slice(None))
    assert np.all(alike["gain"].heard == 1)
    np.testing.assert_array_equal(alike["gain"].values, counted["gain"].values)
    heard = counted["gain"].heard
    assert heard.mean() == pytest.approx(1, rel=1e-3)
    assert heard[20:180].mean() > 1.5 * heard[220:].mean(), "speech is louder than the noise"
    np.testing.assert_allclose(counted["strength"].heard, heard * counted["gain"].target, rtol=1e-5)
    frames, _, _ = dsp.ideal(model.signal, *mix)
    memory = model.network.new_memory()
    level_db = 10 * np.log10(np.mean(clean.reshape(-1, 480) ** 2, 1) + 1e-12)
    spoken, quiet = [], []
    for end in range(MEMORY_FRAMES, len(level_db) + 1, MEMORY_FRAMES):
        head_inputs(model, frames.features[end - MEMORY_FRAMES : end], memory)
        found = any(np.array_equal(memory, other) for other in memories)
        (spoken if found else quiet).append(level_db[end - 1])
    assert len(spoken) == len(memories) >= 3
    assert min(spoken) > max(quiet) and min(spoken) > level_db.max() - 40


def test_a_share_of_the_changes_is_those_that_move_most() -> None:
    model, summary = load_model(MODEL), read_summary(shipped_summary(MODEL))
    head = summary.heads["gain"]
    change = np.random.default_rng(0).normal(0, 0.1, (head.values.shape[1], model.signal.num_bands))
    old = model.tensors["gain.weight"].astype(int)
    whole, part = (
        changed_head(model.tensors, "gain", head, change, share)["gain.weight"].astype(int) - old for share in (1, 0.3)
    )
    assert 0.2 < (part != 0).sum() / (whole != 0).sum() < 0.4
    moved = np.abs(whole) * model.tensors["gain.weight_scale"][:, None]
    inside = np.abs(old + whole) < 127  # at the edge less is left than what was wanted
    assert moved[inside & (whole != 0) & (part == 0)].max() <= moved[inside & (part != 0)].min() + 1e-6
    np.testing.assert_array_equal(part[part != 0], whole[part != 0])
