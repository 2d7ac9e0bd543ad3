"""What lean frames are worth that go on from the last full frame by products of low rank; nothing is trained.

    python -m pyenhance.train.increments default --shards TRAIN --pairs MIXES --every 5 --try 4,0.25

A layer's sums are W v, v what it sees, of a GRU its state, too. A full frame s computes them; a lean frame t behind it
says W v_s + L R (v_t - v_s): all units take their step, and full frames do what they did. L R is the product of a rank
that does least harm: E |G (W - L R) d|^2 is least, for differences d that occur between frames so far apart, and G G'
the mean outer product of the gradients of gains and strengths in the sums. With C = E d d' that is the singular value
decomposition of G W sqrt(C). Ranks go to the layers where they do most.
"""

import argparse
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from ..align import padded, trimmed
from ..dsp import HOP
from ..enhancer import Enhancer
from ..measure import GAMMA, SMALL
from ..model import Model, load_model
from ..nn import LayerSpec
from .dataset import all_sequences
from .network import Layer, Network, fake_quantise_activation, fake_quantise_weight, load_int8

_FARTHEST = 3  # frames apart: differences of more are much like these
_RIDGE = 0.05  # of the gradients' own variances, added to them: what was seen of them is not all there is
_LARGEST = 4.0  # of a number between R and L, in standard deviations: 127 steps of int8
_RANKS = 4  # at once: compiled rows come in fours
_STRENGTH = 0.3  # what a strength counts against a gain
_SCORES = ("pesq_wb", "stoi", "si_sdr")
_LOST = (0.05, 0.5)  # PESQ and dB by which a clip is counted


class Factors(NamedTuple):
    """The product of low rank of one layer.

    Attributes
    ----------
    into : Tensor, shape (rank, seen)
        R, whose results are within +-1, but for what is rarer than so many standard deviations.
    out : Tensor, shape (sums, rank)
        L.
    """

    into: Tensor
    out: Tensor

    @property
    def multiply_adds(self) -> int:
        """Of a lean frame."""
        return self.into.numel() + self.out.numel()


KINDS = ("gru", "conv")
"""Layers that may go on so."""


def _windows(own: Layer, x: Tensor, quantise: bool) -> Tensor:
    """What a convolution sees, the oldest frame first: x (T, B, inputs) -> (T, B, frames * inputs)."""
    past = own.with_past(x, quantise)
    return torch.cat([past[k : k + len(x)] for k in range(own.spec.frames)], -1)


def joint(network: Network, layer: LayerSpec) -> tuple[Tensor, Tensor]:
    """A convolution's matrix, or both of a GRU as one, and the biases.

    Returns
    -------
    matrix : Tensor, shape (units, frames * inputs), or of a GRU (4 units, inputs + units)
        Of a GRU rows of the gates r and z, of what n sees of the input, and of what it sees of the state.
    bias : Tensor, shape (units,) or (4 units,)
    """
    own, units = network.get_submodule(layer.name), layer.units
    if layer.kind == "conv":
        return own.matrix("weight", network.quantise).detach(), own.bias.detach()
    of_input, of_state = (own.matrix(name, network.quantise).detach() for name in ("weight_ih", "weight_hh"))
    inputs = of_input.shape[1]
    matrix = of_input.new_zeros(4 * units, inputs + units)
    matrix[: 3 * units, :inputs] = of_input
    matrix[: 2 * units, inputs:], matrix[3 * units :, inputs:] = of_state[: 2 * units], of_state[2 * units :]
    bias = torch.cat((own.bias_ih, own.bias_hh[2 * units :])).detach().clone()
    bias[: 2 * units] += own.bias_hh[: 2 * units].detach()
    return matrix, bias


def _multiply_adds(layer: LayerSpec, matrix: Tensor) -> int:
    """Of a full frame: a quarter of a GRU's joint matrix is zero."""
    return matrix.numel() * 3 // 4 if layer.kind == "gru" else matrix.numel()


def moments(network: Network, features: Tensor, kinds: Collection[str] = ("gru",)) -> dict[str, tuple[Tensor, Tensor]]:
    """Of each layer that is to go on: how what it sees changes, and how much its sums matter.

    Parameters
    ----------
    network : Network
        All frames of which are full.
    features : Tensor, shape (B, T, inputs), T > 3
    kinds : collection of str
        Of `KINDS`, those that are to go on.

    Returns
    -------
    dict of str to (Tensor, Tensor)
        C of frames 1, 2 and 3 apart, shape (3, seen, seen), and G G', shape (sums, sums).
    """
    going_on = [layer for layer in network.spec.layers if layer.kind in kinds and not layer.backward]
    modules = {layer.name: network.get_submodule(layer.name) for layer in going_on}
    for own in modules.values():
        own.held = []
    gain, strength, _ = network(features)
    gain = torch.sigmoid(gain)
    # Of a sum with random factors the gradient's mean square is the sum of the squares of all.
    draw = torch.Generator().manual_seed(0)
    of_gain, of_strength = (torch.randn(gain.shape, generator=draw) for _ in range(2))
    drawn = (of_gain * (gain + SMALL) ** GAMMA).sum()
    drawn = drawn + _STRENGTH * (of_strength * torch.sigmoid(strength) * gain.detach().sqrt()).sum()
    drawn.backward()
    network.zero_grad()
    found = {}
    for layer in going_on:
        own = modules[layer.name]
        held = {part.weight: part for part in own.held}
        own.held = None
        if layer.kind == "conv":
            seen, grad = held["weight"].x, held["weight"].grad
        else:
            of_input, of_state = held["weight_ih"], held["weight_hh"]
            seen = torch.cat((of_input.x, of_state.x), -1)
            grad = torch.cat((of_input.grad, of_state.grad[..., 2 * layer.units :]), -1)
        grad = grad.flatten(0, 1)
        differences = ((seen[lag:] - seen[:-lag]).flatten(0, 1) for lag in range(1, _FARTHEST + 1))
        found[layer.name] = (torch.stack([d.T @ d / len(d) for d in differences]), grad.T @ grad)
    return found


def _root(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Square root of a positive matrix, and its inverse."""
    values, vectors = torch.linalg.eigh(symmetric.double())
    roots = values.clamp_min(1e-9 * float(values[-1])).sqrt()
    return (vectors * roots @ vectors.T).float(), (vectors / roots @ vectors.T).float()


@torch.no_grad()
def factors(
    network: Network, found: Mapping[str, tuple[Tensor, Tensor]], period: int, share: float
) -> dict[str, Factors]:
    """The products of low rank of all layers that `found` names.

    Parameters
    ----------
    network : Network
    found : dict
        As `moments` returns it.
    period : int, >= 2
        Frames from one full one to the next.
    share : float, in (0, 1)
        Multiply-adds of these layers in a lean frame, in units of a full one's; each has one step of ranks at least.
    """
    parts, offers, spent, most = {}, [], 0, 0.0
    for layer in network.spec.layers:
        if layer.name not in found:
            continue
        matrix, _ = joint(network, layer)
        covariances, outer = found[layer.name]
        of_change, back_change = _root(covariances[: period - 1].sum(0))
        diagonal = torch.diag(outer)
        of_sums, back_sums = _root(outer + _RIDGE * torch.diag(diagonal + 1e-3 * diagonal.mean()))
        left, values, right = torch.linalg.svd(of_sums @ matrix @ of_change, full_matrices=False)
        parts[layer.name] = (back_sums @ (left * values), right @ back_change)
        most += share * _multiply_adds(layer, matrix)
        cost = _RANKS * sum(matrix.shape)
        for first in range(0, len(values), _RANKS):
            offers.append((float((values[first : first + _RANKS] ** 2).sum()) / cost, cost, layer.name))
    ranks = dict.fromkeys(parts, 0)
    for _, cost, name in sorted(offers, reverse=True):
        if not ranks[name] or spent + cost <= most:
            ranks[name] += _RANKS
            spent += cost
    return {
        name: Factors(right[: ranks[name]] / _LARGEST, left[:, : ranks[name]] * _LARGEST)
        for name, (left, right) in parts.items()
    }


class IncrementalNetwork(Network):
    """A model's network, int8, of which only some frames are full.

    Parameters
    ----------
    model : Model

    Attributes
    ----------
    period : int
        Every so many frames one is full, from the first on; at the start all of them.
    factors : mapping of str to Factors
        By which the others go on; layers that are not there have full ones alone.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model.network.spec)
        self.load_state_dict(load_int8(model).state_dict())
        self.quantise = True
        self.go_on(1, {})

    def go_on(self, period: int, factors: Mapping[str, Factors]) -> None:
        """Have one frame in so many full, and the others go on from it."""
        self.period, self.factors = period, factors

    @property
    def mean_multiply_adds(self) -> float:
        """Of a frame."""
        full = lean = self.spec.multiply_adds
        for layer in self.spec.layers:
            if layer.name in self.factors:
                lean += self.factors[layer.name].multiply_adds - _multiply_adds(layer, joint(self, layer)[0])
        return lean + (full - lean) / self.period

    def _output(self, layer: LayerSpec, outputs: Mapping[str, Tensor], share: Tensor | None = None) -> Tensor:
        if layer.name not in self.factors:
            return super()._output(layer, outputs, share)
        x = torch.cat([outputs[source] for source in layer.sources], -1)
        return self._convolve(layer, x) if layer.kind == "conv" else self._walk(layer, x)

    def _rounded(self, layer: LayerSpec) -> list[Tensor]:
        """R and L as int8."""
        return [fake_quantise_weight(part) for part in self.factors[layer.name]]

    def _convolve(self, layer: LayerSpec, x: Tensor) -> Tensor:
        """x (T, B, inputs) -> (T, B, units)."""
        own, (into, out) = self.get_submodule(layer.name), self._rounded(layer)
        seen = _windows(own, x, self.quantise)
        last = torch.arange(len(x)) // self.period * self.period
        short = fake_quantise_activation(F.linear(seen - seen[last], into).clamp(-1, 1))
        return own.activate(F.linear(seen, *joint(self, layer))[last] + F.linear(short, out))

    def _walk(self, layer: LayerSpec, x: Tensor) -> Tensor:
        """x (T, B, inputs) -> h (T, B, units)."""
        matrix, bias = joint(self, layer)
        into, out = self._rounded(layer)
        h = self.get_submodule(layer.name).begun(True).expand(x.shape[1], -1)
        steps = []
        for t, given in enumerate(x):
            seen = torch.cat((given, fake_quantise_activation(h)), 1)
            if t % self.period == 0:
                last, sums = seen, F.linear(seen, matrix, bias)
                full = sums
            else:
                short = F.linear(seen - last, into).clamp(-1, 1)
                sums = full + F.linear(fake_quantise_activation(short), out)
            r, z, n_input, n_state = sums.split(layer.units, 1)
            n = torch.tanh(n_input + torch.sigmoid(r) * n_state)
            h = torch.lerp(n, h, torch.sigmoid(z))
            steps.append(h)
        return torch.stack(steps)


@torch.no_grad()
def enhanced(network: IncrementalNetwork, model: Model, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Noisy clips, shape (n,), by the model's signal path and this network; aligned."""
    streams = [Enhancer(model) for _ in clips]
    estimates = [
        stream.estimate(padded(noisy, stream.latency_samples, HOP).reshape(-1, HOP))
        for stream, noisy in zip(streams, clips, strict=True)
    ]
    features = [torch.from_numpy(estimate.frames.features.copy()) for estimate in estimates]
    heads = network(pad_sequence(features, batch_first=True))
    sounds = []
    for k, (stream, estimate, noisy) in enumerate(zip(streams, estimates, clips, strict=True)):
        gain, strength = (torch.sigmoid(head[k, : len(estimate.gain)]).numpy() for head in heads[:2])
        out = stream.render(estimate._replace(gain=gain, strength=strength))
        sounds.append(trimmed(out.ravel(), len(noisy), stream.latency_samples))
    return sounds


def scores(network: IncrementalNetwork, model: Model, clips: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """PESQ-WB, STOI and SI-SDR, shape (clips, 3), of clips (clean, noisy)."""
    from ..evaluate.metrics import Scorer

    scorer = Scorer()
    sounds = enhanced(network, model, [noisy for _, noisy in clips])
    found = [scorer(clean, sound) for (clean, _), sound in zip(clips, sounds, strict=True)]
    return np.array([[score[name] for name in _SCORES] for score in found])


def row(network: IncrementalNetwork, found: np.ndarray, before: np.ndarray) -> str:
    """A row of the table: scores, and how they differ from those before with the mean's standard error."""
    change = found - before
    error = change.std(0) / np.sqrt(len(change))
    ranks = ", ".join(str(len(part.into)) for part in network.factors.values())
    cost = network.mean_multiply_adds
    cells = [f"1 in {network.period}", ranks, f"{cost:,.0f} ({cost / network.spec.multiply_adds:.0%})"]
    for mean, moved, uncertain in zip(found.mean(0), change.mean(0), error, strict=True):
        cells.append(f"{mean:.4f} ({moved:+.4f} +- {uncertain:.4f})" if ranks else f"{mean:.4f}")
    cells.append(f"{(change[:, 0] < -_LOST[0]).sum()}, {(change[:, 2] < -_LOST[1]).sum()}")
    return "| " + " | ".join(cells) + " |"


def report(
    model: Model,
    features: Tensor,
    clips: Sequence[tuple[np.ndarray, np.ndarray]],
    tries: Sequence[tuple[int, float]],
    kinds: Collection[str] = ("gru",),
) -> Iterator[str]:
    """The table's lines, in Markdown.

    Parameters
    ----------
    model : Model
    features : Tensor, shape (B, T, inputs)
        Of what it was trained on.
    clips : sequence of (clean, noisy)
        To be scored.
    tries : sequence of (int, float)
        Period and share of each; see `factors`.
    kinds : collection of str
        As of `moments`.
    """
    heads = ["full frames", "ranks", "multiply-adds a hop", "PESQ-WB", "STOI", "SI-SDR, dB"]
    heads.append(f"clips that lose {_LOST[0]} PESQ, {_LOST[1]} dB")
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join(["---"] * len(heads)) + " |"
    network = IncrementalNetwork(model)
    found = moments(network, features, kinds)
    before = scores(network, model, clips)
    yield row(network, before, before)
    for period, share in tries:
        network.go_on(period, factors(network, found, period, share))
        yield row(network, scores(network, model, clips), before)


def _try(text: str) -> tuple[int, float]:
    period, _, share = text.partition(",")
    try:
        found = int(period), float(share)
    except ValueError:
        found = 0, 0.0
    if found[0] < 2 or not 0 < found[1] < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; accepted: PERIOD,SHARE such as 4,0.25, from 2 on and below 1")
    return found


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    from ..evaluate.pairs import load_pairs, read_pair

    parser = argparse.ArgumentParser(prog="python -m pyenhance.train.increments", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="shipped, or a weights file")
    parser.add_argument("--shards", type=Path, required=True, help="of recordings that it was trained on")
    parser.add_argument("--sequences", type=int, default=48, help="of the shards")
    parser.add_argument("--frames", type=int, default=400, help="of each sequence")
    parser.add_argument("--pairs", type=Path, required=True, help="mixes to be scored")
    parser.add_argument("--first", type=int, default=0, help="of them, the first that is scored")
    parser.add_argument("--every", type=int, default=5, help="score every so many from there on")
    parser.add_argument(
        "--try",
        dest="tries",
        type=_try,
        action="append",
        default=[],
        metavar="PERIOD,SHARE",
        help="frames from one full one to the next, and the layers' multiply-adds in a lean one over a full one's",
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["gru"], help="layers that are lean at all")
    given = parser.parse_args(argv)
    sequences = islice(all_sequences(given.shards, 1), given.sequences)
    features = torch.from_numpy(np.concatenate([batch["features"][:, : given.frames] for batch in sequences]))
    clips = [read_pair(pair) for pair in load_pairs(given.pairs)[given.first :: given.every]]
    for line in report(load_model(given.model), features, clips, given.tries, given.kinds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
