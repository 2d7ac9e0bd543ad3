"""Networks with lean parts against torch's simulated int8: full, lean, both mixed, and as the arbitrator chooses."""

import numpy as np
import pytest

from pyenhance.backend import HEADS
from pyenhance.model import load_model
from pyenhance.nn import ARBITRATOR

from .lean import BACKLOG, CHOICES, GOLDEN


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


def _efforts(choice: str, golden: dict[str, np.ndarray]) -> list[str]:
    if choice == "mixed":
        return ["full" if full else "lean" for full in golden["mixed"]]
    return [choice] * len(golden["features"])


@pytest.mark.usefixtures("with_native")
@pytest.mark.parametrize("kernel", ["numpy", "native"])
@pytest.mark.parametrize("choice", CHOICES)
def test_choices(choice: str, kernel: str, golden: dict[str, np.ndarray]) -> None:
    model = load_model(golden["weights"].tobytes(), kernel)
    memory, rows = model.network.new_memory(), []
    for frame, effort in zip(golden["features"], _efforts(choice, golden), strict=True):
        trace: dict[str, np.ndarray] = {}
        model.estimate(frame[None], memory, trace, backlog=BACKLOG, effort=effort)
        rows.append(trace)
    full = np.concatenate([row[ARBITRATOR] for row in rows])[:, 0] > 0.5
    expected_full = golden[f"auto.{ARBITRATOR}"][:, 0] > 0.5
    assert 0.1 < expected_full.mean() < 0.9 and 0.3 < golden["mixed"].mean() < 0.7
    wanted = {"full": True, "lean": False, "mixed": golden["mixed"], "auto": expected_full}[choice]
    assert (full == wanted).mean() >= (0.97 if choice == "auto" else 1)  # a logit may lie at the very edge
    for name in model.network.layers:
        if name == ARBITRATOR and choice != "auto":
            continue
        found, expected = np.concatenate([row[name] for row in rows]), golden[f"{choice}.{name}"]
        found = found.reshape(expected.shape)
        difference = np.abs(found - expected)
        assert np.std(expected.astype(float)) > (0.005 if name in (*HEADS, ARBITRATOR) else 1)
        # One step here and there, as in the golden vectors of the shipped model.
        assert difference.mean() < (1e-3 if name in (*HEADS, ARBITRATOR) else 0.1), name


def test_the_choice_matters(golden: dict[str, np.ndarray]) -> None:
    """By more than the tolerance of the test above, so that this would find a wrong one."""
    units = [golden[f"{choice}.gru1"].astype(float) for choice in CHOICES]
    for k, unit in enumerate(units):
        assert all(np.abs(unit - other).mean() > 0.3 for other in units[:k])
