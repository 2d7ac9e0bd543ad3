"""Layers with int8 weights, in numpy: one class for each kind of `spec.KINDS`. Each is frozen; its memory is passed in.

Activations between layers are whole numbers in [-127, 127] held in float32 and stand for values in [-1, 1]. Every layer
works on K frames at once, and gives the same bits for any split of them into calls: sums of products are exact.
"""

import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .activations import APPLY, sigmoid
from .quantize import ACTIVATION_LEVELS, quantize_activation
from .spec import INPUT, LEAN_MATRICES, LayerSpec

EXACT_BELOW = 2**24
"""float32 sums of whole numbers are exact below this."""

_LARGEST_ACTIVATION = 127

_LINE = 16
"""float32 numbers in a line of the caches."""

_BLOCK_FRAMES = 16
"""Frames that layers over bands take at a time, however many there are: what they work on stays in the caches."""


class _Product:
    """float32 products, in parts where a sum could pass 2^24.

    weight has the shape (outputs, inputs), or (n, outputs, inputs) for n products of the same numbers.
    """

    def __init__(self, weight: np.ndarray) -> None:
        magnitude = np.abs(weight.astype(np.int32))
        blocks = 1
        while any(
            part.sum(-1).max(initial=0) * _LARGEST_ACTIVATION >= EXACT_BELOW
            for part in np.array_split(magnitude, blocks, axis=-1)
        ):
            blocks += 1
        self.parts = [
            np.ascontiguousarray(part.swapaxes(-1, -2), np.float32) for part in np.array_split(weight, blocks, axis=-1)
        ]

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """x (K, inputs) -> (K, outputs), or (n, K, outputs); into `out` where it is given."""
        if len(self.parts) == 1:
            return multiply(x, self.parts[0], out=out)
        ends = np.cumsum([part.shape[-2] for part in self.parts])
        seen = zip(np.split(x, ends[:-1], axis=1), self.parts, strict=True)
        sums = np.sum([multiply(np.ascontiguousarray(x), part) for x, part in seen], axis=0, dtype=np.float64)
        if out is None:
            return np.asarray(sums, np.float32)
        out[...] = sums
        return out


def lay_side_by_side(products: Iterable[_Product]) -> None:
    """Move the weights of products into one stretch of memory, in their order.

    They are too many for a core's own caches, so a hop takes as long as they take to arrive; numpy asks the system for
    large pages where an array has 4 MiB or more, and from those they arrive faster.
    """
    products = list(products)
    sizes = [-(-part.size // _LINE) * _LINE for product in products for part in product.parts]
    room = np.empty(sum(sizes) + _LINE, np.float32)
    room = room[-room.ctypes.data // room.itemsize % _LINE :]
    places = iter(np.split(room, np.cumsum(sizes)))
    for product in products:
        for number, part in enumerate(product.parts):
            place = next(places)[: part.size].reshape(part.shape)
            place[:] = part
            product.parts[number] = place


def _einsum(x: np.ndarray, transposed: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    return np.einsum("kj,...ji->...ki", x, transposed, out=out)


# numpy for Pyodide has no BLAS: its matmul is a plain loop there, and einsum over rows is several times faster.
multiply = _einsum if sys.platform == "emscripten" else np.matmul
"""x (K, inputs) float32 times (inputs, outputs) float32, whole numbers whose sums are exact -> (K, outputs) float32."""


class _FloatProduct:
    """Float features, whose sums einsum adds up: BLAS would round them differently for one row and for many."""

    def __init__(self, weight: np.ndarray) -> None:
        self._transposed = np.ascontiguousarray(weight.T, np.float32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return _einsum(x, self._transposed)


class Affine(NamedTuple):
    """A product with what follows it at once: scale * (weight x) + bias. What compiled code is given of a layer.

    Attributes
    ----------
    weight : ndarray, shape (outputs, inputs), int8
    scale : ndarray, shape (outputs,), float32
        Value of one step of the sums.
    bias : ndarray, shape (outputs,), float32
    """

    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray


def _step(scale: np.ndarray) -> np.ndarray:
    """Value of one step of a sum of int8 weights times int8 activations."""
    return (scale / ACTIVATION_LEVELS).astype(np.float32)


def _lean_affines(spec: LayerSpec, tensors: Mapping[str, np.ndarray]) -> tuple[Affine, ...]:
    """Both products of a lean frame, if the layer has any."""
    if not spec.lean:
        return ()
    scales = {name: _step(tensors[f"{name}_scale"]) for name in LEAN_MATRICES}
    return tuple(Affine(tensors[name], scale, np.zeros_like(scale)) for name, scale in scales.items())


class _Change:
    """What lean frames add to the sums of the last full one, as what is seen has changed since then."""

    def __init__(self, affines: tuple[Affine, ...]) -> None:
        self._scales = [affine.scale for affine in affines]
        self.products = tuple(_Product(affine.weight) for affine in affines)

    def __call__(self, seen: np.ndarray, before: np.ndarray) -> np.ndarray:
        """seen (K, seen), whole numbers, and those of the full frame before each -> (K, sums)."""
        into, out = self.products
        short = into(np.clip(seen - before, -_LARGEST_ACTIVATION, _LARGEST_ACTIVATION))
        short *= self._scales[0]
        sums = out(quantize_activation(np.clip(short, -1, 1, out=short)))
        sums *= self._scales[1]
        return sums


class Dense:
    """y = activation(W x + b).

    Parameters
    ----------
    spec : LayerSpec
    tensors : mapping of str to ndarray
        weight, shape (outputs, inputs), int8; weight_scale and bias, shape (outputs,), float32.

    Attributes
    ----------
    spec : as given
    affines : tuple of Affine
    integers : bool
        Whether the input holds int8 values, or plain float32 features.
    """

    def __init__(self, spec: LayerSpec, tensors: Mapping[str, np.ndarray]) -> None:
        self.spec = spec
        self.integers = INPUT not in spec.sources
        scale = tensors["weight_scale"]
        step = _step(scale) if self.integers else scale
        self.affines: tuple[Affine, ...] = (Affine(tensors["weight"], step, tensors["bias"]),)

    @cached_property
    def _product(self) -> "_Product | _FloatProduct":
        weight = self.affines[0].weight
        return _Product(weight) if self.integers else _FloatProduct(weight)

    @property
    def products(self) -> tuple[_Product, ...]:
        """Those of whole numbers, in the order in which a frame meets them."""
        return (self._product,) if isinstance(self._product, _Product) else ()

    def __call__(self, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """x (K, inputs) float32 -> (K, units) float32; it remembers nothing."""
        return APPLY[self.spec.activation](self._sums(x))

    def _sums(self, x: np.ndarray) -> np.ndarray:
        """W x + b."""
        y = self._product(x)
        y *= self.affines[0].scale
        y += self.affines[0].bias
        return y


class Conv(Dense):
    """Causal convolution over time as one product with the last `frames` frames side by side, oldest first.

    Parameters
    ----------
    spec, tensors
        As for `Dense`; weight has the shape (outputs, frames * inputs). If lean also lean_in, shape (rank, frames *
        inputs), and lean_out, shape (units, rank), int8, with their scales.
    """

    def __init__(self, spec: LayerSpec, tensors: Mapping[str, np.ndarray]) -> None:
        super().__init__(spec, tensors)
        self.affines += _lean_affines(spec, tensors)

    @cached_property
    def _change(self) -> _Change:
        return _Change(self.affines[1:])

    @property
    def products(self) -> tuple[_Product, ...]:
        """As of `Dense`, and those of lean frames."""
        return super().products + (self._change.products if self.spec.lean else ())

    def __call__(self, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """x (K, inputs), memory (frames - 1, inputs), updated -> (K, units) float32."""
        return super().__call__(self._windows(x, memory), memory)

    def by_turns(self, x: np.ndarray, memory: np.ndarray, full: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """The same where full, shape (K,), bool; else it goes on from the last full frame.

        kept, shape (frames * inputs + units,), updated: what that one saw, and its sums.
        """
        windows = self._windows(x, memory)
        seen = windows.shape[1]
        sums = np.empty((len(x), self.spec.units), np.float32)
        sums[full] = self._sums(windows[full])
        # The frames that others go on from: the one that is remembered, and the full ones of this call.
        before = np.concatenate((kept[None, :seen], windows[full]))
        of_before = np.concatenate((kept[None, seen:], sums[full]))
        last = np.cumsum(full)[~full]
        if len(last):
            sums[~full] = of_before[last] + self._change(windows[~full], before[last])
        kept[:seen], kept[seen:] = before[-1], of_before[-1]
        return APPLY[self.spec.activation](sums)

    def _windows(self, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """What each frame sees: (K, frames * inputs)."""
        past = np.concatenate((memory, x))
        row = past.strides[0]
        memory[:] = past[len(x) :]
        # Row k of this view is rows k .. k + frames - 1 laid end to end; rows overlap.
        return np.ndarray((len(x), self.spec.frames * x.shape[1]), np.float32, past, 0, (row, past.itemsize))


class _Units:
    """The units of a GRU: both products, and the steps of their state.

    Gates r, z and n lie one after the other, (3, bands, units), so that no step works on parts of rows.
    """

    def __init__(self, of_input: Affine, of_hidden: Affine, units: int, bands: int) -> None:
        self._bands, self._units = bands, units
        self._of_input, self._of_hidden = self._product(of_input.weight), self._product(of_hidden.weight)
        self.products = (self._of_input, self._of_hidden)
        self._input_scale, self._input_bias = of_input.scale.reshape(3, 1, units), of_input.bias.reshape(3, 1, units)
        # Written out for all bands: to broadcast along them takes longer.
        self._hidden_scale = np.repeat(of_hidden.scale.reshape(3, 1, units), bands, 1)
        self._bias_n = np.repeat(of_hidden.bias[2 * units :].reshape(1, units), bands, 0)

    def _product(self, weight: np.ndarray) -> _Product:
        """Of one band a plain product, which gives the gates in the same order."""
        return _Product(weight if self._bands == 1 else weight.reshape(3, self._units, -1))

    def _sums(self, product: _Product, x: np.ndarray) -> np.ndarray:
        """x (n * bands, inputs) -> (n, 3, bands, units)."""
        sums = product(x)
        if self._bands == 1:
            return sums.reshape(-1, 3, 1, self._units)
        return sums.reshape(3, -1, self._bands, self._units).swapaxes(0, 1)

    def gates(self, x: np.ndarray) -> np.ndarray:
        """What the input says: x (K * bands, inputs) -> (K, 3, bands, units)."""
        gates = self._sums(self._of_input, x)
        gates *= self._input_scale
        gates += self._input_bias
        return gates

    def run(self, gates: np.ndarray, h: np.ndarray, out: np.ndarray, kept: np.ndarray | None = None) -> None:
        """K steps.

        gates (K, 3, bands, units), the state before them h (bands, units) -> out (K, bands, units), after each; and the
        last one's sums -> kept (4, bands, units).
        """
        integers, hidden = np.empty_like(h), np.empty((3, self._bands, self._units), np.float32)
        sums = hidden.reshape(1, -1) if self._bands == 1 else hidden
        rz, n = hidden[:2], hidden[2]
        for k in range(len(out)):  # numpy's own iterators take longer
            np.multiply(h, ACTIVATION_LEVELS, out=integers)
            self._of_hidden(np.rint(integers, out=integers), sums)
            hidden *= self._hidden_scale
            rz += gates[k, :2]
            n += self._bias_n
            if kept is not None:
                kept[:2], kept[2], kept[3] = rz, gates[k, 2], n
            self.step(hidden, gates[k, 2], h, out[k])
            h = out[k]

    @staticmethod
    def step(hidden: np.ndarray, n_input: np.ndarray, h: np.ndarray, after: np.ndarray) -> None:
        """One step, into `after`: hidden (3, bands, units), overwritten, are the sums of r and z, and what n says of
        the state; n_input, h and after (bands, units)."""
        r, z, n = hidden
        sigmoid(hidden[:2])
        n *= r
        n += n_input
        np.tanh(n, out=n)
        # h' = n + z (h - n)
        np.subtract(h, n, out=after)
        after *= z
        after += n


class GRU:
    """PyTorch's gated recurrent unit (gates r, z, n); its state stays float32, the copy that meets the weights is int8.

    Parameters
    ----------
    spec : LayerSpec
    tensors : mapping of str to ndarray
        weight_ih, shape (3 units, inputs), and weight_hh, shape (3 units, units), int8; weight_ih_scale,
        weight_hh_scale, bias_ih and bias_hh, shape (3 units,), float32. If lean also lean_in, shape (rank, inputs +
        units), and lean_out, shape (4 units, rank), int8, with their scales.

    Attributes
    ----------
    spec : as given
    affines : tuple of Affine
        Of the input, with the biases of the hidden state but for n's; and of the hidden state, with n's alone, which
        stays inside the reset gate; and those of lean frames.
    integers : bool
        True.
    """

    integers = True

    def __init__(self, spec: LayerSpec, tensors: Mapping[str, np.ndarray]) -> None:
        self.spec = spec
        both = 2 * spec.channels  # r and z, whose two biases only ever appear as their sum
        joined, hidden = tensors["bias_ih"].copy(), tensors["bias_hh"].copy()
        joined[:both] += hidden[:both]
        hidden[:both] = 0
        self.affines = (
            Affine(tensors["weight_ih"], _step(tensors["weight_ih_scale"]), joined),
            Affine(tensors["weight_hh"], _step(tensors["weight_hh_scale"]), hidden),
            *_lean_affines(spec, tensors),
        )

    @cached_property
    def _units(self) -> _Units:
        of_input, of_hidden = self.affines[:2]
        return _Units(of_input, of_hidden, self.spec.channels, self.spec.bands)

    @cached_property
    def _change(self) -> _Change:
        return _Change(self.affines[2:])

    @property
    def products(self) -> tuple[_Product, ...]:
        """Those of full frames, in the order in which one meets them, and those of lean frames."""
        return self._units.products + (self._change.products if self.spec.lean else ())

    def __call__(self, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """x (K, inputs) int8 values, memory (1, units) float32, updated -> (K, units) int8 values.

        A layer that goes backward starts from zeros with the last row, and remembers nothing.
        """
        if self.spec.backward:
            return self._forward(x[::-1], np.zeros_like(memory))[::-1]
        return self._forward(x, memory)

    def _forward(self, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
        out = np.empty((len(x), self.spec.units), np.float32)
        self._units.run(self._units.gates(x), memory, out[:, None])
        memory[:] = out[-1]
        return quantize_activation(out)

    def by_turns(self, x: np.ndarray, memory: np.ndarray, full: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """The same where full, shape (K,), bool; else it goes on from the last full frame.

        kept, shape (inputs + 5 units,), updated: what that one saw of the input and of the state, and its sums, four of
        each unit: r, z, what n says of the input, and of the state.
        """
        inputs, units = x.shape[1], self.spec.units
        before, sums = kept[: inputs + units], kept[inputs + units :].reshape(4, 1, units)
        out, seen = np.empty((len(x), 1, units), np.float32), np.empty((1, inputs + units), np.float32)
        gates = self._units.gates(x[full])
        rows = np.cumsum(full) - 1  # of each full frame among the full ones
        h = memory
        for k, row in enumerate(rows.tolist()):
            seen[0, :inputs], seen[0, inputs:] = x[k], np.rint(h[0] * ACTIVATION_LEVELS)
            if full[k]:
                self._units.run(gates[row : row + 1], h, out[k : k + 1], sums)
                before[:] = seen[0]
            else:
                now = sums + self._change(seen, before).reshape(4, 1, units)
                self._units.step(now[[0, 1, 3]], now[2], h, out[k])
            h = out[k]
        memory[:] = h
        return quantize_activation(out[:, 0])


class BandConv(Dense):
    """Convolution over neighbouring bands, and over time: the same weights for every band, a bias of each one's own.

    Parameters
    ----------
    spec, tensors
        As for `Dense`; weight has the shape (channels, frames * (2 reach + 1) * inputs of a band): frames oldest first,
        of each the bands from the lowest to the highest. bias has the shape (units,).
    """

    @cached_property
    def _product(self) -> _Product:
        return _Product(self.affines[0].weight)

    def __call__(self, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """x (K, inputs), band after band, memory (frames - 1, inputs), updated -> (K, units) float32."""
        y = np.empty((len(x), self.spec.units), np.float32)
        for first in range(0, len(x), _BLOCK_FRAMES):
            rows = slice(first, first + _BLOCK_FRAMES)
            self._convolve(x[rows], memory, y[rows])
        return y

    def _convolve(self, x: np.ndarray, memory: np.ndarray, y: np.ndarray) -> None:
        """A block of frames, into y."""
        bands, reach, frames = self.spec.bands, self.spec.reach, self.spec.frames
        past = np.concatenate((memory, x))
        memory[:] = past[len(x) :]
        framed = np.zeros((len(past), bands + 2 * reach, past.shape[1] // bands), np.float32)
        framed[:, reach : reach + bands] = past.reshape(len(past), bands, -1)
        frame, band, item = framed.strides
        # What a band sees of each frame lies end to end; the views of neighbouring bands and frames overlap.
        near = (len(x), bands, frames, (2 * reach + 1) * framed.shape[2])
        windows = np.ndarray(near, np.float32, framed, 0, (frame, band, frame, item))
        by_band = y.reshape(len(x) * bands, -1)
        self._product(windows.reshape(len(x) * bands, -1), by_band)
        by_band *= self.affines[0].scale
        y += self.affines[0].bias
        APPLY[self.spec.activation](y)


class BandGRU(GRU):
    """A GRU over time for each band, all with the same weights: its product takes all bands' states at once.

    Parameters
    ----------
    spec, tensors
        As for `GRU`, with a band's channels for its units and a band's inputs for its inputs.
    """

    def _forward(self, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """As above, of a band: x (K, inputs), band after band, memory (bands, channels), updated."""
        bands = self.spec.bands
        out = np.empty((len(x), bands, self.spec.channels), np.float32)
        for first in range(0, len(x), _BLOCK_FRAMES):
            block = x[first : first + _BLOCK_FRAMES]
            states = out[first : first + len(block)]
            self._units.run(self._units.gates(block.reshape(len(block) * bands, -1)), memory, states)
            memory[:] = states[-1]
            quantize_activation(states)
        return out.reshape(len(x), -1)


Layer = Dense | Conv | GRU | BandConv | BandGRU

LAYERS: dict[str, type[Layer]] = {
    "dense": Dense,
    "conv": Conv,
    "gru": GRU,
    "band_conv": BandConv,
    "band_gru": BandGRU,
}
"""The class of each kind."""
