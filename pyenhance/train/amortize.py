"""Give a model lean frames, which go on from the last full one by products of low rank; or tell what they are worth.

    python -m pyenhance.train.amortize default --shards TRAIN -o lean.safetensors
    python -m pyenhance.train.amortize --report lean.safetensors --pairs MIXES --every 5

A layer's sums are W v, v what it sees, of a GRU its state, too. A full frame s computes them; a lean frame t behind it
says W v_s + L R (v_t - v_s): all units take their step, and full frames do what they did. L R is the product of a rank
that does least harm: E |G (W - L R) d|^2 is least, for differences d that occur between frames so far apart, and G G'
the mean outer product of the gradients of gains and strengths in the sums. With C = E d d' that is the singular value
decomposition of G W sqrt(C). Ranks go to the layers where they do most; one that would hardly be leaner is full in
every frame. R is rounded to few steps, then L is the best for it as it is, and rounded. Nothing is trained.

After "Amortized neural networks for low-latency speech recognition" (Macoskey et al., Interspeech 2021), which has a
full and a lean network and an arbitrator that chooses; here turns choose, and what waits (`nn.choose`).
"""

import argparse
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..model import Model, load_model, write_weights
from ..model.diff import write_whole
from ..nn import FULL_EVERY, KINDS, LEAN_IN, LEAN_OUT, LayerSpec, quantize_weight, weight_levels
from .dataset import all_sequences, read_signal
from .loss import compressed
from .network import Network, load_int8

_RIDGE = 0.05  # of the gradients' own variances, added to them: what was seen of them is not all there is
_LARGEST = 5.0  # of a number between R and L, in standard deviations: 127 steps of int8
_RANKS = 4  # at once: compiled rows come in fours
_DAMPING = 0.003  # of the mean variance, added to all: directions in which nothing changed are not free to round into
_MOST = 0.75  # of a full frame's multiply-adds; a layer that would need more is full in every frame
_STRENGTH = 0.3  # what a strength counts against a gain
_BATCH = 48  # sequences at once
_KEPT_METADATA = ("training_commit", "training_data")

LEAN_KINDS = tuple(name for name, kind in KINDS.items() if kind.lean)
"""Layers that may have lean frames."""


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


class Moments(NamedTuple):
    """Of a layer: how what it sees changes, and how much its sums matter.

    Attributes
    ----------
    change : Tensor, shape (seen, seen)
        C, the sum over frames 1, 2, ... `nn.FULL_EVERY` - 1 apart.
    sums : Tensor, shape (sums, sums)
        G G'.
    """

    change: Tensor
    sums: Tensor


def joint(network: Network, layer: LayerSpec) -> Tensor:
    """A convolution's matrix, or both of a GRU as one.

    Returns
    -------
    Tensor, shape (units, frames * inputs), or of a GRU (4 units, inputs + units)
        Of a GRU rows of the gates r and z, of what n sees of the input, and of what it sees of the state.
    """
    own, units = network.get_submodule(layer.name), layer.units
    if layer.kind == "conv":
        return own.matrix("weight", network.quantise).detach()
    of_input, of_state = (own.matrix(name, network.quantise).detach() for name in ("weight_ih", "weight_hh"))
    inputs = of_input.shape[1]
    matrix = of_input.new_zeros(4 * units, inputs + units)
    matrix[: 3 * units, :inputs] = of_input
    matrix[: 2 * units, inputs:], matrix[3 * units :, inputs:] = of_state[: 2 * units], of_state[2 * units :]
    return matrix


def _full_multiply_adds(layer: LayerSpec, inputs: int) -> int:
    return sum(rows * columns for rows, columns in KINDS[layer.kind].matrices(layer, inputs).values())


def moments(network: Network, features: Tensor, kinds: Collection[str] = LEAN_KINDS) -> dict[str, Moments]:
    """Of each layer that is to have lean frames, by its name.

    Parameters
    ----------
    network : Network
        All frames of which are full.
    features : Tensor, shape (B, T, inputs), T >= `nn.FULL_EVERY`
    kinds : collection of str
        Of `LEAN_KINDS`, those that are to have them.
    """
    layers = [layer for layer in network.spec.layers if layer.kind in kinds and not layer.backward]
    modules = {layer.name: network.get_submodule(layer.name) for layer in layers}
    for own in modules.values():
        own.held = []
    gain, strength, _ = network(features)
    gain = torch.sigmoid(gain)
    # Of a sum with random factors the gradient's mean square is the sum of the squares of all.
    draw = torch.Generator().manual_seed(0)
    of_gain, of_strength = (torch.randn(gain.shape, generator=draw) for _ in range(2))
    drawn = (of_gain * compressed(gain)).sum()
    drawn = drawn + _STRENGTH * (of_strength * torch.sigmoid(strength) * gain.detach().sqrt()).sum()
    drawn.backward()
    network.zero_grad()
    found = {}
    for layer in layers:
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
        differences = [(seen[lag:] - seen[:-lag]).flatten(0, 1) for lag in range(1, FULL_EVERY)]
        change = torch.stack([d.T @ d / len(d) for d in differences]).sum(0)
        found[layer.name] = Moments(change, grad.T @ grad)
    return found


def mean_moments(
    network: Network, sequences: Sequence[np.ndarray], kinds: Collection[str] = LEAN_KINDS
) -> dict[str, Moments]:
    """The same over more sequences, each of shape (T, inputs), than fit into memory at once."""
    parts = []
    for first in range(0, len(sequences), _BATCH):
        features = torch.from_numpy(np.stack(sequences[first : first + _BATCH]))
        parts.append((len(features), moments(network, features, kinds)))
    return {
        name: Moments(
            sum(count * part[name].change for count, part in parts) / len(sequences),
            sum(part[name].sums for _, part in parts) / len(sequences),
        )
        for name in parts[0][1]
    }


def _root(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Square root of a positive matrix, and its inverse."""
    values, vectors = torch.linalg.eigh(symmetric.double())
    roots = values.clamp_min(1e-9 * float(values[-1])).sqrt()
    return (vectors * roots @ vectors.T).float(), (vectors / roots @ vectors.T).float()


def _damped(symmetric: Tensor) -> Tensor:
    return symmetric + _DAMPING * symmetric.diagonal().mean() * torch.eye(len(symmetric))


def rounded(matrix: Tensor, change: Tensor, levels: int) -> Tensor:
    """The matrix in whole steps of each row's scale, which `quantize_weight` finds again, shape (rows, columns).

    Column after column, what rounding does to a row's results is made good, as far as may be, by the columns to come;
    after GPTQ (Frantar et al., ICLR 2023).

    Parameters
    ----------
    matrix : Tensor, shape (rows, columns)
    change : Tensor, shape (columns, columns)
        Mean outer product of what it is multiplied with.
    levels : int
        See `quantize_weight`.
    """
    steps, scale = (torch.from_numpy(x) for x in quantize_weight(matrix.numpy(), levels))
    inverse = torch.linalg.inv(_damped(change).double())
    back = torch.linalg.cholesky(inverse, upper=True).float()
    left, whole = matrix.clone(), torch.empty_like(matrix)
    for column in range(matrix.shape[1]):
        whole[:, column] = torch.round(left[:, column] / scale).clamp(-levels, levels)
        error = (left[:, column] - whole[:, column] * scale) / back[column, column]
        left[:, column:] -= error[:, None] * back[column, column:]
    kept = whole.abs().amax(1) == levels  # of other rows the scale would not be found again
    return torch.where(kept[:, None], whole, steps.float()) * scale[:, None]


def _rotation(size: int) -> Tensor:
    """A random orthogonal matrix."""
    draw = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(size, size, generator=draw, dtype=torch.float64)).Q.float()


class _Offer(NamedTuple):
    """Ranks that a layer may have, which cost so many multiply-adds, each of them worth so much."""

    worth: float
    ranks: int
    cost: int


def _ranks(offers: Mapping[str, Sequence[_Offer]], whole: Mapping[str, int], share: float) -> dict[str, int]:
    """Ranks by layer, without those that are to be full always; `whole`: a layer's multiply-adds when it is full."""
    lean = list(offers)
    while True:
        spent = sum(cost for name, cost in whole.items() if name not in lean)
        most = share * sum(whole.values())
        given, costs = dict.fromkeys(lean, 0), dict.fromkeys(lean, 0)
        ranked = sorted(((offer, name) for name in lean for offer in offers[name]), reverse=True)
        for offer, name in ranked:
            if not given[name] or spent + offer.cost <= most:
                given[name] += offer.ranks
                costs[name] += offer.cost
                spent += offer.cost
        dearest = max(lean, key=lambda name: costs[name] / whole[name])
        if len(lean) == 1 or costs[dearest] <= _MOST * whole[dearest]:
            return given
        lean.remove(dearest)


@torch.no_grad()
def factors(network: Network, found: Mapping[str, Moments], share: float) -> dict[str, Factors]:
    """The products of low rank of all layers that `found` names.

    Parameters
    ----------
    network : Network
    found : dict
        As `moments` returns it.
    share : float, in (0, 1)
        Multiply-adds of these layers in a lean frame, in units of a full one's; each has one step of ranks at least,
        or is full in every frame.
    """
    parts, offers, whole = {}, {}, {}
    for layer in network.spec.layers:
        if layer.name not in found:
            continue
        matrix, (change, outer) = joint(network, layer), found[layer.name]
        of_change, back_change = _root(change)
        diagonal = torch.diag(outer)
        of_sums, _ = _root(outer + _RIDGE * torch.diag(diagonal + 1e-3 * diagonal.mean()))
        _, values, right = torch.linalg.svd(of_sums @ matrix @ of_change, full_matrices=False)
        parts[layer.name] = (matrix, right @ back_change)
        whole[layer.name] = _full_multiply_adds(layer, network.spec.inputs_of(layer))
        most_ranks = min(len(values), layer.units)
        offers[layer.name] = []
        for first in range(0, most_ranks, _RANKS):
            ranks = min(_RANKS, most_ranks - first)
            cost = ranks * sum(matrix.shape)
            worth = float((values[first : first + ranks] ** 2).sum()) / cost
            offers[layer.name].append(_Offer(worth, ranks, cost))
    made = {}
    for name, ranks in _ranks(offers, whole, share).items():
        matrix, right, change = *parts[name], found[name].change
        # As they are, R's first rows matter most: a rotation makes all alike.
        into = rounded(_rotation(ranks) @ right[:ranks] / _LARGEST, change, weight_levels(LEAN_IN))
        # The best L for R as it is now: so it makes good most of what rounding did.
        of_into = into @ change @ into.T
        out = torch.linalg.solve(_damped(of_into), into @ change @ matrix.T).T
        made[name] = Factors(into, rounded(out, of_into, weight_levels(LEAN_OUT)))
    return made


def with_lean_frames(model: Model, made: Mapping[str, Factors]) -> bytes:
    """The model's weights file, to the bit what it was, and these lean frames in the place of those that it had."""
    spec = model.network.spec.with_lean({name: len(part.into) for name, part in made.items()})
    tensors = dict(model.tensors)
    for name, part in made.items():
        for own, matrix in ((LEAN_IN, part.into), (LEAN_OUT, part.out)):
            levels = weight_levels(own)
            tensors[f"{name}.{own}"], tensors[f"{name}.{own}_scale"] = quantize_weight(matrix.numpy(), levels)
    wanted = {name: tensors[name] for name in (*spec.tensors, *spec.initial) if name in tensors}
    facts = {key: model.metadata[key] for key in _KEPT_METADATA if key in model.metadata}
    return write_weights(model.signal, spec, wanted, facts)


def main(argv: list[str] | None = None) -> None:
    """Make lean frames, or report."""
    parser = argparse.ArgumentParser(prog="python -m pyenhance.train.amortize", description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="shipped, or a weights file, which gets lean frames")
    parser.add_argument("--shards", type=Path, help="of recordings that it was trained on")
    parser.add_argument("--sequences", type=int, default=192, help="of the shards, at most")
    parser.add_argument("--frames", type=int, default=400, help="of each sequence, at most")
    parser.add_argument("--kinds", nargs="+", choices=LEAN_KINDS, default=list(LEAN_KINDS), help="of layers")
    parser.add_argument(
        "--share", type=float, default=0.3, help="their multiply-adds in a lean frame over a full one's"
    )
    parser.add_argument("-o", "--output", type=Path, help="weights file")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument("--report", metavar="MODEL", help="print what its lean frames are worth instead")
    parser.add_argument("--pairs", type=Path, help="mixes to be scored for it")
    parser.add_argument("--first", type=int, default=0, help="of them, the first that is scored")
    parser.add_argument("--every", type=int, default=5, help="score every so many from there on")
    parser.add_argument("--lean-time", type=float, help="of a full frame's, for waits; default: by its multiply-adds")
    given = parser.parse_args(argv)
    if given.report:
        _report(parser, given)
        return
    if not (given.model and given.shards and given.output):
        parser.error("MODEL, --shards and -o are needed, or --report MODEL --pairs MIXES")
    if not 0 < given.share < 1:
        parser.error(f"--share is {given.share:g}; accepted: above 0 and below 1")
    model, signal = load_model(given.model), read_signal(given.shards)
    if signal != model.signal:
        parser.error(f"{given.shards} holds shards of {signal}; accepted for {model.name}: {model.signal}")
    network = load_int8(model)
    network.quantise = True
    sequences = islice(all_sequences(given.shards, 1), given.sequences)
    found = mean_moments(network, [batch["features"][0, : given.frames] for batch in sequences], given.kinds)
    try:
        data = with_lean_frames(model, factors(network, found, given.share))
        write_whole(given.output, data, force=given.force)
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    spec = load_model(data).network.spec
    ranks = ", ".join(f"{layer.name} {layer.lean}" for layer in spec.layers if layer.lean)
    mean = spec.mean_multiply_adds()
    print(f"{given.output}: {len(data):,} bytes; ranks: {ranks}")
    print(f"multiply-adds: full {spec.multiply_adds:,}, lean {spec.lean_multiply_adds:,}, by turns {mean:,.0f}")


def _report(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    from ..evaluate.pairs import load_pairs, read_pair
    from .devices import report

    if given.pairs is None:
        parser.error("--report needs --pairs")
    model = load_model(given.report)
    if not model.network.spec.has_lean:
        parser.error(f"model {model.name!r} has no lean frames; accepted: models that have them")
    clips = [read_pair(pair) for pair in load_pairs(given.pairs)[given.first :: given.every]]
    for line in report(model, clips, given.lean_time):
        print(line, flush=True)


if __name__ == "__main__":
    main()
