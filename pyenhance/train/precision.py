"""The number type that a machine multiplies fastest, measured: bfloat16 is twice as fast as float32 where the processor
has products of it, and a tenth as fast where it has not."""

import functools
import time

import torch

_ROWS, _INPUTS, _OUTPUTS = 256, 256, 768  # a layer of the network, forwards and backwards
_TRIES = 3


@functools.cache
def fastest_dtype(device: str = "cpu") -> torch.dtype:
    """What products are to be computed in, by autocast and by `Muon`: measured once, in a fraction of a second.

    Parameters
    ----------
    device : str
        As torch names it: "cpu", "cuda", "cuda:1".

    Returns
    -------
    torch.bfloat16 or torch.float32
    """
    return min((torch.bfloat16, torch.float32), key=lambda dtype: product_seconds(dtype, device))


def product_seconds(dtype: torch.dtype, device: str = "cpu") -> float:
    """Time of one layer's product and its two gradients, with the threads that torch has now; the best of some.

    Operands are float32 and converted each time, as autocast does.
    """
    generator = torch.Generator().manual_seed(0)
    x, gradient, weight = (
        torch.randn(shape, generator=generator).to(device)
        for shape in ((_ROWS, _INPUTS), (_ROWS, _OUTPUTS), (_OUTPUTS, _INPUTS))
    )
    best = float("inf")
    for _ in range(1 + _TRIES):  # the first one warms up
        begin = _now(device)
        a, g, w = (v.to(dtype) for v in (x, gradient, weight))
        a @ w.T, g @ w, g.T @ a
        best = min(best, _now(device) - begin)
    return best


def _now(device: str) -> float:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
