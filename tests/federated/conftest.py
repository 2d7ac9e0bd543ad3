"""Populations that cost nothing: random activations, and heads that are wrong by a change that can be learnt."""

from pathlib import Path

import numpy as np
import pytest

from pyenhance.federated.population import Population, write_population
from pyenhance.model.heads import Examples

BANDS, FRAMES = 34, 24
SIZES = {"gain": 9, "strength": 7}


def make_population(speakers: int = 6, clips: int = 3, seed: int = 0) -> Population:
    """`speakers` who take part, of 1 to 2 `clips` clips each, and two who are held out."""
    rng = np.random.default_rng(seed)
    counts = [clips + i % (clips + 1) for i in range(speakers)] + [2, 2]
    names = [f"s{i}" for i, count in enumerate(counts) for _ in range(count)]
    rows = len(names) * FRAMES
    heads = {}
    for name, size in SIZES.items():
        values = np.concatenate((rng.normal(size=(rows, size)), np.ones((rows, 1))), 1).astype(np.float32)
        logit = rng.normal(size=(rows, BANDS)).astype(np.float32)
        wanted = logit + values @ (0.3 * rng.normal(size=(size + 1, BANDS)))
        target = (1 / (1 + np.exp(-wanted))).astype(np.float32)
        heads[name] = Examples(values, logit, target, np.ones((rows, BANDS), np.float32))
    return Population(
        "0" * 64,
        heads,
        np.arange(1, len(names) + 1) * FRAMES,
        np.array(names),
        np.array([("cafe", "fan", "street")[i % 3] for i in range(len(names))]),
        np.array([("de", "en")[i % 2] for i in range(len(names))]),
        np.array([int(name[1:]) >= speakers for name in names]),
    )


@pytest.fixture(scope="session")
def population_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("population") / "small.npz"
    write_population(make_population(), path)
    return path
