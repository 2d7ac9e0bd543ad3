"""Train the lean frames of a model, and nothing else of it: held to what full frames answer, and to what is right.

    python -m pyenhance.train.refine lean.safetensors --shards TRAIN --minutes 30 -o finer.safetensors

What `train.amortize` finds in closed form looks at one layer and one frame at a time; here whole stretches are run by
turns, and errors go back through all of them. The loss: of gains and strengths the distance from the model's own at
full effort, by their roots and, of gains, by the energy that they let through, which is what SI-SDR hears; and a little
of the losses that the model itself was trained for.
"""

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..measure import GAMMA, SMALL
from ..model import Model, load_model
from ..model.diff import write_whole
from ..nn import FULL_EVERY, LEAN_IN, LEAN_OUT
from .amortize import Factors, with_lean_frames
from .dataset import all_sequences, read_signal
from .loss import percepnet_loss
from .network import Network, answers, load_int8

_ROWS, _FRAMES = 12, 180  # of a step
_WARM_UP = 20  # steps
_STRENGTH, _ENERGY, _TASK, _TASK_ENERGY = 0.3, 0.1, 0.01, 0.002
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


def _root(x: Tensor) -> Tensor:
    return (x + SMALL) ** GAMMA


def losses(
    lean: tuple[Tensor, Tensor, Tensor], full: tuple[Tensor, Tensor], energy: Tensor, target: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What lean frames are trained for, part by part.

    Parameters
    ----------
    lean : tuple of Tensor
        Logits of gain and strength, shape (B, T, bands), and of vad, shape (B, T), by turns.
    full : tuple of Tensor
        Gains and strengths at full effort.
    energy : Tensor, shape (B, T, bands)
        See `power`.
    target : mapping of str to Tensor
        As for `percepnet_loss`.

    Returns
    -------
    dict of str to Tensor
        gain, strength, energy, task, task_energy.
    """
    gain, strength = (torch.sigmoid(logit) for logit in lean[:2])

    def misses(wanted: Tensor, weight: Tensor) -> Tensor:
        lost = (weight * (gain - wanted) ** 2).sum((1, 2))
        return (lost / ((weight * wanted**2).sum((1, 2)) + _QUIET * weight.sum((1, 2)) + SMALL)).clamp(max=1).mean()

    heard = energy * target["band_mask"][:, None]
    return {
        "gain": ((_root(gain) - _root(full[0])) ** 2).mean(),
        "strength": ((strength * _root(gain) - full[1] * _root(full[0])) ** 2).mean(),
        "energy": misses(full[0], energy),
        "task": percepnet_loss(*lean, dict(target), over=1.0)[0],
        "task_energy": misses(target["gain"], heard),
    }


_WEIGHTS = {"gain": 1.0, "strength": _STRENGTH, "energy": _ENERGY, "task": _TASK, "task_energy": _TASK_ENERGY}


class Refiner:
    """The lean frames of a model in training.

    Parameters
    ----------
    model : Model
        With lean frames.
    sequences : sequence of dict
        As `all_sequences` gives them, one by one.
    rate : float
        Of Adam, in units of each matrix's root mean square.

    Attributes
    ----------
    network : Network
    """

    def __init__(self, model: Model, sequences: Sequence[dict[str, np.ndarray]], rate: float = 5e-4) -> None:
        self.network: Network = load_int8(model)
        self.network.quantise = True
        self._signal, self._sequences, self._steps = model.signal, sequences, 0
        self._draw = np.random.default_rng(1)
        groups = []
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name.split(".")[-1] in (LEAN_IN, LEAN_OUT))
            if parameter.requires_grad:
                groups.append({"params": [parameter], "lr": rate * float(parameter.detach().square().mean().sqrt())})
        self._rates = [group["lr"] for group in groups]
        self._optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))

    def _batch(self) -> dict[str, Tensor]:
        parts = []
        for place in self._draw.integers(len(self._sequences), size=_ROWS):
            sequence = self._sequences[place]
            begin = int(self._draw.integers(max(sequence["features"].shape[1] - _FRAMES, 0) + 1))
            rows = slice(begin, begin + _FRAMES)
            parts.append({key: x if key == "band_mask" else x[:, rows] for key, x in sequence.items()})
        return {key: torch.from_numpy(np.concatenate([part[key] for part in parts])) for key in parts[0]}

    def measure(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`losses` of features and targets."""
        features = batch["features"]
        with torch.no_grad():
            gain, strength, _ = answers(self.network.run(features))
        full = torch.arange(features.shape[1]) % FULL_EVERY == 0
        lean = answers(self.network.run(features, full))
        energy = power(features, self._signal.num_bands, self._signal.lookahead_frames)
        return losses(lean, (torch.sigmoid(gain), torch.sigmoid(strength)), energy, batch)

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
    parser.add_argument("--rate", type=float, default=5e-4, help="of Adam, in units of a matrix's root mean square")
    parser.add_argument("--sequences", type=int, default=400, help="of the shards, at most")
    parser.add_argument("-o", "--output", type=Path, required=True, help="weights file, replaced as it gets better")
    given = parser.parse_args(argv)
    model, signal = load_model(given.model), read_signal(given.shards)
    if not model.network.spec.has_lean:
        parser.error(f"model {model.name!r} has no lean frames; accepted: models that have them")
    if signal != model.signal:
        parser.error(f"{given.shards} holds shards of {signal}; accepted for {model.name}: {model.signal}")
    refiner = Refiner(model, list(islice(all_sequences(given.shards, 1), given.sequences)), given.rate)
    begin, number = time.monotonic(), 0
    while (done := (time.monotonic() - begin) / (60 * given.minutes)) < 1:
        parts = refiner.step(done)
        number += 1
        if number % 20 == 0:
            print(
                f"step {number}, {done:.0%}: " + ", ".join(f"{name} {x:.5f}" for name, x in parts.items()), flush=True
            )
            write_whole(given.output, with_lean_frames(model, refiner.factors()), force=True)
    write_whole(given.output, with_lean_frames(model, refiner.factors()), force=True)


if __name__ == "__main__":
    main()
