"""The recurrent half of a GRU over a whole sequence as one GPU kernel each way, for `network.Recurrence`.

Frame by frame a GPU waits for launches: some seventeen kernels a frame and GRU, 3 us each, whatever is in them. Here a
program walks all frames of 16 rows (sequences, or bands of them) by itself; the matrix, int8, stays in its processor's
shared memory. Sums are exact, as in what ships. Needs Triton, which comes with PyTorch for CUDA on Linux.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .network import ACTIVATION_LEVELS, fake_quantise_activation, int8_steps

_ROWS = 16  # of a program: the least that matrix units take
_LEAST = 32  # units: the least depth of an int8 product
_LEVELS = tl.constexpr(float(ACTIVATION_LEVELS))


@triton.jit
def _sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def _whole(x):
    """The nearest whole number, as int8."""
    return tl.floor(x + 0.5).to(tl.int8)


@triton.jit
def _of_gates(values, units, unit):
    """Numbers of the gates r, z and n, one for each unit."""
    own = unit < units
    r = tl.load(values + unit, own, 0.0)
    z = tl.load(values + units + unit, own, 0.0)
    return r, z, tl.load(values + 2 * units + unit, own, 0.0)


@triton.jit
def _matrices(steps_w, place, width):
    """The gates' matrices, padded: they stay in shared memory, for nothing in the loop over frames changes them."""
    z = steps_w + width * width
    return tl.load(steps_w + place), tl.load(z + place), tl.load(z + width * width + place)


@triton.jit
def _forward(
    projected,
    steps_w,
    scale,
    bias,
    begun,
    out,
    gates,
    rows,
    frames: tl.constexpr,
    units: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
):
    """h of all frames and, for the gradient, r, z, n and the state's part of n, side by side in `gates`."""
    row = tl.program_id(0) * block + tl.arange(0, block)
    unit = tl.arange(0, width)
    inside = (row < rows)[:, None] & (unit < units)[None, :]
    w_r, w_z, w_n = _matrices(steps_w, unit[None, :] * width + unit[:, None], width)  # transposed
    scale_r, scale_z, scale_n = _of_gates(scale, units, unit)
    bias_r, bias_z, bias_n = _of_gates(bias, units, unit)
    h = tl.load(begun + row[:, None] * units + unit[None, :], inside, 0.0)
    given = projected + row[:, None].to(tl.int64) * 3 * units + unit[None, :]
    r_next = tl.load(given, inside, 0.0)  # each frame's are fetched while the one before is computed
    z_next = tl.load(given + units, inside, 0.0)
    n_next = tl.load(given + 2 * units, inside, 0.0)
    for t in range(frames):
        at = (t * rows + row)[:, None].to(tl.int64)
        r, z, n = r_next, z_next, n_next
        given = projected + (at + rows) * 3 * units + unit[None, :]
        more = inside & (t + 1 < frames)
        r_next = tl.load(given, more, 0.0)
        z_next = tl.load(given + units, more, 0.0)
        n_next = tl.load(given + 2 * units, more, 0.0)
        seen = _whole(h * _LEVELS)
        r = _sigmoid(tl.dot(seen, w_r, out_dtype=tl.int32).to(tl.float32) * scale_r[None, :] + bias_r[None, :] + r)
        z = _sigmoid(tl.dot(seen, w_z, out_dtype=tl.int32).to(tl.float32) * scale_z[None, :] + bias_z[None, :] + z)
        of_state = tl.dot(seen, w_n, out_dtype=tl.int32).to(tl.float32) * scale_n[None, :] + bias_n[None, :]
        n = 2 * _sigmoid(2 * (n + r * of_state)) - 1
        h = n + z * (h - n)
        tl.store(out + at * units + unit[None, :], h, inside)
        kept = gates + at * 4 * units + unit[None, :]
        tl.store(kept, r, inside)
        tl.store(kept + units, z, inside)
        tl.store(kept + 2 * units, n, inside)
        tl.store(kept + 3 * units, of_state, inside)


@triton.jit
def _backward(
    grad_out,
    out,
    begun,
    gates,
    steps_w,
    scale,
    grad_hidden,
    grad_n,
    rows,
    frames: tl.constexpr,
    units: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
):
    """Gradients of the sums of the state, (r, z, n), and of the input's part of n, from the last frame to the first.

    What meets the matrix is, of each row, whole numbers of 15 bits, as two of 8: their products are exact.
    """
    row = tl.program_id(0) * block + tl.arange(0, block)
    unit = tl.arange(0, width)
    inside = (row < rows)[:, None] & (unit < units)[None, :]
    w_r, w_z, w_n = _matrices(steps_w, unit[:, None] + unit[None, :] * width, width)  # of transposed ones
    scale_r, scale_z, scale_n = _of_gates(scale, units, unit)
    first = tl.load(begun + row[:, None] * units + unit[None, :], inside, 0.0)
    carried = tl.zeros((block, width), tl.float32)
    for back in range(frames):
        t = frames - 1 - back
        at = (t * rows + row)[:, None].to(tl.int64)
        kept = gates + at * 4 * units + unit[None, :]
        r = tl.load(kept, inside, 0.0)
        z = tl.load(kept + units, inside, 0.0)
        n = tl.load(kept + 2 * units, inside, 0.0)
        of_state = tl.load(kept + 3 * units, inside, 0.0)
        before = tl.load(out + (at - rows) * units + unit[None, :], inside & (t > 0), 0.0)
        before = tl.where(t > 0, before, first)
        dh = carried + tl.load(grad_out + at * units + unit[None, :], inside, 0.0)
        of_n = dh * (1 - z) * (1 - n * n)
        dr = of_n * of_state * r * (1 - r)
        dz = dh * (before - n) * z * (1 - z)
        dn = of_n * r
        to = grad_hidden + at * 3 * units + unit[None, :]
        tl.store(to, dr, inside)
        tl.store(to + units, dz, inside)
        tl.store(to + 2 * units, dn, inside)
        tl.store(grad_n + at * units + unit[None, :], of_n, inside)
        dr *= scale_r[None, :]
        dz *= scale_z[None, :]
        dn *= scale_n[None, :]
        most = tl.max(tl.maximum(tl.maximum(tl.abs(dr), tl.abs(dz)), tl.abs(dn)), 1)
        step = tl.maximum(most, 1e-30) / (_LEVELS * _LEVELS)
        dr /= step[:, None]
        dz /= step[:, None]
        dn /= step[:, None]
        high = tl.floor(dr / _LEVELS + 0.5)
        coarse = tl.dot(high.to(tl.int8), w_r, out_dtype=tl.int32)
        fine = tl.dot(_whole(dr - _LEVELS * high), w_r, out_dtype=tl.int32)
        high = tl.floor(dz / _LEVELS + 0.5)
        coarse = tl.dot(high.to(tl.int8), w_z, coarse, out_dtype=tl.int32)
        fine = tl.dot(_whole(dz - _LEVELS * high), w_z, fine, out_dtype=tl.int32)
        high = tl.floor(dn / _LEVELS + 0.5)
        coarse = tl.dot(high.to(tl.int8), w_n, coarse, out_dtype=tl.int32)
        fine = tl.dot(_whole(dn - _LEVELS * high), w_n, fine, out_dtype=tl.int32)
        carried = dh * z + (coarse.to(tl.float32) * _LEVELS + fine.to(tl.float32)) * step[:, None]


def _width(units: int) -> int:
    return max(_LEAST, triton.next_power_of_2(units))


def _warps(width: int) -> int:
    return 4 if width <= 64 else 8


def _padded(weight: Tensor, scale: Tensor, width: int) -> Tensor:
    """Whole steps of a matrix (3 units, units), each gate padded with zeros: (3, width, width), int8."""
    units = weight.shape[1]
    padded = weight.new_zeros(3, width, width, dtype=torch.int8)
    padded[:, :units, :units] = int8_steps(weight, scale).view(3, units, units)
    return padded


class FusedRecurrence(torch.autograd.Function):
    """`network.Recurrence` with simulated int8, on a GPU."""

    @staticmethod
    def forward(ctx, projected: Tensor, weight: Tensor, scale: Tensor, bias: Tensor, begun: Tensor) -> Tensor:
        """Run the kernel.

        Parameters
        ----------
        projected : Tensor, shape (T, B, 3 units), float32
        weight : Tensor, shape (3 units, units), float32
            As computed with: whole steps of its rows' scales.
        scale : Tensor, shape (3 units,)
        bias : Tensor, shape (3 units,)
        begun : Tensor, shape (B, units)

        Returns
        -------
        Tensor, shape (T, B, units), float32
        """
        frames, rows, gates = projected.shape
        units = gates // 3
        width = _width(units)
        projected, begun = projected.contiguous(), begun.contiguous()
        steps = _padded(weight, scale, width)
        out = projected.new_empty(frames, rows, units)
        kept = projected.new_empty(frames, rows, 4, units)
        grid = (triton.cdiv(rows, _ROWS),)
        shape = {
            "frames": frames,
            "units": units,
            "width": width,
            "block": _ROWS,
            "num_warps": _warps(width),
            "num_stages": 1,
        }
        _forward[grid](projected, steps, scale / ACTIVATION_LEVELS, bias, begun, out, kept, rows, **shape)
        ctx.save_for_backward(out, kept, steps.transpose(1, 2).contiguous(), scale, begun)
        ctx.grid, ctx.shape = grid, shape
        return out

    @staticmethod
    def backward(ctx, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the input's sums, the matrix and its bias."""
        out, kept, steps, scale, begun = ctx.saved_tensors
        frames, rows, units = out.shape
        grad_hidden = out.new_empty(frames, rows, 3 * units)
        grad_n = torch.empty_like(out)
        _backward[ctx.grid](
            grad_out.contiguous(), out, begun, kept, steps, scale, grad_hidden, grad_n, rows, **ctx.shape
        )
        seen = fake_quantise_activation(torch.cat((begun[None], out[:-1])))
        flat = grad_hidden.view(frames * rows, -1)
        grad_weight = flat.t() @ seen.view(frames * rows, -1)
        grad_projected = torch.cat((grad_hidden[..., : 2 * units], grad_n), -1)
        return grad_projected, grad_weight, None, flat.sum(0), None
