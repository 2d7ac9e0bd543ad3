"""A network laid out for compiled code: padded weights, and tables of layers that point to one another's outputs."""

import ctypes
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..nn.layers import Affine, Layer
from ..nn.network import Network, check_effort
from ..nn.spec import ACTIVATIONS, EFFORTS, INPUT, KINDS, LayerSpec
from .structures import BANDS_AT_ONCE, BLOCK_HOPS, array, fill

_SUMS, _COLUMNS = 4, 16  # rows and columns come in multiples of these


class Program:
    """The layers of a network, run by one compiled call.

    Parameters
    ----------
    network : Network
    library : ctypes library or None
        See `library.load_library`; without one the program can be looked at and not run.
    names : collection of str, optional
        The layers that it runs; None: all. What they see of others it is given.

    Attributes
    ----------
    features : ndarray, shape (BLOCK_HOPS, stride), float32
        What the network is given; columns beyond its inputs stay zero.
    structure : ctypes.Structure
        ``struct network``.
    layers : dict of str to ctypes.Structure
        ``struct layer`` of each that it runs.
    given : list of str
        Layers whose outputs it is given.
    matrices : list of (ndarray, ndarray)
        Each matrix of weights, as it lies for the compiled code and as it was.
    """

    def __init__(self, network: Network, library: ctypes.CDLL | None, names: Collection[str] | None = None) -> None:
        self.spec = network.spec
        self._library = library
        self.features = np.zeros((BLOCK_HOPS, _padded(self.spec.inputs, _COLUMNS)), np.float32)
        self._outputs: dict[str, np.ndarray] = {INPUT: self.features}
        self.layers: dict[str, ctypes.Structure] = {}
        self.matrices: list[tuple[np.ndarray, np.ndarray]] = []
        affines: list[ctypes.Structure] = []
        run = {name: layer for name, layer in network.layers.items() if names is None or name in names}
        seen = dict.fromkeys(source for layer in run.values() for source in layer.spec.sources)
        self.given = [name for name in seen if name not in {INPUT, *run}]
        for name in self.given:
            self._outputs[name] = self._room(name)
        for name, layer in run.items():
            own = [self._affine(affine, layer.integers) for affine in layer.affines]
            self.layers[name] = self._layer(name, layer, own)
            affines += own
        self.structure = fill(
            "network",
            num_layers=len(self.layers),
            layers=array("layer", list(self.layers.values())),
            # Room for the widest cells, of 16 bits.
            seen=np.zeros(max(map(self._seen, self.spec.layers)), np.int16),
            second=np.zeros(max(map(self._second, self.spec.layers)), np.int16),
            sums=np.zeros(BANDS_AT_ONCE * max(affine.rows for affine in affines), np.int32),
            gates=np.zeros(BANDS_AT_ONCE * 4 * max(layer.spec.channels for layer in run.values()), np.float32),
            full=np.zeros(BLOCK_HOPS, np.int32),
            turn=self.spec.turn if self.spec.has_lean else -1,
        )
        self._address = ctypes.addressof(self.structure)

    def _room(self, name: str) -> np.ndarray:
        return np.zeros((BLOCK_HOPS, _padded(self.spec.widths[name], _SUMS)), np.float32)

    def _affine(self, affine: Affine, integers: bool) -> ctypes.Structure:
        outputs, inputs = affine.weight.shape
        rows, columns = self.padded(affine.weight)
        weight = np.zeros((rows, columns), np.int8)
        weight[:outputs, :inputs] = affine.weight
        if integers:
            weight = _taking_turns(weight)
        self.matrices.append((weight, affine.weight))
        scale, bias = np.zeros(rows, np.float32), np.zeros(max(rows, len(affine.bias)), np.float32)
        scale[:outputs], bias[: len(affine.bias)] = affine.scale, affine.bias
        return fill("affine", weight=weight, scale=scale, bias=bias, rows=rows, columns=columns)

    def _seen(self, spec: LayerSpec) -> int:
        """Cells that a layer sees, with those that the last band's padded columns reach."""
        inputs = self.spec.inputs_of(spec)
        if spec.lean:
            return self.spec.lean_widths(spec)[0] + _COLUMNS
        return spec.frames * (inputs + 2 * spec.reach * (inputs // spec.bands)) + _COLUMNS

    def _second(self, spec: LayerSpec) -> int:
        """Cells of a GRU's state, of what lies between the products of a lean frame, or of the windows of all bands
        over several frames."""
        windows = spec.frames * (2 * spec.reach + 1) * (self.spec.inputs_of(spec) // spec.bands)
        return max(spec.units + _COLUMNS, spec.bands * _padded(windows, _COLUMNS))

    @staticmethod
    def padded(weight: np.ndarray) -> tuple[int, int]:
        """Rows and columns that a matrix is padded to."""
        return _padded(weight.shape[0], _SUMS), _padded(weight.shape[1], _COLUMNS)

    def _layer(self, name: str, layer: Layer, affines: list[ctypes.Structure]) -> ctypes.Structure:
        spec = layer.spec
        sources = [
            fill("source", **{"from": seen, "width": self.spec.widths[source], "stride": seen.shape[1]})
            for source in spec.sources
            for seen in (self._outputs[source],)
        ]
        out = self._outputs[name] = self._room(name)
        return fill(
            "layer",
            kind=list(KINDS).index(spec.kind),
            activation=ACTIVATIONS.index(spec.activation),
            floats=not layer.integers,
            frames=spec.frames,
            bands=spec.bands,
            reach=spec.reach,
            inputs=self.spec.inputs_of(spec),
            units=spec.units,
            lean=spec.lean,
            stride=out.shape[1],
            num_sources=len(sources),
            sources=array("source", sources),
            affines=array("affine", affines),
            memory=self.spec.memory[name][0].start,
            full_frame=self.spec.kept[name].start if spec.lean else 0,
            out=out,
        )

    def __call__(
        self,
        features: np.ndarray,
        memory: np.ndarray,
        names: Sequence[str],
        backlog: float = 0.0,
        effort: str = "full",
        given: Mapping[str, np.ndarray] | None = None,
        out: dict[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Run K frames, K <= BLOCK_HOPS.

        Parameters
        ----------
        features : ndarray, shape (K, inputs), float32
        memory : ndarray, shape (n,), float32
            Updated in place.
        names : sequence of str
            The layers whose outputs are wanted.
        backlog, effort
            As for `Network`.
        given : mapping of str to ndarray, shape (K, units), float32
            Outputs of the layers that it does not run and that are seen.
        out : dict of str to ndarray, shape (K, units), float32, or int8 where the values are whole numbers
            Where the named outputs go, and what is returned.

        Returns
        -------
        dict of str to ndarray, shape (K, units), float32, or `out`
        """
        check_effort(backlog, effort)
        count = len(features)
        self.features[:count, : self.spec.inputs] = features
        for name, values in (given or {}).items():
            self._outputs[name][:count, : self.spec.widths[name]] = values
        assert self._library is not None
        if self._library.estimate(self._address, memory.ctypes.data, count, backlog, EFFORTS.index(effort)):
            raise RuntimeError(f"compiled network refuses its structure or {count} frames")
        out = out or {name: np.empty((count, self.spec.widths[name]), np.float32) for name in names}
        for name in names:
            out[name][:] = self._outputs[name][:count, : self.spec.widths[name]]
        return out


def _taking_turns(weight: np.ndarray) -> np.ndarray:
    """Each four rows in pieces of 16, a piece of each row in turn: one stream through memory is faster than four, and
    half of AVX2's vectors is a row's."""
    rows, columns = weight.shape
    return np.ascontiguousarray(weight.reshape(rows // 4, 4, columns // 16, 16).swapaxes(1, 2))


def _padded(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
