"""Gradients by sequence, clipped and noised."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyenhance.dsp import SignalSpec
from pyenhance.model import percepnet
from pyenhance.nn import NetworkSpec
from pyenhance.train.network import Network
from pyenhance.train.private import per_example_gradients, per_example_losses, set_private_gradients

from ..networks import WIDTHS, every_layer, network_specs

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
    network = Every(spec)
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
