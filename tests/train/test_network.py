"""The torch network: its gradient, its int8 simulation against numpy, its training."""

import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyenhance import nn
from pyenhance.cli import main
from pyenhance.dsp import SignalSpec
from pyenhance.measure import QUARTIC, SMALL, gain_loss, strength_loss
from pyenhance.model import SHAPES, available_models, load_model, named_shape, with_backward_part, write_weights
from pyenhance.nn import KINDS, LayerSpec, NetworkSpec, choose
from pyenhance.train import export, fit
from pyenhance.train.dataset import ShardStream
from pyenhance.train.loss import HIGH_HZ, band_weights, percepnet_loss
from pyenhance.train.network import GRU, LAYERS, Conv, Network, load_int8

from ..conftest import PATIENCE_S, ROOT
from ..networks import assert_agree, every_layer, network_specs, random_features, small_spec, small_weights
from ..whole import whole_spec

SIGNAL = SignalSpec()
NUM_BANDS, NUM_FEATURES = SIGNAL.num_bands, SIGNAL.num_features


def test_the_loss_is_the_one_that_numpy_measures() -> None:
    torch.manual_seed(1)
    logits = [torch.randn(2, 9, NUM_BANDS, dtype=torch.float64) * 3 for _ in range(2)]
    target = {name: torch.rand(2, 9, NUM_BANDS, dtype=torch.float64) for name in ("gain", "strength")}
    target |= {"vad": torch.ones(2, 9), "band_mask": torch.ones(2, NUM_BANDS)}
    _, parts = percepnet_loss(*logits, torch.zeros(2, 9), target)
    gain, strength = (torch.sigmoid(logit).numpy() for logit in logits)
    wanted = {name: target[name].numpy() for name in ("gain", "strength")}
    assert gain_loss(gain, wanted["gain"]) == pytest.approx(float(parts["gain"]), rel=1e-4)
    found = strength_loss(strength, wanted["strength"], wanted["gain"])
    assert found == pytest.approx(float(parts["strength"]), rel=1e-4)


def test_recurrence_is_pytorchs_gru_with_its_gradient() -> None:
    torch.manual_seed(0)
    ours, reference = GRU(LayerSpec("y", "gru", ("x",), 7, "tanh"), 5), torch.nn.GRU(5, 7)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    with torch.no_grad():
        for name in names:
            getattr(ours, name).copy_(getattr(reference, f"{name}_l0"))
    x = torch.randn(11, 3, 5, requires_grad=True)
    weight = torch.randn(11, 3, 7)
    outputs, gradients = [], []
    for run in (lambda: ours(x, False), lambda: reference(x)[0]):
        x.grad = None
        y = run()
        (y * weight).sum().backward()
        outputs.append(y.detach())
        gradients.append(x.grad.clone())
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-5)
    for name in names:
        torch.testing.assert_close(
            getattr(ours, name).grad, getattr(reference, f"{name}_l0").grad, atol=1e-5, rtol=1e-4
        )


def _random_network(spec: NetworkSpec, seed: int) -> Network:
    """With biases and initial states, which a fresh network has at zero."""
    torch.manual_seed(seed)
    network = Network(spec)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, -0.2, 0.2)
    for name, buffer in network.named_buffers():
        if name in spec.initial:
            torch.nn.init.uniform_(buffer, -1, 1)
    network.quantise = True
    return network.eval()


@torch.no_grad()
def _simulated(network: Network, features: np.ndarray, full: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Outputs of all layers as numpy's network has them, shape (K, units)."""
    outputs = network.run(torch.from_numpy(features)[None], None if full is None else torch.from_numpy(full))
    found = {}
    for layer in network.spec.layers:
        x = outputs[layer.name][:, 0]
        if layer.activation in ("clamp", "tanh"):
            found[layer.name] = 127 * x.numpy()
            np.testing.assert_allclose(found[layer.name], np.rint(found[layer.name]), atol=1e-4)
            found[layer.name] = np.rint(found[layer.name])
        else:
            found[layer.name] = (torch.sigmoid(x) if layer.activation == "sigmoid" else x).numpy()
    return found


def test_every_kind_has_its_class() -> None:
    assert set(LAYERS) == set(KINDS)


@given(network_specs(), st.integers(0, 2**31))
@example(every_layer(), 1)
@example(whole_spec(SIGNAL), 1)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_list_of_layers_is_simulated_as_numpy_computes_it(spec: NetworkSpec, seed: int) -> None:
    """Random lists and weights: each layer within one step of int8, and nearly always the same."""
    network = _random_network(spec, seed)
    features = random_features(spec, np.random.default_rng(seed))
    numpy = nn.Network(spec, export.int8_tensors(network))
    expected, full = numpy(features, numpy.new_memory(), effort="auto"), choose(0, len(features), 0, "auto")
    assert_agree(spec, expected, _simulated(network, features, full), full)


@pytest.mark.parametrize("kind", ["gru", "conv"])
def test_lean_frames_go_on_from_the_last_full_one(kind: str) -> None:
    """By their definition, written out frame by frame; their gradient reaches all matrices and what was before."""
    torch.manual_seed(0)
    if kind == "gru":
        layer = GRU(LayerSpec("y", "gru", ("x",), 7, "tanh", lean=3), 5)
        torch.nn.init.uniform_(layer.bias_ih, -0.2, 0.2)
        torch.nn.init.uniform_(layer.bias_hh, -0.2, 0.2)
    else:
        layer = Conv(LayerSpec("y", "conv", ("x",), 7, "tanh", frames=3, lean=3), 5)
    x = torch.randn(11, 2, 5, requires_grad=True)
    full = torch.tensor([True, False, False, True, True, False, True, False, False, False, True])
    found, h, past = [], torch.zeros(2, 7), [torch.zeros(2, 5), torch.zeros(2, 5)]
    for heard, whole in zip(x, full.tolist(), strict=True):
        past = [*past[-2:], heard]
        seen = torch.cat((heard, h) if kind == "gru" else past, 1)
        if whole:
            if kind == "gru":
                of_x, of_h = heard @ layer.weight_ih.T + layer.bias_ih, h @ layer.weight_hh.T + layer.bias_hh
                sums = torch.cat((of_x[:, :14] + of_h[:, :14], of_x[:, 14:], of_h[:, 14:]), 1)
            else:
                sums = seen @ layer.weight.T + layer.bias
            last, kept = seen, sums
        else:
            short = ((seen - last).clamp(-1, 1) @ layer.lean_in.T).clamp(-1, 1)
            sums = kept + short @ layer.lean_out.T
        if kind == "gru":
            r, z, n_input, n_state = sums.split(7, 1)
            n = torch.tanh(n_input + torch.sigmoid(r) * n_state)
            h = n + torch.sigmoid(z) * (h - n)
        else:
            h = torch.tanh(sums)
        found.append(h)
    weight = torch.randn(11, 2, 7)
    both = []
    for y in (layer(x, False, full), torch.stack(found)):
        both.append((y.detach(), *torch.autograd.grad((y * weight).sum(), (x, *layer.parameters()))))
    for own, reference in zip(*both, strict=True):
        assert reference.abs().max() > 0.01
        torch.testing.assert_close(own, reference, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(layer(x, False), layer(x, False, full), atol=1e-3)


@given(network_specs(), st.integers(0, 2**31), st.lists(st.booleans(), min_size=8, max_size=24))
@example(every_layer(), 1, [True, False, False, True, False, True, True, False])
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_sequence_of_choices_is_simulated_as_numpy_computes_it(
    spec: NetworkSpec, seed: int, choices: list[bool]
) -> None:
    network = _random_network(spec, seed)
    features = random_features(spec, np.random.default_rng(seed), len(choices))
    numpy = nn.Network(spec, export.int8_tensors(network))
    memory, frames = numpy.new_memory(), []
    for frame, full in zip(features, choices, strict=True):
        if full and spec.has_lean:
            memory[spec.turn] = 0
        frames.append(numpy(frame[None], memory, effort="lean"))
    expected = {name: np.concatenate([frame[name] for frame in frames]) for name in numpy.layers}
    chosen = np.array([True, *choices[1:]])
    assert_agree(spec, expected, _simulated(network, features, np.array(choices)), chosen)


def test_full_frames_among_lean_ones_take_the_trainers_way_where_all_are_full() -> None:
    """All full frames, said or not said, are one and the same; and the first is full whatever is said of it."""
    network = _random_network(small_spec(SIGNAL, lean=True), 3)
    features = torch.from_numpy(random_features(network.spec, np.random.default_rng(3), 9))[None]
    with torch.no_grad():
        full, said = (network.run(features, chosen) for chosen in (None, torch.ones(9, dtype=torch.bool)))
        lean = network.run(features, torch.zeros(9, dtype=torch.bool))
    for name, x in full.items():
        assert torch.equal(x, said[name]) and torch.allclose(x[0], lean[name][0], atol=0.01)
    assert not torch.equal(full["gain"], lean["gain"])


@pytest.mark.parametrize("name", SHAPES)
def test_simulated_int8_is_what_numpy_computes(name: str, tmp_path: Path) -> None:
    """Random weights of every named shape, exported, loaded and run: each layer within one step of int8."""
    network = _random_network(named_shape(name, SIGNAL), 1)
    golden = export.golden_vectors(network)
    path = tmp_path / "random.safetensors"
    path.write_bytes(export.weights_bytes(SIGNAL, network, {"training_commit": "none", "training_data": "none"}))
    model = load_model(path)
    assert model.signal == SIGNAL and model.network.spec == network.spec
    gain, strength, vad = model.estimate(golden["features"], model.network.new_memory())
    for found, expected in ((gain, golden["gain"]), (strength, golden["strength"]), (vad, golden["vad"])):
        assert np.std(expected) > 1e-3
        assert np.mean(np.abs(found - expected)) < 0.004


@pytest.mark.parametrize("name", available_models())
def test_a_model_goes_to_torch_and_back(name: str) -> None:
    """Its simulated int8 is what the model computes, and exported again it has the same integers."""
    model = load_model(name)
    network = load_int8(model)
    network.quantise = True
    golden = export.golden_vectors(network)
    trace: dict[str, np.ndarray] = {}
    gain, strength, vad = model.estimate(golden["features"], model.network.new_memory(), trace)
    for found, expected in ((gain, golden["gain"]), (strength, golden["strength"]), (vad, golden["vad"])):
        assert np.mean(np.abs(found - expected)) < 0.002 and np.std(expected) > 0.01
    assert_agree(model.network.spec, trace, _simulated(network, golden["features"]))
    for key, tensor in export.int8_tensors(network).items():
        if tensor.dtype == np.int8 or not key.endswith("_scale"):
            np.testing.assert_array_equal(tensor, model.tensors[key])
        else:
            np.testing.assert_allclose(tensor, model.tensors[key], rtol=1e-6)


def test_rows_that_do_not_use_all_of_int8_go_to_torch_and_back_within_a_step() -> None:
    """As a diff or an average of models may have them: the values stay, on a finer grid."""
    model = load_model(small_weights(SIGNAL))
    tensors = dict(model.tensors)
    tensors["gru1.weight_hh"] = tensors["gru1.weight_hh"] // 3
    model = load_model(write_weights(SIGNAL, model.network.spec, tensors))
    again = export.int8_tensors(load_int8(model))
    for name in ("gru1.weight_hh", "gru1.weight_ih"):
        value = model.tensors[name] * model.tensors[f"{name}_scale"][:, None]
        back = again[name] * again[f"{name}_scale"][:, None]
        assert (np.abs(back - value) <= again[f"{name}_scale"][:, None] / 2 + 1e-7).all()


def _batch(frames: int = 30) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    gain = rng.random((4, frames, NUM_BANDS)).astype(np.float32)
    features = np.concatenate((gain, gain, gain[..., :2]), -1)[..., :NUM_FEATURES]
    return {
        "features": features.astype(np.float16),
        "gain": np.rint(gain * 255).astype(np.uint8),
        "strength": np.rint(gain * 255).astype(np.uint8),
        "vad": (gain.mean(-1) > 0.5).astype(np.uint8),
        "band_mask": np.ones((4, NUM_BANDS), np.uint8),
    }


def test_loss_is_zero_for_the_target_and_ignores_masked_bands() -> None:
    gain = torch.rand(2, 5, NUM_BANDS) * 0.98 + 0.01
    mask = torch.ones(2, NUM_BANDS)
    mask[:, 20:] = 0
    target = {"gain": gain, "strength": gain.flip(0), "vad": torch.ones(2, 5), "band_mask": mask}
    logits = torch.logit(gain)
    far = torch.where(mask[:, None] > 0, logits, logits + 5)
    loss, parts = percepnet_loss(far, torch.logit(gain.flip(0)), torch.full((2, 5), 20.0), target)
    assert loss < 1e-6 and parts["gain"] < 1e-6
    near, wrong = (percepnet_loss(logits + shift, logits, torch.zeros(2, 5), target)[0] for shift in (0.1, 1.0))
    assert near < wrong


def _answers(shift: float, bands: int = 2) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Logits of gains whose square root is off by `shift` from the target's, 0.5; strengths and speech are right."""
    shape = (1, 3, bands)
    target = {"gain": torch.full(shape, 0.25), "strength": torch.full(shape, 0.5), "vad": torch.ones(1, 3)}
    target["band_mask"] = torch.ones(1, bands)
    gain = ((0.25 + SMALL) ** 0.5 + shift) ** 2 - SMALL
    return [torch.logit(torch.full(shape, gain)), torch.zeros(shape), torch.full((1, 3), 20.0)], target


def test_over_suppressed_speech_costs_more_by_hand() -> None:
    """w_u max(sqrt(g_target) - sqrt(g), 0)^2, weighted by the target's gain and voice activity."""
    logits, target = _answers(-0.2)
    plain, with_term = (percepnet_loss(*logits, target, under=under) for under in (0.0, 3.0))
    heard = 0.25 * 6
    assert with_term[1]["under"] == pytest.approx(0.2**2 * heard / (heard + 1), rel=1e-4)
    assert float(with_term[0] - plain[0]) == pytest.approx(3 * float(with_term[1]["under"]), rel=1e-3)
    assert with_term[1]["gain"] == plain[1]["gain"] and "under" not in plain[1]
    too_high, _ = _answers(0.2)
    silent = target | {"vad": torch.zeros(1, 3)}
    assert percepnet_loss(*too_high, target, under=3.0)[1]["under"] == 0
    assert percepnet_loss(*logits, silent, under=3.0)[1]["under"] == 0


def test_high_bands_count_as_much_as_they_are_given() -> None:
    """The mean over bands with weights: an error in a band of weight 1/4, beside one of weight 1, counts a fifth."""
    weights = band_weights(np.array([HIGH_HZ, HIGH_HZ + 1]), 0.25)
    assert weights.tolist() == [1, 0.25]
    logits, target = _answers(0.0)
    wrong, _ = _answers(0.2)
    error = 0.2**2 + QUARTIC * 0.2**4
    for band, share in ((0, 0.8), (1, 0.2)):
        given = logits[0].clone()
        given[..., band] = wrong[0][..., band]
        found = percepnet_loss(given, *logits[1:], target, over=1.0, band_weight=weights)[1]["gain"]
        assert found == pytest.approx(share * error, rel=1e-3)
        assert percepnet_loss(given, *logits[1:], target, over=1.0)[1]["gain"] == pytest.approx(error / 2, rel=1e-3)


def test_loss_at_the_ends_has_a_finite_gradient() -> None:
    logits = torch.full((1, 3, NUM_BANDS), -60.0, requires_grad=True)
    zeros = torch.zeros(1, 3, NUM_BANDS)
    target = {"gain": zeros, "strength": zeros + 1, "vad": torch.zeros(1, 3), "band_mask": torch.ones(1, NUM_BANDS)}
    percepnet_loss(logits, logits, torch.zeros(1, 3), target)[0].backward()
    assert torch.isfinite(logits.grad).all()


def _fit(folder: Path, out: str, minutes: float, capsys: pytest.CaptureFixture) -> str:
    arguments = ["--shards", str(folder), "--out", str(folder / out), "--shape", "tiny", "--minutes", str(minutes)]
    arguments += ["--batch", "4", "--frames", "20", "--rate", "5e-3", "--warm-up", "1", "--dtype", "float32"]
    assert main(["train", "fit", *arguments, "--log", str(folder / "log")]) == 0
    return capsys.readouterr().err


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training's time goes by the question, not by the clock: as many steps on any machine."""
    ticks = itertools.count()
    monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=lambda: 0.03 * next(ticks)))


def test_training_learns_saves_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, clock: None
) -> None:
    monkeypatch.setattr(fit, "SYNC_STEPS", 2)  # it reports the more often
    np.savez(tmp_path / "shard-00000.npz", **_batch())
    text = _fit(tmp_path, "run.pt", 0.1, capsys)
    losses = [float(line.split("loss ")[1].split()[0]) for line in text.splitlines() if line.startswith("step")]
    assert len(losses) >= 2 and losses[-1] < 0.9 * losses[0], text
    steps = torch.load(tmp_path / "run.pt", weights_only=True)["step"]
    assert f"resumed at step {steps}" in _fit(tmp_path, "run.pt", 0.15, capsys)
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    assert saved["step"] > steps and saved["progress"] >= 1
    assert any(path.stat().st_size > 200 for path in (tmp_path / "log").iterdir())
    signal, network = fit.averaged_network(tmp_path / "run.pt")
    assert (
        signal == SIGNAL and network.quantise and all(p.abs().max() <= 1 for p in network.parameters() if p.ndim == 2)
    )

    export.main([str(tmp_path / "run.pt"), "-o", str(tmp_path / "m.safetensors"), "--golden", str(tmp_path / "g.npz")])
    assert load_model(tmp_path / "m.safetensors").weights == named_shape("tiny", SIGNAL).weights
    with np.load(tmp_path / "g.npz") as golden:
        assert golden["gain"].shape == (export.GOLDEN_FRAMES, NUM_BANDS)


def test_command_line_tells_its_steps(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "--help"]) == 0
    assert "dataset" in capsys.readouterr().out
    assert main(["train"]) == 2
    assert main(["train", "nothing"]) == 2
    assert "'nothing'; accepted: corpus, dataset, fit, export, initial, diff" in capsys.readouterr().err


def test_processes_train_together(tmp_path: Path) -> None:
    for index in range(2):
        np.savez(tmp_path / f"shard-{index:05d}.npz", **_batch())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [
        "-m",
        "--",
        "pyenhance.train.fit",
        "--shards",
        tmp_path,
        "--out",
        tmp_path / "run.pt",
        "--start",
        "tiny",
    ]
    command += ["--minutes", "0.05", "--batch", "2", "--frames", "20", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    assert saved["step"] > 0 and saved["step"] % fit.SYNC_STEPS == 0 and saved["progress"] >= 1


def test_another_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture, clock: None) -> None:
    np.savez(tmp_path / "shard-00000.npz", **_batch())
    _fit(tmp_path, "run.pt", 0.01, capsys)
    with pytest.raises(ValueError, match=r"holds layers .*; this run has"):
        fit.main(["--shards", str(tmp_path), "--out", str(tmp_path / "run.pt"), "--minutes", "0.01"])


def _shard(folder: Path, signal: SignalSpec) -> None:
    rng = np.random.default_rng(0)
    gain = rng.random((4, 30, signal.num_bands)).astype(np.float32)
    shard = {"features": rng.normal(size=(4, 30, signal.num_features)).astype(np.float16)}
    shard |= {name: np.rint(gain * 255).astype(np.uint8) for name in ("gain", "strength")}
    shard |= {"vad": np.ones((4, 30), np.uint8), "band_mask": np.ones((4, signal.num_bands), np.uint8)}
    np.savez(folder / "shard-00000.npz", **shard)
    (folder / "signal.json").write_text(signal.to_json())


def test_a_model_goes_on_with_another_look_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to a low-delay model: a model's weights, shards of another look-ahead, a file that says so."""
    signal = SignalSpec(lookahead_frames=0)
    monkeypatch.setattr(fit, "SYNC_STEPS", 2)
    _shard(tmp_path, signal)
    arguments = ["--shards", str(tmp_path), "--out", str(tmp_path / "run.pt"), "--start", "tiny", "--batch", "2"]
    fit.main([*arguments, "--minutes", "0.01", "--rate", "1e-5", "--dtype", "float32", "--threads", "1"])
    export.main([str(tmp_path / "run.pt"), "-o", str(tmp_path / "m.safetensors")])
    model, start = load_model(tmp_path / "m.safetensors"), load_model("tiny")
    assert model.signal == signal and model.network.spec == start.network.spec
    for name in ("gru1.weight_hh", "gain.weight"):  # not from scratch
        assert np.abs(model.tensors[name].astype(int) - start.tensors[name]).mean() < 3


def test_a_start_that_does_not_fit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _shard(tmp_path, SignalSpec(24))
    arguments = ["--shards", str(tmp_path), "--out", str(tmp_path / "run.pt"), "--minutes", "0.01"]
    for start, message in (("tiny", "model 'tiny' has 34 bands; the shards have 24"), ("no-such", "'no-such'")):
        with pytest.raises(SystemExit):
            fit.main([*arguments, "--start", start])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "run.pt").exists()


def test_a_start_may_learn_fine_bins(tmp_path: Path) -> None:
    """It computes what it did, whatever they are; a model that has them is no start for shards without."""
    signal = SignalSpec(fine_bins=32)
    network = fit.starting_network(signal, "", "tiny", 0)
    assert network.spec.inputs == signal.num_features
    features = torch.from_numpy(np.random.default_rng(0).uniform(-2, 2, (1, 9, signal.num_features)).astype(np.float32))
    start = fit.starting_network(SignalSpec(), "", "tiny", 0)
    for found, expected in zip(network(features), start(features[..., :-32]), strict=True):
        torch.testing.assert_close(found, expected)
    fine = tmp_path / "fine.safetensors"
    fine.write_bytes(export.weights_bytes(signal, network, {}))
    assert fit.starting_network(signal, "", str(fine), 0).spec == network.spec
    with pytest.raises(ValueError, match=r"fine\.safetensors' has 32 fine bins; the shards have 0"):
        fit.starting_network(SignalSpec(), "", str(fine), 0)


@pytest.mark.parametrize("signal", [SignalSpec(24, 1), SignalSpec(24, 1, 32)])
def test_steps_without_a_clock(tmp_path: Path, signal: SignalSpec) -> None:
    """`Trainer` takes a network, a stream and options: no command line."""
    _shard(tmp_path, signal)
    torch.manual_seed(0)
    stream = ShardStream(tmp_path, 4)
    layers = (LayerSpec("x", "dense", ("features",), 16, "clamp"), LayerSpec("h", "gru", ("x",), 16, "tanh"))
    heads = (("gain", 24), ("strength", 24), ("vad", 1))
    layers += tuple(LayerSpec(name, "dense", ("h",), units, "sigmoid") for name, units in heads)
    network = Network(NetworkSpec(signal.num_features, layers))
    trainer = fit.Trainer(network, stream, fit.TrainOptions(rate=1e-2, warm_up=1, quantise_from=0.5))
    losses = []
    for batch in stream:
        trainer.progress = trainer.step / 30
        losses.append(trainer.train_step(batch)["loss"])
        if trainer.step == 30:
            break
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5]) and network.quantise
    model = load_model(export.weights_bytes(signal, network, {}))
    assert model.signal == signal and list(model.network.layers) == ["x", "h", "gain", "strength", "vad"]


# A part that goes backward


def test_heads_ignore_a_new_backward_part_and_go_on_from_where_they_were() -> None:
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 30, SIGNAL.num_features)).astype(np.float32))
    tiny = load_int8(load_model("tiny"))
    wider = fit.starting_network(SIGNAL, "default", "tiny", 0, 24)
    assert wider.spec.whole_recordings and not tiny.spec.whole_recordings
    assert [layer.units for layer in wider.spec.layers if layer.name in ("back", "both")] == [24, 24]
    with torch.no_grad():
        for found, expected in zip(wider(features), tiny(features), strict=True):
            torch.testing.assert_close(found, expected)
        wider.gain.weight += 0.01  # no longer ignored: the last frame changes the one before
        before = wider(features)[0][:, -2]
        features[:, -1] += 1
        assert (wider(features)[0][:, -2] - before).abs().max() > 1e-5
    assert fit.starting_network(SIGNAL, "tiny", None, 0, 24).spec == wider.spec  # a fresh one
    with pytest.raises(ValueError, match="accepted: those of percepnet"):
        with_backward_part(wider.spec, 24)
    with pytest.raises(ValueError, match="accepted: those of percepnet"):
        with_backward_part(named_shape("banded", SIGNAL), 24)


def test_a_training_begins_without_lean_frames(tmp_path: Path) -> None:
    path = tmp_path / "lean.safetensors"
    path.write_bytes(small_weights(SIGNAL, lean=True))
    model = load_model(str(path))
    assert model.network.spec.has_lean
    network = fit.starting_network(SIGNAL, "default", str(path), 0)
    assert network.spec == model.network.spec.with_lean({})
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 30, SIGNAL.num_features)).astype(np.float32))
    with torch.no_grad():
        for found, expected in zip(network(features), load_int8(model)(features), strict=True):
            torch.testing.assert_close(found, expected)


def test_weights_between_where_a_training_began_and_where_it_ended() -> None:
    start = load_model("tiny")
    begun, ended = load_int8(start).state_dict(), fit.starting_network(SIGNAL, "default", "tiny", 0, 24)
    with torch.no_grad():
        for parameter in ended.parameters():
            parameter += 0.5
    new = {name: value.clone() for name, value in ended.state_dict().items()}
    mixed = export.between(start, ended, 0.25).state_dict()
    torch.testing.assert_close(mixed["gru1.weight_hh"], begun["gru1.weight_hh"] + 0.125)
    torch.testing.assert_close(mixed["back.weight_hh"], new["back.weight_hh"])
    seen = begun["gain.weight"].shape[1]
    torch.testing.assert_close(mixed["gain.weight"][:, :seen], begun["gain.weight"] + 0.125)
    assert (mixed["gain.weight"][:, seen:] == 0.125).all()
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="accepted: above 0, at most 1"):
            export.between(start, ended, share)
