"""Train the lean frames of a model, and nothing else of it: to answer what full frames do.

    python -m pyenhance.train.refine lean.safetensors --shards TRAIN --minutes 30 -o finer.safetensors

What `train.amortize` finds in closed form looks at one layer and one frame at a time; here whole stretches are run by
turns, and errors go back through all of them. The loss: of gains and strengths the distance from the model's own at
full effort, by their roots and, of gains, by the energy that they let through, which is what SI-SDR hears.
"""

import argparse
import math
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..measure import SMALL
from ..model import Model, load_model
from ..model.diff import write_whole
from ..nn import FULL_EVERY, LEAN_MATRICES
from .amortize import Factors, with_lean_frames
from .dataset import all_sequences, read_signal
from .loss import compressed
from .network import Network, answers, load_int8

_ROWS, _FRAMES = 12, 180  # of a step
_WARM_UP = 20  # steps
_WEIGHTS = {"gain": 1.0, "strength": 0.3, "energy": 0.1}  # of the loss's parts
_OFFSET, _SCALE = 1.5, 0.5  # of a band's feature: half the decimal logarithm of its energy, and this (dsp/features.py)
_QUIET = 1e-3  # of a stretch's energy: stretches of which nothing is left weigh no more


def power(features: Tensor, bands: int, ahead: int) -> Tensor:
    """Energy of each band of each frame, shape (B, T, bands), up to a factor, from features (B, T, inputs).

    The features are of `ahead` frames later than what the gains shape.
    """
    energy = 10 ** ((features[..., :bands] - _OFFSET) / _SCALE)
    energy = energy.roll(ahead, 1)
    energy[:, :ahead] = 0
    return energy


def losses(lean: tuple[Tensor, Tensor], full: tuple[Tensor, Tensor], energy: Tensor) -> dict[str, Tensor]:
    """What lean frames are trained for, part by part.

    Parameters
    ----------
    lean, full : tuple of Tensor
        Gains and strengths, shape (B, T, bands), by turns and at full effort.
    energy : Tensor, shape (B, T, bands)
        See `power`.

    Returns
    -------
    dict of str to Tensor
        gain, strength, energy.
    """
    (gain, strength), (wanted, wanted_strength) = lean, full
    lost, whole = ((energy * x).sum((1, 2)) for x in ((gain - wanted) ** 2, wanted**2))
    return {
        "gain": ((compressed(gain) - compressed(wanted)) ** 2).mean(),
        "strength": ((strength * compressed(gain) - wanted_strength * compressed(wanted)) ** 2).mean(),
        "energy": (lost / (whole + _QUIET * energy.sum((1, 2)) + SMALL)).mean(),
    }


class Refiner:
    """The lean frames of a model in training.

    Parameters
    ----------
    model : Model
        With lean frames.
    sequences : sequence of ndarray, shape (T, inputs), float32
        Features of stretches of sound, all as long.
    rate : float
        Of Adam, in units of each matrix's root mean square.

    Attributes
    ----------
    network : Network
    """

    def __init__(self, model: Model, sequences: Sequence[np.ndarray], rate: float = 2e-3) -> None:
        self.network: Network = load_int8(model)
        self.network.quantise = True
        self._signal, self._sequences, self._steps = model.signal, sequences, 0
        self._draw = np.random.default_rng(1)
        groups = []
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name.split(".")[-1] in LEAN_MATRICES)
            if parameter.requires_grad:
                groups.append({"params": [parameter], "lr": rate * float(parameter.detach().square().mean().sqrt())})
        self._rates = [group["lr"] for group in groups]
        self._optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))

    def _batch(self) -> Tensor:
        parts = []
        for place in self._draw.integers(len(self._sequences), size=_ROWS):
            sequence = self._sequences[place]
            begin = int(self._draw.integers(max(len(sequence) - _FRAMES, 0) + 1))
            parts.append(torch.from_numpy(sequence[begin : begin + _FRAMES]))
        return torch.stack(parts)

    def _answers(self, features: Tensor, full: Tensor | None = None) -> tuple[Tensor, Tensor]:
        gain, strength, _ = answers(self.network.run(features, full))
        return torch.sigmoid(gain), torch.sigmoid(strength)

    def measure(self, features: Tensor) -> dict[str, Tensor]:
        """`losses` of features, shape (B, T, inputs)."""
        with torch.no_grad():
            wanted = self._answers(features)
        lean = self._answers(features, torch.arange(features.shape[1]) % FULL_EVERY == 0)
        return losses(lean, wanted, power(features, self._signal.num_bands, self._signal.lookahead_frames))

    def step(self, done: float) -> dict[str, float]:
        """A step of Adam, whose rate falls as a cosine while `done` goes from 0 to 1; the parts of the loss."""
        fall = min(1.0, (self._steps + 1) / _WARM_UP) * max(0.02, (1 + math.cos(math.pi * done)) / 2)
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * fall
        parts = self.measure(self._batch())
        self._optimiser.zero_grad()
        sum(_WEIGHTS[name] * part for name, part in parts.items()).backward()
        self._optimiser.step()
        self._steps += 1
        return {name: float(part.detach()) for name, part in parts.items()}

    def factors(self) -> dict[str, Factors]:
        """As they are now."""
        layers = [layer.name for layer in self.network.spec.layers if layer.lean]
        modules = {name: self.network.get_submodule(name) for name in layers}
        return {name: Factors(own.lean_in.detach(), own.lean_out.detach()) for name, own in modules.items()}


def main(argv: list[str] | None = None) -> None:
    """Train for so many minutes, and write the model down whenever it says how it goes."""
    parser = argparse.ArgumentParser(prog="python -m pyenhance.train.refine", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a weights file with lean frames, or a shipped model")
    parser.add_argument("--shards", type=Path, required=True, help="of recordings that it was trained on")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=2e-3, help="of Adam, in units of a matrix's root mean square")
    parser.add_argument("--sequences", type=int, default=400, help="of the shards, at most")
    parser.add_argument("-o", "--output", type=Path, required=True, help="weights file, replaced as it gets better")
    given = parser.parse_args(argv)
    model, signal = load_model(given.model), read_signal(given.shards)
    if not model.network.spec.has_lean:
        parser.error(f"model {model.name!r} has no lean frames; accepted: models that have them")
    if signal != model.signal:
        parser.error(f"{given.shards} holds shards of {signal}; accepted for {model.name}: {model.signal}")
    sequences = islice(all_sequences(given.shards, 1), given.sequences)
    refiner = Refiner(model, [batch["features"][0] for batch in sequences], given.rate)
    begin, number = time.monotonic(), 0
    while (done := (time.monotonic() - begin) / (60 * given.minutes)) < 1:
        parts = refiner.step(done)
        number += 1
        if number % 20 == 0:
            told = ", ".join(f"{name} {x:.5f}" for name, x in parts.items())
            print(f"step {number}, {done:.0%}: {told}", flush=True)
            write_whole(given.output, with_lean_frames(model, refiner.factors()), force=True)
    write_whole(given.output, with_lean_frames(model, refiner.factors()), force=True)


if __name__ == "__main__":
    main()
