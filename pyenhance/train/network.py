"""The network in torch, with int8 simulated on demand, so that what is trained is what will run."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..model import Model
from ..model.compatible import HEADS
from ..nn import (
    INITIAL,
    INPUT,
    KINDS,
    LEAN_IN,
    LEAN_MATRICES,
    LEAN_OUT,
    WEIGHT_LEVELS,
    LayerSpec,
    NetworkSpec,
    quantize_weight,
    weight_levels,
)

ACTIVATION_LEVELS = 127
"""Steps between 0 and 1 of an int8 activation."""

WEIGHT_LIMIT = 1.0
"""Weights are kept within +- this, so that eight bits resolve them."""


def _straight_through(x: Tensor, quantised: Tensor) -> Tensor:
    return x + (quantised - x).detach()


def row_scales(weight: Tensor) -> Tensor:
    """Scales, shape (outputs,), with which each row's largest weight is on int8's edge; weight (outputs, inputs)."""
    return weight.detach().abs().amax(1).clamp_min(1e-8) / WEIGHT_LEVELS


def int8_steps(weight: Tensor, scale: Tensor) -> Tensor:
    """Weight in whole steps of its row's scale, within int8; shape (outputs, inputs), float32.

    Parameters
    ----------
    weight : Tensor, shape (outputs, inputs)
    scale : Tensor, shape (outputs,)
    """
    steps = torch.round(weight / scale.clamp_min(torch.finfo(scale.dtype).tiny)[:, None])
    return steps.clamp(-WEIGHT_LEVELS, WEIGHT_LEVELS)


def fake_quantise_weight(weight: Tensor, scale: Tensor | None = None, levels: int = WEIGHT_LEVELS) -> Tensor:
    """Weight as int8 times its row's scale (symmetric, per output channel); the gradient passes straight through.

    Parameters
    ----------
    weight : Tensor, shape (outputs, inputs)
    scale : Tensor, shape (outputs,), optional
        Where it is frozen; by default a row's largest weight is on the grid's edge, or beyond it with fewer `levels`.
    levels : int
        See `quantize_weight`; of matrices whose scale is not frozen.
    """
    if scale is None and levels != WEIGHT_LEVELS:
        steps, scales = quantize_weight(weight.detach().float().cpu().numpy(), levels)
        return _straight_through(weight, torch.from_numpy(steps * scales[:, None]).to(weight))
    if scale is None:
        scale = row_scales(weight)
    return _straight_through(weight, int8_steps(weight.detach(), scale) * scale[:, None])


class _OnGrid(torch.autograd.Function):
    """`fake_quantise_activation`: of large activations three passes over memory less than `_straight_through` takes."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return torch.round(x.float() * ACTIVATION_LEVELS).div_(ACTIVATION_LEVELS)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad


def fake_quantise_activation(x: Tensor) -> Tensor:
    """Activation in [-1, 1] on the int8 grid of 1/127; gradient passes straight through."""
    return _OnGrid.apply(x)


_ACTIVATIONS = {"clamp": lambda x: torch.clamp(x, 0, 1), "tanh": torch.tanh}  # of hidden layers; heads stay logits


class Held(NamedTuple):
    """What the gradient of a matrix and its bias is made of, as `private.per_example_gradients` takes it.

    Attributes
    ----------
    weight, bias : str
        Names of the parameters; the bias is of the outputs, or of the outputs of all bands.
    x : Tensor, shape (T, B * bands, inputs)
        Of one sequence after the other, band after band.
    grad : Tensor, shape (T, B * bands, outputs)
        Of the product.
    """

    weight: str
    bias: str
    x: Tensor
    grad: Tensor


class Layer(nn.Module):
    """What the kinds of layers share: their matrices, each with the scales of its rows where these are frozen.

    Attributes
    ----------
    initial : Tensor, shape of the layer's memory, in [-1, 1], or None
        What it remembers before the first frame, which training leaves as it is: a model's, or zeros. None: nothing.
    matrices : tuple of str
        Their names.
    lean_in, lean_out : Parameter, shapes (rank, seen) and (sums, rank)
        Of layers with lean frames.
    held : list of Held, optional
        Where it is set, each backward pass adds to it, a row for every matrix but those of lean frames.
    """

    def __init__(self, spec: LayerSpec, inputs: int) -> None:
        super().__init__()
        self.spec = spec
        self.held: list[Held] | None = None
        lean = _lean_matrices(spec, inputs)
        self.matrices = (*KINDS[spec.kind].matrices(spec, inputs), *lean)
        for name in self.matrices:
            self.register_buffer(f"{name}_scale", None)  # None: they follow the weights
        for name, size in lean.items():
            bound = size[1] ** -0.5
            self.register_parameter(name, nn.Parameter(torch.empty(size).uniform_(-bound, bound)))
        shape = KINDS[spec.kind].memory(spec, inputs)
        remembers = 0 not in shape and not spec.backward
        self.register_buffer(INITIAL, torch.zeros(shape) if remembers else None)

    def matrix(self, name: str, quantise: bool) -> Tensor:
        """A matrix as it is computed with, shape (outputs, inputs)."""
        weight = getattr(self, name)
        return fake_quantise_weight(weight, getattr(self, f"{name}_scale"), weight_levels(name)) if quantise else weight

    def begun(self, quantise: bool) -> Tensor | None:
        """`initial`, as it is computed with."""
        return fake_quantise_activation(self.initial) if quantise and self.initial is not None else self.initial

    def with_past(self, x: Tensor, quantise: bool) -> Tensor:
        """What a convolution sees: x (T, B, inputs) after its initial frames -> (frames - 1 + T, B, inputs)."""
        begun = self.begun(quantise)
        return x if begun is None else torch.cat((begun[:, None].expand(-1, x.shape[1], -1), x))

    def product(self, weight: str, bias: str, x: Tensor, quantise: bool) -> Tensor:
        """W x + b over all frames; x (T, B, inputs) -> (T, B, outputs)."""
        y = F.linear(x, self.matrix(weight, quantise), getattr(self, bias))
        self.hold(weight, bias, x, y)
        return y

    def hold(self, weight: str, bias: str, x: Tensor, y: Tensor) -> None:
        """Have the next backward pass add to `held`, if it is set: y is the product of a matrix and x; see `Held`."""
        if (held := self.held) is not None:
            y.register_hook(lambda grad: held.append(Held(weight, bias, x.detach(), grad)))

    def change(self, seen: Tensor, before: Tensor, quantise: bool) -> Tensor:
        """What a lean frame adds to the sums of the full one that saw `before`; both (..., seen) -> (..., sums)."""
        short = F.linear((seen - before).clamp(-1, 1), self.matrix(LEAN_IN, quantise)).clamp(-1, 1)
        return F.linear(fake_quantise_activation(short) if quantise else short, self.matrix(LEAN_OUT, quantise))

    def activate(self, y: Tensor) -> Tensor:
        """A hidden layer's activation, float32; a head's is left to the loss."""
        activation = _ACTIVATIONS.get(self.spec.activation)
        return activation(y.float()) if activation else y


def _lean_matrices(spec: LayerSpec, inputs: int) -> dict[str, tuple[int, int]]:
    """Names and shapes of both matrices of lean frames, if the layer has any."""
    widths = KINDS[spec.kind].lean
    if not spec.lean or widths is None:
        return {}
    seen, sums = widths(spec, inputs)
    return {LEAN_IN: (spec.lean, seen), LEAN_OUT: (sums, spec.lean)}


class Dense(Layer):
    """activation(W x + b); a head's activation is left to the loss."""

    def __init__(self, spec: LayerSpec, inputs: int) -> None:
        super().__init__(spec, inputs)
        drawn = nn.Linear(inputs * spec.frames, spec.units)  # as PyTorch initialises it
        self.weight, self.bias = drawn.weight, drawn.bias

    def forward(self, x: Tensor, quantise: bool, full: Tensor | None = None) -> Tensor:
        """x (T, B, inputs) -> (T, B, units); every frame is a full one."""
        return self.activate(self.product("weight", "bias", x, quantise))


class Conv(Dense):
    """Causal convolution as one product over the last frames, oldest first."""

    def forward(self, x: Tensor, quantise: bool, full: Tensor | None = None) -> Tensor:
        """x (T, B, inputs) -> (T, B, units); full, shape (T,): see `Network.run`."""
        past = self.with_past(x, quantise)
        windows = torch.cat([past[k : k + len(x)] for k in range(self.spec.frames)], -1)
        sums = self.product("weight", "bias", windows, quantise)
        if full is not None and self.spec.lean:
            # Each frame's last full one, which of a full frame is itself: nothing has changed, exactly.
            last = torch.where(full, torch.arange(len(full), device=full.device), 0).cummax(0).values
            sums = sums[last] + self.change(windows, windows[last], quantise)
        return self.activate(sums)


class GRU(Layer):
    """PyTorch's GRU (gates r, z, n) with the input product of the whole sequence in one go."""

    def __init__(self, spec: LayerSpec, inputs: int) -> None:
        super().__init__(spec, inputs)
        units = spec.channels
        bound = units**-0.5
        self.weight_ih = nn.Parameter(torch.empty(3 * units, inputs // spec.bands).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(3 * units, units).uniform_(-bound, bound))
        self.bias_ih = nn.Parameter(torch.zeros(3 * units))
        self.bias_hh = nn.Parameter(torch.zeros(3 * units))

    def forward(self, x: Tensor, quantise: bool, full: Tensor | None = None) -> Tensor:
        """x (T, B, inputs) -> h (T, B, units), float32; full, shape (T,): see `Network.run`."""
        if self.spec.backward:
            return self._forward(x.flip(0), quantise).flip(0)
        if full is not None and self.spec.lean:
            return self._by_turns(x, quantise, full)
        return self._forward(x, quantise)

    def _forward(self, x: Tensor, quantise: bool) -> Tensor:
        projected = self.product("weight_ih", "bias_ih", x, quantise)
        weight, begun = self.matrix("weight_hh", quantise), self.begun(quantise)
        if begun is not None:  # (bands, channels), for each sequence of the batch
            begun = begun.repeat(projected.shape[1] // len(begun), 1)
        if projected.is_cuda and quantise and self.held is None and (fused := _fused()) is not None:
            if begun is None:
                begun = projected.new_zeros(projected.shape[1], self.spec.channels)
            scale = row_scales(weight) if self.weight_hh_scale is None else self.weight_hh_scale
            return fused.apply(projected, weight, scale, self.bias_hh, begun)
        return Recurrence.apply(projected, weight, self.bias_hh, quantise, self.held, begun)

    def _by_turns(self, x: Tensor, quantise: bool, full: Tensor) -> Tensor:
        """Full and lean frames, step by step: nothing of a lean frame's sums is known before its state."""
        units, weight = self.spec.units, self.matrix("weight_hh", quantise)
        of_input = iter(F.linear(x[full], self.matrix("weight_ih", quantise), self.bias_ih))
        h = self.begun(quantise).expand(x.shape[1], -1)
        before = of_full = x.new_empty(0)  # the first frame is full
        steps = []
        for given, whole in zip(x, full.tolist(), strict=True):
            seen = torch.cat((given, fake_quantise_activation(h) if quantise else h), 1)
            if whole:
                gates, of_state = next(of_input), F.linear(seen[:, -units:], weight, self.bias_hh)
                rz, n = gates[:, : 2 * units] + of_state[:, : 2 * units], gates[:, 2 * units :]
                before, of_full = seen, torch.cat((rz, n, of_state[:, 2 * units :]), 1)
                sums = of_full
            else:
                sums = of_full + self.change(seen, before, quantise)
            r, z, n_input, n_state = sums.float().split(units, 1)
            n = torch.tanh(n_input + torch.sigmoid(r) * n_state)
            h = torch.lerp(n, h, torch.sigmoid(z))
            steps.append(h)
        return torch.stack(steps)


class BandConv(Layer):
    """Convolution over neighbouring bands and the last frames, oldest first, as one product for all bands."""

    def __init__(self, spec: LayerSpec, inputs: int) -> None:
        super().__init__(spec, inputs)
        ((outputs, seen),) = KINDS[spec.kind].matrices(spec, inputs).values()
        drawn = nn.Linear(seen, outputs)
        self.weight, self.bias = drawn.weight, nn.Parameter(drawn.bias.detach().repeat(spec.bands))

    def forward(self, x: Tensor, quantise: bool, full: Tensor | None = None) -> Tensor:
        """x (T, B, inputs), band after band -> (T, B, units); every frame is a full one."""
        bands, reach, frames = self.spec.bands, self.spec.reach, self.spec.frames
        steps, batch = x.shape[:2]
        past = self.with_past(x, quantise)
        framed = F.pad(past.reshape(len(past), batch, bands, -1), (0, 0, reach, reach))
        near = [
            framed[frame : frame + steps, :, band : band + bands]
            for frame in range(frames)
            for band in range(2 * reach + 1)
        ]
        seen = torch.cat(near, -1).flatten(1, 2)
        product = F.linear(seen, self.matrix("weight", quantise))
        self.hold("weight", "bias", seen, product)
        return self.activate(product.reshape(steps, batch, -1) + self.bias)


class BandGRU(GRU):
    """A GRU over time for each band, all with the same weights: bands are so many more sequences."""

    def _forward(self, x: Tensor, quantise: bool) -> Tensor:
        """x (T, B, inputs), band after band -> h (T, B, units), float32."""
        steps, batch = x.shape[:2]
        return super()._forward(x.reshape(steps, batch * self.spec.bands, -1), quantise).reshape(steps, batch, -1)


LAYERS: dict[str, type[Layer]] = {
    "dense": Dense,
    "conv": Conv,
    "gru": GRU,
    "band_conv": BandConv,
    "band_gru": BandGRU,
}
"""The class of each kind of `nn.KINDS`."""


@functools.cache
def _fused() -> Any:
    """`fused.FusedRecurrence`, or None where there is no Triton."""
    try:
        from .fused import FusedRecurrence
    except ImportError:
        return None
    return FusedRecurrence


class Recurrence(torch.autograd.Function):
    """The recurrent half of a GRU over a whole sequence, with its gradient written out.

    Autograd over single steps costs some forty small operations a step; here a step is one matrix product and a handful
    of element-wise operations each way, and everything that does not depend on the next step is done for all at once.
    """

    @staticmethod
    def forward(
        ctx,
        projected: Tensor,
        weight: Tensor,
        bias: Tensor,
        quantise: bool,
        held: list[Held] | None = None,
        begun: Tensor | None = None,
    ) -> Tensor:
        steps, batch, gates = projected.shape
        units = gates // 3
        weight = weight.to(projected.dtype)
        bias = bias.to(projected.dtype)
        gate_inputs = projected.float()
        h = begun = gate_inputs.new_zeros(batch, units) if begun is None else begun
        out = gate_inputs.new_empty(steps, batch, units)
        rz_all = gate_inputs.new_empty(steps, batch, 2 * units)
        n_all = torch.empty_like(out)
        hidden_all = torch.empty_like(projected)
        transposed = weight.t().contiguous()
        for t in range(steps):
            seen = torch.round(h * ACTIVATION_LEVELS).div_(ACTIVATION_LEVELS) if quantise else h
            hidden = torch.addmm(bias, seen.to(weight.dtype), transposed, out=hidden_all[t])
            rz = torch.add(gate_inputs[t, :, : 2 * units], hidden[:, : 2 * units], out=rz_all[t]).sigmoid_()
            hidden_n = hidden[:, 2 * units :].float()
            n = torch.addcmul(gate_inputs[t, :, 2 * units :], rz[:, :units], hidden_n, out=n_all[t]).tanh_()
            h = torch.lerp(n, h, rz[:, units:], out=out[t])
        ctx.save_for_backward(out, rz_all, n_all, hidden_all, weight, begun)
        ctx.quantise, ctx.held = quantise, held
        return out

    @staticmethod
    def backward(ctx, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        out, rz_all, n, hidden_all, weight, begun = ctx.saved_tensors
        steps, batch, units = out.shape
        before = torch.cat((begun[None], out[:-1]))
        r, z = rz_all.split(units, -1)
        to_n = (1 - z) * (1 - n * n)
        slopes = out.new_empty(steps, batch, 3, units)
        torch.mul(to_n * r * (1 - r), hidden_all[..., 2 * units :], out=slopes[:, :, 0])
        torch.mul((before - n) * z, 1 - z, out=slopes[:, :, 1])
        torch.mul(to_n, r, out=slopes[:, :, 2])
        grad_hidden = torch.empty(steps, batch, 3, units, dtype=weight.dtype, device=out.device)
        grad_h = torch.empty_like(out)
        carried = out.new_zeros(batch, units)
        for t in range(steps - 1, -1, -1):
            dh = torch.add(carried, grad_out[t], out=grad_h[t])
            torch.mul(dh[:, None], slopes[t], out=grad_hidden[t])
            carried = torch.addcmul((grad_hidden[t].view(batch, -1) @ weight).float(), dh, z[t])
        grad_projected = torch.cat((grad_hidden[:, :, :2].flatten(2), (grad_h * to_n).to(weight.dtype)), -1)
        seen = torch.round(before * ACTIVATION_LEVELS) / ACTIVATION_LEVELS if ctx.quantise else before
        flat = grad_hidden.view(steps * batch, -1)
        grad_weight = (flat.t() @ seen.view(steps * batch, -1).to(weight.dtype)).float()
        if ctx.held is not None:
            ctx.held.append(Held("weight_hh", "bias_hh", seen, flat.view(steps, batch, -1)))
        return grad_projected, grad_weight, flat.float().sum(0), None, None, None


class Network(nn.Module):
    """Any list of layers: features in, gains, strengths and voice activity out (PercepNet, section 6).

    Parameters
    ----------
    spec : NetworkSpec

    Attributes
    ----------
    spec : as given
    quantise : bool
        Simulate int8 weights and activations.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.quantise = False
        for layer in spec.layers:
            self.add_module(layer.name, LAYERS[layer.kind](layer, spec.inputs_of(layer)))

    def run(self, features: Tensor, full: Tensor | None = None) -> dict[str, Tensor]:
        """Whole sequences, each layer from its initial state.

        Parameters
        ----------
        features : Tensor, shape (B, T, inputs)
        full : Tensor, shape (T,), bool, optional
            Which frames of all sequences are full ones, as `nn.choose` says; the first is one whatever this says. By
            default all of them. Lean ones take a loop over frames in autograd.

        Returns
        -------
        dict of str to Tensor, shape (T, B, units)
            Each layer's output; hidden ones float32 and, when simulated, on the int8 grid; heads as logits.
        """
        if full is not None:
            full = full.index_fill(0, full.new_zeros(1, dtype=torch.int64), True)
            full = None if full.all() else full
        outputs = {INPUT: features.transpose(0, 1)}
        for layer in self.spec.layers:
            x = self._output(layer, outputs, full)
            hidden = layer.activation in _ACTIVATIONS
            outputs[layer.name] = fake_quantise_activation(x) if hidden and self.quantise else x
        return outputs

    def _output(self, layer: LayerSpec, outputs: Mapping[str, Tensor], full: Tensor | None = None) -> Tensor:
        seen = [outputs[source] for source in layer.sources]
        x = seen[0]
        if len(seen) > 1:  # band after band, of each the sources in turn
            x = torch.cat([y.reshape(*y.shape[:2], layer.bands, -1) for y in seen], -1).flatten(2)
        return getattr(self, layer.name)(x, self.quantise, full)

    def heads_on(self, body: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What this network's heads answer to another's layers, which fit (`check_heads`); see `answers`."""
        heads = {layer.name: self._output(layer, body) for layer in self.spec.layers if layer.name in HEADS}
        return answers(heads)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of gain and strength, shape (B, T, bands), and of vad, shape (B, T); see `run`."""
        return answers(self.run(features))

    @torch.no_grad()
    def limit_weights(self) -> None:
        """Clip matrices of full frames to +- WEIGHT_LIMIT."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2 and name.split(".")[-1] not in LEAN_MATRICES:
                parameter.clamp_(-WEIGHT_LIMIT, WEIGHT_LIMIT)


def answers(outputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of gain and strength, shape (B, T, bands), and of vad, shape (B, T), among what `Network.run` returns."""
    gain, strength, vad = (outputs[head].transpose(0, 1) for head in HEADS)
    return gain, strength, vad.squeeze(-1)


def load_int8(model: Model, *, freeze_scales: bool = False) -> Network:
    """The torch network with a model's int8 weights: where fine-tuning begins.

    Parameters
    ----------
    model : Model
    freeze_scales : bool
        Keep the model's scales whatever the weights become, so that they can move by whole steps alone.

    Returns
    -------
    Network
        Its simulated int8 is what the model computes: a row's largest weight is on the grid's edge, so that quantising
        again gives the same integers. (Of a row whose largest is not, such as a diff leaves, frozen scales alone do.)
    """
    network = Network(model.network.spec)
    tensors = model.tensors
    state = network.state_dict()  # whose initial states are zeros, as in the file those that it leaves out
    for name, value in tensors.items():
        if name in network.spec.initial:
            state[name] = torch.from_numpy(value.astype(np.float32) / ACTIVATION_LEVELS)
        elif value.ndim == 2:
            state[name] = torch.from_numpy(value * tensors[f"{name}_scale"][:, None])
        elif not name.endswith("_scale"):
            state[name] = torch.from_numpy(value.copy())
    network.load_state_dict(state)
    if freeze_scales:
        for layer in network.spec.layers:
            own = getattr(network, layer.name)
            for name in own.matrices:
                setattr(own, f"{name}_scale", torch.from_numpy(tensors[f"{layer.name}.{name}_scale"].copy()))
    return network
