"""Networks with lean frames against torch's simulated int8: full, lean, both mixed, and by turns."""

import numpy as np
import pytest

from pyenhance.backend import HEADS
from pyenhance.model import load_model

from .lean import CHOICES, GOLDEN


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.mark.usefixtures("with_native")
@pytest.mark.parametrize("kernel", ["numpy", "native"])
@pytest.mark.parametrize("choice", CHOICES)
def test_choices(choice: str, kernel: str, golden: dict[str, np.ndarray]) -> None:
    model = load_model(golden["weights"].tobytes(), kernel)
    memory, rows = model.network.new_memory(), []
    assert 0.3 < golden["mixed"].mean() < 0.7
    for frame, full in zip(golden["features"], golden["mixed"], strict=True):
        trace: dict[str, np.ndarray] = {}
        if choice == "mixed" and full:
            memory[model.network.spec.turn] = 0  # as if there had been no full frame yet
        model.estimate(frame[None], memory, trace, effort="lean" if choice == "mixed" else choice)
        rows.append(trace)
    for name in model.network.layers:
        found, expected = np.concatenate([row[name] for row in rows]), golden[f"{choice}.{name}"]
        found = found.reshape(expected.shape)
        difference = np.abs(found - expected)
        assert np.std(expected.astype(float)) > (0.005 if name in HEADS else 1)
        # One step here and there, as in the golden vectors of the shipped model.
        assert difference.mean() < (1e-3 if name in HEADS else 0.1), name


def test_the_choice_matters(golden: dict[str, np.ndarray]) -> None:
    """By more than the tolerance of the test above, so that this would find a wrong one."""
    units = [golden[f"{choice}.gru1"].astype(float) for choice in CHOICES]
    for k, unit in enumerate(units):
        assert all(np.abs(unit - other).mean() > 0.3 for other in units[:k])
