"""The GPU's kernels of a GRU, here by Triton's interpreter, which computes what they say in numpy."""

import json
import os
import subprocess
import sys

COMPARE = """
import json
import sys
import torch
from pyenhance.train.fused import FusedRecurrence
from pyenhance.train.network import Recurrence, fake_quantise_weight, row_scales

for case, (units, rows, frames, stretch) in json.loads(sys.argv[1]).items():
    torch.manual_seed(0)
    projected = torch.randn(frames, rows, 3 * units)
    weight, bias = 0.1 * torch.randn(3 * units, units), 0.1 * torch.randn(3 * units)
    weight[1] = 0  # a row of zeros has a scale as well
    begun = torch.round(127 * (2 * torch.rand(rows, units) - 1)) / 127
    asked = torch.randn(frames, rows, units)
    scale = stretch * row_scales(weight)

    def gradients(recurrence):
        given = [x.clone().requires_grad_() for x in (projected, weight, bias)]
        out = recurrence(given[0], fake_quantise_weight(given[1], scale), given[2])
        (out * asked).sum().backward()
        return out.detach(), *(x.grad for x in given)

    fused = gradients(lambda p, w, b: FusedRecurrence.apply(p, w, scale, b, begun))
    plain = gradients(lambda p, w, b: Recurrence.apply(p, w, b, True, None, begun))
    for name, found, expected in zip(("out", "projected", "weight", "bias"), fused, plain):
        distance = float((found - expected).norm() / expected.norm())
        assert distance < 2e-3, (case, name, distance)  # a state half-way between two steps may go either way
    print(case)
"""

CASES = {  # units, rows, frames, and scales against those of the rows' largest weights
    "more rows than a program's": (64, 20, 7, 1),
    "padded units": (48, 33, 6, 1),
    "fewer than a matrix unit takes": (16, 5, 5, 1),
    "as the default model's": (256, 16, 3, 1),
    "one frame": (32, 1, 1, 1),
    "frozen scales": (32, 16, 5, 1.3),
}


def test_kernels_compute_what_the_loop_over_frames_does() -> None:
    command = [sys.executable, "-c", COMPARE, json.dumps(CASES)]
    interpreted = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=interpreted, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == list(CASES)
