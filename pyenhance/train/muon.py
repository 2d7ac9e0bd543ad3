"""Muon, an optimiser for hidden matrices: momentum whose singular values are all brought near to one.

torch has one whose products are always bfloat16. Where the processor has none of these it took most of a step; this one
computes in the number type that it is given, and with bfloat16 its steps are torch's to the bit.
"""

from collections.abc import Callable, Iterable

import torch

_QUINTIC = (3.4445, -4.7750, 2.0315)  # an odd polynomial, steep at zero, that keeps [0, 1] near 1 (K. Jordan, 2024)
_ITERATIONS = 5
_TINY = 1e-7


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay; steps as long as AdamW's (arXiv 2502.16982).

    Parameters
    ----------
    parameters : iterable of Parameter, each a matrix
    lr : float or Tensor
        Learning rate, one for AdamW.
    dtype : torch.dtype
        What the products are computed in: see `fastest_dtype`.
    momentum, weight_decay : float

    Raises
    ------
    ValueError
        A parameter that is no matrix.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float | torch.Tensor,
        dtype: torch.dtype,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim != 2:
                    raise ValueError(f"a parameter's shape is {tuple(parameter.shape)}; accepted: matrices")

    @torch.no_grad()
    def step(self, closure: Callable[[], torch.Tensor] | None = None) -> torch.Tensor | None:
        """One step, as every optimiser of torch takes it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                buffer = state["momentum_buffer"].lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonal(parameter.grad.lerp(buffer, group["momentum"]), self.dtype)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                size = group["lr"] * 0.2 * max(parameter.shape) ** 0.5
                if isinstance(size, torch.Tensor):  # a rate that lies on the device, where graphs read it
                    parameter.sub_(update * size)
                else:
                    parameter.add_(update, alpha=-size)
        return loss


def orthogonal(matrix: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Near to U V^T of the matrix's singular value decomposition: Newton-Schulz iterations.

    Parameters
    ----------
    matrix : Tensor, shape (n, m), float32
    dtype : torch.dtype
        Of the products.

    Returns
    -------
    Tensor, shape (n, m), dtype; singular values within some 0.7 to 1.2
    """
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(dtype, copy=True)
    x /= x.norm().clamp(min=_TINY)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
