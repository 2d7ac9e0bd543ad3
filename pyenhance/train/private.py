"""Differentially private training: each sequence's gradient is clipped before any are added, and noise after (DP-SGD,
Abadi et al., CCS 2016, algorithm 1). `federated.privacy` tells what that costs.

The layers hold the input and the gradient of each of their products, so that a gradient by sequence is one batched
product a matrix; automatic differentiation sequence by sequence costs several times as much.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .loss import percepnet_loss
from .network import Held, Layer, Network

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From the logits of gain, strength and voice activity to the losses of the sequences, shape (B,)."""


def per_example_losses(
    logits: tuple[Tensor, Tensor, Tensor],
    target: dict[str, Tensor],
    loss: Callable[..., tuple[Tensor, dict[str, Tensor]]] = percepnet_loss,
) -> Tensor:
    """The loss, as `percepnet_loss`, of each sequence by itself; shape (B,). What it is divided by is then its own."""
    one = [
        loss(*(part[b : b + 1] for part in logits), {key: value[b : b + 1] for key, value in target.items()})
        for b in range(len(logits[0]))
    ]
    return torch.stack([loss for loss, _ in one])


def per_example_gradients(network: Network, features: Tensor, loss: Loss) -> dict[str, Tensor]:
    """The gradient of each sequence's loss.

    Parameters
    ----------
    network : Network
        Its gradients are as they were, afterwards.
    features : Tensor, shape (B, T, inputs)
    loss : callable
        Shape (B,), of which each may depend on its own sequence alone.

    Returns
    -------
    dict of str to Tensor, shape (B, *parameter.shape)

    Raises
    ------
    ValueError
        The losses have another shape.
    """
    kept = {name: parameter.grad for name, parameter in network.named_parameters()}
    with _holding(network) as held:
        losses = loss(*network(features))
        if losses.shape != features.shape[:1]:
            raise ValueError(
                f"losses have the shape {tuple(losses.shape)}; accepted: ({len(features)},), one a sequence"
            )
        losses.sum().backward()
    for name, parameter in network.named_parameters():
        parameter.grad = kept[name]
    gradients = {}
    for layer, rows in held.items():
        for row in rows:
            # (B, T, bands, numbers): the bands of a sequence add up.
            x, grad = (part.unflatten(1, (len(features), -1)).transpose(0, 1) for part in (row.x, row.grad))
            by_sequence = torch.bmm(grad.flatten(1, 2).transpose(1, 2), x.flatten(1, 2).to(grad.dtype))
            gradients[f"{layer}.{row.weight}"] = by_sequence.float()
            bias = network.get_parameter(f"{layer}.{row.bias}")
            gradients[f"{layer}.{row.bias}"] = grad.float().sum(1).reshape(len(features), -1, len(bias)).sum(1)
    return gradients


@contextmanager
def _holding(network: Network) -> Iterator[dict[str, list[Held]]]:
    held: dict[str, list[Held]] = {}
    layers = {name: layer for name, layer in network.named_children() if isinstance(layer, Layer)}
    for name, layer in layers.items():
        layer.held = held[name] = []
    try:
        yield held
    finally:
        for layer in layers.values():
            layer.held = None


def set_private_gradients(
    network: Network,
    features: Tensor,
    loss: Loss,
    *,
    clip: float,
    noise_multiplier: float,
    expected: float,
    generator: torch.Generator,
) -> Tensor:
    """Set each parameter's gradient to the clipped sum, with noise, over the expected number of sequences.

    Parameters
    ----------
    network, features, loss
        As for `per_example_gradients`.
    clip : float > 0
        Largest norm C of a sequence's gradient over all parameters.
    noise_multiplier : float >= 0
        Standard deviation of the noise in units of C.
    expected : float > 0
        Sequences of a batch on average: the number that came would tell of one more.
    generator : torch.Generator
        Of the noise.

    Returns
    -------
    Tensor, shape (B,): norms before clipping

    Raises
    ------
    ValueError
        A number out of range.
    """
    for name, value, good in (
        ("clip", clip, clip > 0),
        ("noise_multiplier", noise_multiplier, noise_multiplier >= 0),
        ("expected", expected, expected > 0),
    ):
        if not good:
            raise ValueError(f"{name} is {value}; accepted: a number {'>= 0' if name == 'noise_multiplier' else '> 0'}")
    if not len(features):  # nobody's coin fell: noise alone, or the size of the batch would tell
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator, device=parameter.device)
            parameter.grad = noise_multiplier * clip * noise / expected
        return torch.zeros(0)
    gradients = per_example_gradients(network, features, loss)
    norms = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0).sqrt()
    factors = (clip / norms.clamp_min(1e-30)).clamp_max(1)
    for name, parameter in network.named_parameters():
        total = torch.einsum("b,b...->...", factors, gradients[name])
        noise = torch.randn(total.shape, generator=generator, device=total.device)
        parameter.grad = (total + noise_multiplier * clip * noise) / expected
    return norms
