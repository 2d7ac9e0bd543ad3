"""Gradients by sequence, clipped and noised."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyenhance.dsp import SignalSpec
from pyenhance.model import load_model, percepnet
from pyenhance.nn import NetworkSpec
from pyenhance.train import export, fit
from pyenhance.train.dataset import PoissonStream
from pyenhance.train.network import Network
from pyenhance.train.private import per_example_gradients, per_example_losses, set_private_gradients

from ..networks import WIDTHS, every_layer, network_specs
from .shards import make_shard

BATCH, FRAMES = 3, 7


def _everything(network: Network, features: torch.Tensor) -> torch.Tensor:
    """A loss that every layer's output has a part in, of each sequence."""
    outputs = network.run(features)
    return sum((outputs[layer.name] ** 2 * (1 + i)).mean((0, 2)) for i, layer in enumerate(network.spec.layers))


class Every(Network):
    """A network whose answer is that loss: random lists of layers have no heads."""

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor]:
        return (_everything(self, features),)


@given(network_specs(), st.booleans(), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_against_autograd_one_by_one(spec: NetworkSpec, quantise: bool, seed: int) -> None:
    _compare(spec, quantise, seed)


@pytest.mark.parametrize("quantise", [False, True])
def test_every_kind_of_layer(quantise: bool) -> None:
    _compare(every_layer(), quantise, 1)


def _compare(spec: NetworkSpec, quantise: bool, seed: int) -> None:
    torch.manual_seed(seed)
    network = Every(spec.with_lean({}))  # full frames know nothing of the others' matrices
    network.quantise = quantise
    features = torch.randn(BATCH, FRAMES, spec.inputs)
    found = per_example_gradients(network, features, lambda losses: losses)
    parameters = dict(network.named_parameters())
    assert set(found) == set(parameters) and all(p.grad is None for p in parameters.values())
    assert all(layer.held is None for layer in network.children())
    for b in range(BATCH):
        (loss,) = network(features[b : b + 1])
        wanted = torch.autograd.grad(loss.sum(), list(parameters.values()))
        for name, value in zip(parameters, wanted, strict=True):
            torch.testing.assert_close(found[name][b], value, rtol=1e-4, atol=1e-6)


def _percepnet() -> tuple[Network, torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    network = Network(percepnet(SignalSpec(), **WIDTHS))
    target = {name: torch.rand(BATCH, FRAMES, 34) for name in ("gain", "strength")}
    target |= {"vad": torch.rand(BATCH, FRAMES).round(), "band_mask": torch.ones(BATCH, 34)}
    target["band_mask"][1, 20:] = 0
    return network, torch.randn(BATCH, FRAMES, 70), target


def test_the_clipped_mean_by_hand() -> None:
    network, features, target = _percepnet()

    def loss(*logits: torch.Tensor) -> torch.Tensor:
        return per_example_losses(logits, target)

    gradients = per_example_gradients(network, features, loss)
    norms = sum(g.flatten(1).square().sum(1) for g in gradients.values()).sqrt()
    clip = float(norms.median())
    options = {"noise_multiplier": 0.0, "expected": 4.0, "generator": torch.Generator().manual_seed(0)}
    told = set_private_gradients(network, features, loss, clip=clip, **options)
    torch.testing.assert_close(told, norms)
    assert (norms > clip).any() and (norms < clip).any()
    for name, parameter in network.named_parameters():
        wanted = sum(g * min(1.0, clip / float(n)) for g, n in zip(gradients[name], norms, strict=True)) / 4
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-4, atol=1e-8)


def test_the_noise_is_as_large_as_it_says() -> None:
    network, features, target = _percepnet()
    runs = []
    for seed in (0, 1):
        options = {"noise_multiplier": 3.0, "expected": 2.0, "generator": torch.Generator().manual_seed(seed)}
        set_private_gradients(network, features, lambda *y: per_example_losses(y, target), clip=0.5, **options)
        runs.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert float((runs[0] - runs[1]).std()) == pytest.approx(np.sqrt(2) * 3 * 0.5 / 2, rel=0.05)


def test_bad_numbers() -> None:
    network, features, target = _percepnet()
    good = {"clip": 1.0, "noise_multiplier": 1.0, "expected": 2.0, "generator": torch.Generator()}
    for wrong in ({"clip": 0.0}, {"noise_multiplier": -1.0}, {"expected": 0.0}):
        ((name, value),) = wrong.items()
        with pytest.raises(ValueError, match=rf"{name} is {value}; accepted: a number >"):
            set_private_gradients(network, features, lambda *y: per_example_losses(y, target), **(good | wrong))
    with pytest.raises(ValueError, match=r"losses have the shape \(\); accepted: \(3,\), one a sequence"):
        per_example_gradients(network, features, lambda *y: per_example_losses(y, target).sum())


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shard(tmp_path_factory.mktemp("shards"), SignalSpec(), sequences=12, frames=12)


def test_coins_of_their_own(shards: Path) -> None:
    """Sizes are binomial, 0 among them, and every sequence comes as often."""
    stream = PoissonStream(shards, 2, seed=1)
    batches = [batch for batch, _ in zip(stream, range(400), strict=False)]
    sizes = np.array([len(batch["vad"]) for batch in batches])
    assert stream.rate == 2 / 12 and sizes.min() == 0 and batches[int(sizes.argmin())]["gain"].shape == (0, 12, 34)
    assert sizes.mean() == pytest.approx(2, abs=0.25) and sizes.var() == pytest.approx(12 / 6 * 5 / 6, abs=0.4)
    with pytest.raises(ValueError, match=r"batch is 13, of 12 sequences; accepted: at most as many"):
        PoissonStream(shards, 13)


def test_nobody_there_is_noise_alone() -> None:
    network, features, target = _percepnet()
    options = {"noise_multiplier": 2.0, "expected": 2.0, "generator": torch.Generator().manual_seed(0)}
    told = set_private_gradients(network, features[:0], lambda *y: per_example_losses(y, target), clip=0.5, **options)
    drawn = torch.cat([p.grad.flatten() for p in network.parameters()])
    assert told.shape == (0,) and float(drawn.std()) == pytest.approx(2 * 0.5 / 2, rel=0.05)


def test_training_ends_when_its_budget_is_spent(shards: Path, tmp_path: Path) -> None:
    """And the weights file says what it was."""
    pytest.importorskip("dp_accounting", reason="the extra federated is not installed")
    checkpoint, weights = tmp_path / "run.pt", tmp_path / "new.safetensors"
    arguments = ["--shards", str(shards), "--out", str(checkpoint), "--shape", "tiny", "--batch", "2", "--frames", "12"]
    private = [*arguments, "--steps", "60", "--dp-epsilon", "1.5", "--clip", "0.5", "--warm-up", "1", "--device", "cpu"]
    fit.main([*private, "--dp-noise", "1.5"])
    saved = torch.load(checkpoint, weights_only=True)
    assert 1 < saved["step"] < 60 and saved["step"] % fit.SYNC_STEPS and 1.3 < saved["epsilon"] <= 1.5
    fit.main([*private, "--dp-noise", "1.5"])  # nothing is left
    assert torch.load(checkpoint, weights_only=True)["step"] == saved["step"]
    export.main([str(checkpoint), "-o", str(weights), "--data", "made up"])
    told = load_model(str(weights)).metadata["training_data"]
    assert told.startswith(f"made up; epsilon {saved['epsilon']:.3g}, delta 1e-05, of a sequence; clip 0.5, noise")
    with pytest.raises(ValueError, match=r"run.pt holds privacy delta 1e-05.*; this run has delta 1e-05"):
        fit.main([*private, "--dp-noise", "1.6"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--dp-epsilon", "2", "--clip", "1"], "accepted: with --steps and --clip"),
        (["--dp-epsilon", "2", "--steps", "9"], "accepted: with --steps and --clip"),
        (["--dp-epsilon", "2", "--steps", "9", "--clip", "0"], "clip is 0.0; accepted: a number > 0"),
        (["--dp-epsilon", "2", "--steps", "9", "--clip", "1", "--dp-noise", "0"], "without noise there is no budget"),
        (["--dp-epsilon", "2", "--steps", "9", "--clip", "1", "--old", "tiny"], "a privacy budget with old models"),
    ],
)
def test_private_runs_that_cannot_be(shards: Path, tmp_path: Path, more: list[str], message: str, capsys) -> None:
    pytest.importorskip("dp_accounting", reason="the extra federated is not installed")
    with pytest.raises(SystemExit):
        fit.main(["--shards", str(shards), "--out", str(tmp_path / "run.pt"), "--batch", "2", *more])
    assert message in capsys.readouterr().err.replace("\n", " ") and not (tmp_path / "run.pt").exists()
