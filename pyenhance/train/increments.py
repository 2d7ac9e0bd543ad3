"""What lean frames are worth that go on from the last full frame by products of low rank; nothing is trained.

    python -m pyenhance.train.increments default --shards TRAIN --pairs MIXES --every 5 --try 4,0.25

A GRU's sums are W v, v what it sees and its state. A full frame s computes them; a lean frame t behind it says
W v_s + L R (v_t - v_s): all units take their step, and full frames do what they did. L R is the product of a rank that
does least harm: E |G (W - L R) d|^2 is least, for differences d that occur between frames so far apart, and G G' the
mean outer product of the gradients of gains and strengths in the sums. With C = E d d' that is the singular value
decomposition of G W sqrt(C). Ranks go to the layers where they do most.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
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
from .network import Network, answers, fake_quantise_activation, fake_quantise_weight, load_int8

_FARTHEST = 3  # frames apart: differences of more are much like these
_RIDGE = 0.05  # of the gradients' own variances, added to them: what was seen of them is not all there is
_LARGEST = 4.0  # of a number between R and L, in standard deviations: 127 steps of int8
_RANKS = 4  # at once: compiled rows come in fours
_STRENGTH = 0.3  # what a strength counts against a gain
_SCORES = ("pesq_wb", "stoi", "si_sdr")
_LOST = (0.05, 0.5)  # PESQ and dB by which a clip is counted


class Factors(NamedTuple):
    """The product of low rank of one GRU.

    Attributes
    ----------
    into : Tensor, shape (rank, inputs + units)
        R, whose results are within +-1, but for what is rarer than so many standard deviations.
    out : Tensor, shape (4 units, rank)
        L.
    """

    into: Tensor
    out: Tensor

    @property
    def multiply_adds(self) -> int:
        """Of a lean frame."""
        return self.into.numel() + self.out.numel()


def _grus(network: Network) -> list[LayerSpec]:
    return [layer for layer in network.spec.layers if layer.kind == "gru" and not layer.backward]


def joint(network: Network, layer: LayerSpec) -> tuple[Tensor, Tensor]:
    """Both matrices of a GRU as one, and its biases.

    Returns
    -------
    matrix : Tensor, shape (4 units, inputs + units)
        Rows of the gates r and z, of what n sees of the input, and of what it sees of the state.
    bias : Tensor, shape (4 units,)
    """
    own, units = network.get_submodule(layer.name), layer.units
    of_input, of_state = (own.matrix(name, network.quantise).detach() for name in ("weight_ih", "weight_hh"))
    inputs = of_input.shape[1]
    matrix = of_input.new_zeros(4 * units, inputs + units)
    matrix[: 3 * units, :inputs] = of_input
    matrix[: 2 * units, inputs:], matrix[3 * units :, inputs:] = of_state[: 2 * units], of_state[2 * units :]
    bias = torch.cat((own.bias_ih, own.bias_hh[2 * units :])).detach().clone()
    bias[: 2 * units] += own.bias_hh[: 2 * units].detach()
    return matrix, bias


def moments(network: Network, features: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Of each GRU: how what it sees changes, and how much its sums matter.

    Parameters
    ----------
    network : Network
        All frames of which are full.
    features : Tensor, shape (B, T, inputs), T > 3

    Returns
    -------
    dict of str to (Tensor, Tensor)
        C of frames 1, 2 and 3 apart, shape (3, inputs + units, inputs + units), and G G', shape (4 units, 4 units).
    """
    modules = {layer.name: network.get_submodule(layer.name) for layer in _grus(network)}
    for own in modules.values():
        own.held = []
    outputs = network.run(features)
    gain, strength, _ = answers(outputs)
    gain = torch.sigmoid(gain)
    # Of a sum with random factors the gradient's mean square is the sum of the squares of all.
    draw = torch.Generator().manual_seed(0)
    of_gain, of_strength = (torch.randn(gain.shape, generator=draw) for _ in range(2))
    drawn = (of_gain * (gain + SMALL) ** GAMMA).sum()
    drawn = drawn + _STRENGTH * (of_strength * torch.sigmoid(strength) * gain.detach().sqrt()).sum()
    drawn.backward()
    network.zero_grad()
    found = {}
    for layer in _grus(network):
        own, units = modules[layer.name], layer.units
        grads = {held.weight: held.grad.detach().reshape(-1, 3 * units) for held in own.held}
        own.held = None
        grad = torch.cat((grads["weight_ih"], grads["weight_hh"][:, 2 * units :]), 1)
        after = outputs[layer.name].detach()
        before = torch.cat((own.begun(network.quantise).expand(1, *after.shape[1:]), after[:-1]))
        seen = torch.cat([outputs[source].detach() for source in layer.sources] + [before], -1)
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
    """The products of low rank of all GRUs.

    Parameters
    ----------
    network : Network
    found : dict
        As `moments` returns it.
    period : int, >= 2
        Frames from one full one to the next.
    share : float, in (0, 1)
        Multiply-adds of the GRUs of a lean frame, in units of a full one's; each has one step of ranks at least.
    """
    parts, offers, spent, most = {}, [], 0, 0.0
    for layer in _grus(network):
        matrix, _ = joint(network, layer)
        covariances, outer = found[layer.name]
        of_change, back_change = _root(covariances[: period - 1].sum(0))
        diagonal = torch.diag(outer)
        of_sums, back_sums = _root(outer + _RIDGE * torch.diag(diagonal + 1e-3 * diagonal.mean()))
        left, values, right = torch.linalg.svd(of_sums @ matrix @ of_change, full_matrices=False)
        parts[layer.name] = (back_sums @ (left * values), right @ back_change)
        most += share * 3 * layer.units * matrix.shape[1]
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
        By which the others go on, of each GRU.
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
        for layer in _grus(self):
            if layer.name in self.factors:
                lean += self.factors[layer.name].multiply_adds
                lean -= 3 * layer.units * (self.spec.inputs_of(layer) + layer.units)
        return lean + (full - lean) / self.period

    def _output(self, layer: LayerSpec, outputs: Mapping[str, Tensor], share: Tensor | None = None) -> Tensor:
        if layer.name not in self.factors:
            return super()._output(layer, outputs, share)
        return self._walk(layer, torch.cat([outputs[source] for source in layer.sources], -1))

    def _walk(self, layer: LayerSpec, x: Tensor) -> Tensor:
        """x (T, B, inputs) -> h (T, B, units)."""
        matrix, bias = joint(self, layer)
        into, out = (fake_quantise_weight(part) for part in self.factors[layer.name])
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
    model: Model, features: Tensor, clips: Sequence[tuple[np.ndarray, np.ndarray]], tries: Sequence[tuple[int, float]]
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
    """
    heads = ["full frames", "ranks", "multiply-adds a hop", "PESQ-WB", "STOI", "SI-SDR, dB"]
    heads.append(f"clips that lose {_LOST[0]} PESQ, {_LOST[1]} dB")
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join(["---"] * len(heads)) + " |"
    network = IncrementalNetwork(model)
    found = moments(network, features)
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
        help="frames from one full one to the next, and the GRUs' multiply-adds of a lean one in units of a full one's",
    )
    given = parser.parse_args(argv)
    sequences = islice(all_sequences(given.shards, 1), given.sequences)
    features = torch.from_numpy(np.concatenate([batch["features"][:, : given.frames] for batch in sequences]))
    clips = [read_pair(pair) for pair in load_pairs(given.pairs)[given.first :: given.every]]
    for line in report(load_model(given.model), features, clips, given.tries):
        print(line, flush=True)


if __name__ == "__main__":
    main()
