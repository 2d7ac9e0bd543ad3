"""The torch network: its gradient, its int8 simulation against numpy, its training."""

import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pyenhance.cli import main
from pyenhance.dsp import SignalSpec
from pyenhance.model import SHAPES, load_model, named_shape
from pyenhance.nn import LayerSpec
from pyenhance.train import export, fit
from pyenhance.train.loss import percepnet_loss
from pyenhance.train.network import GRU, Network, load_int8

from ..conftest import PATIENCE_S, ROOT

SIGNAL = SignalSpec()
BANDS = SIGNAL.num_bands


def test_recurrence_is_pytorchs_gru_with_its_gradient() -> None:
    torch.manual_seed(0)
    ours, reference = GRU(LayerSpec("gru", "gru", ("x",), 7, "tanh"), 5), torch.nn.GRU(5, 7)
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


@pytest.mark.parametrize("name", SHAPES)
def test_simulated_int8_is_what_numpy_computes(name: str, tmp_path: Path) -> None:
    """Random weights of every shape, exported, loaded and run: each layer within one step of int8."""
    torch.manual_seed(1)
    network = Network(named_shape(name, SIGNAL))
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, -0.2, 0.2)
    golden = export.golden_vectors(network)
    path = tmp_path / "random.safetensors"
    path.write_bytes(export.weights_bytes(SIGNAL, network, {"training_commit": "none", "training_data": "none"}))
    model = load_model(path)
    gain, strength, vad = model.estimate(golden["features"], model.network.new_memory())
    for found, expected in ((gain, golden["gain"]), (strength, golden["strength"]), (vad, golden["vad"])):
        assert np.std(expected) > 1e-3
        assert np.mean(np.abs(found - expected)) < 0.004


def test_fine_tuning_begins_where_a_model_is() -> None:
    """The torch network of a shipped model has its very integers."""
    model = load_model("tiny")
    tensors = export.int8_tensors(load_int8(model))
    assert tensors.keys() == model.tensors.keys()
    for name, tensor in tensors.items():
        if tensor.dtype == np.int8:
            np.testing.assert_array_equal(tensor, model.tensors[name], name)
        else:
            np.testing.assert_allclose(tensor, model.tensors[name], rtol=1e-6, err_msg=name)


def _batch(frames: int = 30) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    gain = rng.random((4, frames, BANDS)).astype(np.float32)
    features = np.concatenate((gain, gain, gain[..., :2]), -1)[..., : SIGNAL.num_features]
    return {
        "features": features.astype(np.float16),
        "gain": np.rint(gain * 255).astype(np.uint8),
        "strength": np.rint(gain * 255).astype(np.uint8),
        "vad": (gain.mean(-1) > 0.5).astype(np.uint8),
        "band_mask": np.ones((4, BANDS), np.uint8),
    }


def test_loss_is_zero_for_the_target_and_ignores_masked_bands() -> None:
    gain = torch.rand(2, 5, BANDS) * 0.98 + 0.01
    mask = torch.ones(2, BANDS)
    mask[:, 20:] = 0
    target = {"gain": gain, "strength": gain.flip(0), "vad": torch.ones(2, 5), "band_mask": mask}
    logits = torch.logit(gain)
    far = torch.where(mask[:, None] > 0, logits, logits + 5)
    loss, parts = percepnet_loss(far, torch.logit(gain.flip(0)), torch.full((2, 5), 20.0), target)
    assert loss < 1e-6 and parts["gain"] < 1e-6
    near, wrong = (percepnet_loss(logits + shift, logits, torch.zeros(2, 5), target)[0] for shift in (0.1, 1.0))
    assert near < wrong


def test_loss_at_the_ends_has_a_finite_gradient() -> None:
    logits = torch.full((1, 3, BANDS), -60.0, requires_grad=True)
    zeros = torch.zeros(1, 3, BANDS)
    target = {"gain": zeros, "strength": zeros + 1, "vad": torch.zeros(1, 3), "band_mask": torch.ones(1, BANDS)}
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
    assert load_model(tmp_path / "m.safetensors").network.spec == named_shape("tiny", SIGNAL)
    with np.load(tmp_path / "g.npz") as golden:
        assert golden["gain"].shape == (export.GOLDEN_FRAMES, BANDS)


def test_command_line_tells_its_steps(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "--help"]) == 0
    assert "dataset" in capsys.readouterr().out
    assert main(["train"]) == 2
    assert main(["train", "nothing"]) == 2
    assert "'nothing'; accepted: debian, dataset, fit, export" in capsys.readouterr().err


def test_processes_train_together(tmp_path: Path) -> None:
    for index in range(2):
        np.savez(tmp_path / f"shard-{index:05d}.npz", **_batch())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "pyenhance.train.fit", "--shards", tmp_path, "--out", tmp_path / "run.pt", "--shape", "tiny"]
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
