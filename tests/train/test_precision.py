"""The number type and the optimiser that computes in it."""

import pytest
import torch

from pyenhance.train import precision
from pyenhance.train.muon import Muon, orthogonal
from pyenhance.train.precision import fastest_dtype


@pytest.mark.parametrize("fast", [torch.float32, torch.bfloat16])
def test_the_faster_number_type_is_chosen(fast: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "product_seconds", lambda dtype, device: 0.001 if dtype is fast else 0.012)
    assert fastest_dtype.__wrapped__() is fast


def test_products_are_timed() -> None:
    assert all(0 < precision.product_seconds(dtype) < 60 for dtype in (torch.float32, torch.bfloat16))


def _matrices() -> list[torch.nn.Parameter]:
    torch.manual_seed(2)
    return [torch.nn.Parameter(torch.randn(shape) / 8) for shape in ((48, 20), (20, 48), (33, 33))]


def _trained(optimiser: torch.optim.Optimizer, matrices: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    torch.manual_seed(3)
    for _ in range(5):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape)
        optimiser.step()
    return [matrix.detach() for matrix in matrices]


def test_muon_is_torchs() -> None:
    ours, theirs, exact = _matrices(), _matrices(), _matrices()
    reference = _trained(torch.optim.Muon(theirs, lr=0.01, adjust_lr_fn="match_rms_adamw"), theirs)
    for found, expected in zip(_trained(Muon(ours, 0.01, torch.bfloat16), ours), reference, strict=True):
        torch.testing.assert_close(found, expected, atol=0, rtol=0)
    moved = torch.cat([(a - b.detach()).flatten() for a, b in zip(reference, _matrices(), strict=True)])
    off = [(a - b).flatten() for a, b in zip(_trained(Muon(exact, 0.01, torch.float32), exact), reference, strict=True)]
    assert torch.cat(off).norm() < 0.03 * moved.norm()


def test_a_rate_in_a_tensor_is_that_rate() -> None:
    ours, theirs = _matrices(), _matrices()
    expected = _trained(Muon(theirs, 0.01, torch.float32), theirs)
    for found, wanted in zip(_trained(Muon(ours, torch.tensor(0.01), torch.float32), ours), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_muon_brings_singular_values_near_to_one() -> None:
    torch.manual_seed(4)
    values = torch.linalg.svdvals(orthogonal(torch.randn(200, 64) * torch.logspace(0, -1, 64), torch.float32))
    assert 0.6 < values.min() and values.max() < 1.3


def test_muon_takes_matrices_alone() -> None:
    with pytest.raises(ValueError, match=r"\(7,\); accepted: matrices"):
        Muon([torch.nn.Parameter(torch.zeros(7))], 0.01, torch.float32)
