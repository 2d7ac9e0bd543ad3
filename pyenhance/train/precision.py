"""Which number type the machine multiplies fastest."""

import time

import torch

_ROWS, _INPUTS, _OUTPUTS = 64, 512, 768  # about a step of a recurrent layer
_ROUNDS = 20


def fastest_dtype(device: str) -> torch.dtype:
    """float32 or bfloat16, by a trial of some milliseconds.

    On processors without bfloat16 units torch emulates them, at a twelfth of the speed of float32.
    """
    spent: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(_ROWS, _INPUTS, dtype=dtype, device=device)
        weight = torch.ones(_INPUTS, _OUTPUTS, dtype=dtype, device=device)
        float(torch.mm(x, weight)[0, 0])  # the first is slow
        begin = time.perf_counter()
        for _ in range(_ROUNDS):
            y = torch.mm(x, weight)
        float(y[0, 0])  # waits for the device
        spent[dtype] = time.perf_counter() - begin
    return min(spent, key=lambda dtype: spent[dtype])
