"""Lean frames found in closed form and refined, and the table of what they are worth."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pyenhance import Enhancer, load_model
from pyenhance.dsp import SignalSpec
from pyenhance.model import Model
from pyenhance.nn import FULL_EVERY, quantize_weight
from pyenhance.train import amortize, devices, refine
from pyenhance.train.dataset import all_sequences
from pyenhance.train.network import answers, load_int8

from ..conftest import noisy_voice
from ..networks import small_weights
from .shards import make_shard

SIGNAL = SignalSpec(8)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return make_shard(tmp_path / "shards", SIGNAL, sequences=6, frames=60)


@pytest.fixture
def wide_shards(tmp_path: Path) -> Path:
    return make_shard(tmp_path / "wide", SignalSpec(), sequences=6, frames=60)


def _features(shards: Path) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([batch["features"] for batch in all_sequences(shards, 1)]))


def _distance(model: Model, features: torch.Tensor) -> float:
    """Of the gains by turns from those at full effort."""
    network = load_int8(model)
    network.quantise = True
    full = torch.arange(features.shape[1]) % FULL_EVERY == 0
    with torch.no_grad():
        gains = [torch.sigmoid(answers(network.run(features, which))[0]).sqrt() for which in (None, full)]
    return float(((gains[0] - gains[1]) ** 2).mean())


def _made(tmp_path: Path, shards: Path, share: float) -> Model:
    """`tiny` with lean frames."""
    out = tmp_path / f"lean{share}.safetensors"
    amortize.main(["tiny", "--shards", str(shards), "--share", str(share), "-o", str(out)])
    return load_model(out.read_bytes())


def test_more_rank_is_nearer_and_full_frames_stay_as_they_are(tmp_path: Path, wide_shards: Path) -> None:
    plain, models = load_model("tiny"), [_made(tmp_path, wide_shards, share) for share in (0.1, 0.6)]
    for model in models:
        spec = model.network.spec
        assert spec.has_lean and spec.with_lean({}) == plain.network.spec
        for name, value in plain.tensors.items():
            np.testing.assert_array_equal(model.tensors[name], value, name)
    few, many = (_distance(model, _features(wide_shards)) for model in models)
    assert 0 < many < few / 2


def test_the_product_does_less_harm_than_one_by_chance(tmp_path: Path, wide_shards: Path) -> None:
    model = _made(tmp_path, wide_shards, 0.5)
    drawn = torch.Generator().manual_seed(0)
    widths = {layer.name: model.network.spec.lean_widths(layer) for layer in model.network.spec.layers if layer.lean}
    chance = {
        layer.name: amortize.Factors(
            0.1 * torch.randn(layer.lean, widths[layer.name][0], generator=drawn),
            0.1 * torch.randn(widths[layer.name][1], layer.lean, generator=drawn),
        )
        for layer in model.network.spec.layers
        if layer.lean
    }
    other = load_model(amortize.with_lean_frames(model, chance))
    features = _features(wide_shards)
    assert _distance(model, features) < _distance(other, features) / 2


def test_rounding_makes_good_what_it_does() -> None:
    drawn = torch.Generator().manual_seed(0)
    mixed = torch.randn(60, 60, generator=drawn) * torch.logspace(0, -1.5, 60)[:, None]
    change, matrix = mixed.T @ mixed, torch.randn(12, 60, generator=drawn)
    for levels in (3, 7):
        whole = amortize.rounded(matrix, change, levels)
        steps, scale = quantize_weight(whole.numpy(), levels)
        torch.testing.assert_close(torch.from_numpy(steps * scale[:, None]), whole)
        steps, scale = quantize_weight(matrix.numpy(), levels)
        nearest = torch.from_numpy(steps * scale[:, None])
        harm = [float(((other - matrix) @ change * (other - matrix)).sum()) for other in (whole, nearest)]
        assert 0 < harm[0] < harm[1] / 2


def test_a_layer_that_would_hardly_be_leaner_is_full_in_every_frame() -> None:
    offers = {
        "worth": [amortize._Offer(9.0, 4, 30), amortize._Offer(8.0, 4, 30), amortize._Offer(7.0, 4, 30)],
        "other": [amortize._Offer(1.0, 4, 30), amortize._Offer(0.5, 4, 30), amortize._Offer(0.1, 4, 30)],
    }
    whole = {"worth": 100, "other": 200}
    assert amortize._ranks(offers, whole, 0.2) == {"worth": 8, "other": 4}
    assert amortize._ranks(offers, whole, 0.5) == {"other": 4}
    assert amortize._ranks(offers, whole, 0.6) == {"other": 8}


def test_refining_moves_lean_frames_alone_and_brings_them_nearer(tmp_path: Path, wide_shards: Path) -> None:
    model = _made(tmp_path, wide_shards, 0.1)
    refiner = refine.Refiner(model, [*_features(wide_shards).numpy()], rate=5e-3)  # from the middle of a step
    parts = [refiner.step(k / 40) for k in range(40)]
    assert all(np.isfinite(list(part.values())).all() for part in parts)
    finer = load_model(amortize.with_lean_frames(model, refiner.factors()))
    for name, value in model.tensors.items():
        assert (finer.tensors[name] == value).all() == ("lean" not in name), name
    features = _features(wide_shards)
    assert _distance(finer, features) < 0.9 * _distance(model, features)


def test_refine_is_a_command(tmp_path: Path, wide_shards: Path) -> None:
    model, out = _made(tmp_path, wide_shards, 0.3), tmp_path / "finer.safetensors"
    options = ["--shards", str(wide_shards), "--minutes", "0.01", "-o", str(out)]
    refine.main([str(tmp_path / "lean0.3.safetensors"), *options])
    assert load_model(out.read_bytes()).network.spec == model.network.spec
    with pytest.raises(SystemExit):
        refine.main(["tiny", *options])


def test_devices_make_hops_wait() -> None:
    full = np.ones((4, 1), bool)
    nothing = np.zeros((4, 1))
    np.testing.assert_allclose(devices.waits(full, 0.4, 0.5, nothing).ravel(), [0, 1, 2, 3])
    np.testing.assert_allclose(devices.waits(~full, 0.4, 0.5, nothing).ravel(), 0)
    np.testing.assert_allclose(devices.waits(full, 0.4, 0.5, nothing, give_way=True).ravel(), [0, 1, 0.8, 1.8])
    stall = np.array([[3.0], [0], [0], [0]])
    np.testing.assert_allclose(devices.waits(full, 0.4, 2, stall).ravel(), [0, 2.5, 2, 1.5])
    # By turns full, lean, lean; while a hop waits, lean.
    np.testing.assert_allclose(devices.waits_by_turns(0.4, 0.5, np.zeros((5, 1))).ravel(), [0, 1, 0.8, 0.6, 1.6])
    drawn = devices.drawn_stalls(1000, 20)
    stalled = drawn[drawn > 0]
    assert 10 < len(stalled) < 90 and 5 <= stalled.min() and stalled.max() <= 40


def test_policies_are_heard_as_the_engine_would_have_them(tmp_path: Path) -> None:
    model = load_model(small_weights(SignalSpec(), lean=True))
    noisy = noisy_voice(0.5)
    turns = devices.Policy("turns")
    out, full, voice = devices.enhanced(turns, model, noisy)
    assert full.tolist() == [k % FULL_EVERY == 0 for k in range(len(full))] and len(voice) == len(full)
    enhancer = Enhancer(model, effort="auto")
    own = enhancer.process(np.concatenate((noisy, np.zeros(4800, np.float32))))[enhancer.latency_samples :]
    np.testing.assert_allclose(out[: len(noisy) - 480], own[: len(noisy) - 480], atol=1e-5)
    whole, chosen, _ = devices.enhanced(devices.Policy("full", lambda k, voice: True), model, noisy)
    assert chosen.all() and (whole != out).any()


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lean.safetensors").write_bytes(small_weights(SignalSpec(), lean=True))
    for side, sound in (("clean", noisy_voice(1.5)), ("noisy", noisy_voice(1.5)[::-1])):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        soundfile.write(tmp_path / "pairs" / side / "a.wav", sound, 48_000)
    model, pairs = str(tmp_path / "lean.safetensors"), str(tmp_path / "pairs")
    amortize.main(["--report", model, "--pairs", pairs, "--every", "1"])
    lines = capsys.readouterr().out.splitlines()
    names = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert names[2] == "full alone" and names.count("turns") >= 1 and any("while a hop waits" in name for name in names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["MODEL", "--shards", "SHARDS", "-o", "OUT", "--share", "1.5"], "--share is 1.5"),
        (["MODEL"], "are needed"),
        (["--report", "MODEL"], "--report needs --pairs"),
        (["--report", "MODEL", "--pairs", "SHARDS"], "has no lean frames"),
        (["default", "--shards", "SHARDS", "-o", "OUT"], "holds shards of"),
    ],
)
def test_bad_input(
    options: list[str], message: str, tmp_path: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.safetensors").write_bytes(small_weights(SIGNAL))
    names = {"MODEL": tmp_path / "small.safetensors", "SHARDS": shards, "OUT": tmp_path / "out.safetensors"}
    with pytest.raises(SystemExit):
        amortize.main([str(names.get(option, option)) for option in options])
    assert message in capsys.readouterr().err and not (tmp_path / "out.safetensors").exists()
