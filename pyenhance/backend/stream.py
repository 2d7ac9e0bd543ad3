"""One stream as numpy and compiled code share it, and the compiled calls on it."""

import ctypes
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..dsp import Frames, SignalSpec, SignalState, features, pitch, postfilter, rumble, stft
from ..dsp.constants import HOP, LOUDEST, NUM_BINS, WINDOW
from ..nn.spec import EFFORTS
from .program import Program
from .structures import BLOCK_HOPS, FIELDS, RECENT_HOPS, fill

HEADS = ("gain", "strength", "vad")
"""The layers whose outputs the signal path uses."""

_FACTS = 3  # numbers before the gains


def lean_fields(address: int, offsets: Mapping[str, int]) -> dict[str, Any]:
    """What whoever calls a compiled stream past Python writes before and reads after, where frames may be lean.

    Parameters
    ----------
    address : int
        Of the stream.
    offsets : mapping of str to int
        Where the fields of ``struct stream`` lie in it, in bytes.

    Returns
    -------
    dict
        Addresses of backlog, effort and full_frames, and in `efforts` the number of each.
    """
    places = {name: address + offsets[name] for name in ("backlog", "effort", "full_frames")}
    return places | {"efforts": {effort: number for number, effort in enumerate(EFFORTS)}}


class StreamState:
    """Everything that depends on the past; a new one is a reset.

    Parameters
    ----------
    spec : SignalSpec
    memory : ndarray, shape (memory_size,), float32
        Of the network before the first frame; from then on it is the stream's.

    Attributes
    ----------
    signal : SignalState
    memory : ndarray, shape (memory_size,), float32
        The network's.
    held_gain : ndarray, shape (bands,), float32
        Band gains of the last frame.
    recent : ndarray, shape (RECENT_HOPS, 480), float32
        The last hops of sound, a ring.
    heard : ndarray, shape (1,), int32
        Hops since the beginning, modulo 2^31: where in the ring the next one goes.
    """

    def __init__(self, spec: SignalSpec, memory: np.ndarray) -> None:
        self.signal = SignalState(spec)
        self.memory = memory
        self.held_gain = np.ones(spec.num_bands, np.float32)
        self.recent = np.zeros((RECENT_HOPS, HOP), np.float32)
        self.heard = np.zeros(1, np.int32)

    def parts(self) -> dict[str, np.ndarray]:
        """All arrays by name: a copy of them is a copy of the state."""
        arrays = {**vars(self.signal), **vars(self)}
        return {name: value for name, value in arrays.items() if isinstance(value, np.ndarray) and name != "block"}

    def remember(self, hops: np.ndarray) -> None:
        """Keep these hops, shape (K, 480), among the recent ones."""
        heard = int(self.heard[0]) + len(hops)
        for back, hop in enumerate(hops[: -RECENT_HOPS - 1 : -1], 1):
            self.recent[(heard - back) % RECENT_HOPS] = hop
        self.heard[0] = heard & 0x7FFFFFFF

    def take_over_levels(self, other: "StreamState") -> None:
        """What remembers more than the last hops: the level follower, and how much there is below the voice."""
        for name in ("level", "rumble"):
            getattr(self.signal, name)[:] = getattr(other.signal, name)

    def recent_hops(self) -> np.ndarray:
        """The last hops, oldest first, shape (K, 480), K <= RECENT_HOPS."""
        heard = int(self.heard[0])
        count = min(heard, RECENT_HOPS)
        return self.recent[np.arange(heard - count, heard) % RECENT_HOPS]


class SignalTables:
    """The tables of a signal path and the buffers of its compiled calls.

    Parameters
    ----------
    spec : SignalSpec
    features_buffer : ndarray, shape (BLOCK_HOPS, stride), float32
        Where features go: what a network reads.
    lock : Lock
        Held while the buffers are in use: streams in several threads share them.

    Attributes
    ----------
    spec, lock : as given
    structure : ctypes.Structure
        ``struct signal``.
    arrays : dict of str to ndarray
        What it points to, by field.
    """

    def __init__(self, spec: SignalSpec, features_buffer: np.ndarray, lock: threading.Lock) -> None:
        def zeros(*shape: int, dtype: type = np.float32) -> np.ndarray:
            return np.zeros((BLOCK_HOPS, *shape), dtype)

        self.spec = spec
        self.lock = lock
        bands, remembered = spec.num_bands, spec.lookahead_frames + BLOCK_HOPS
        turns = np.exp(-2j * np.pi * np.arange(WINDOW) / WINDOW).astype(np.complex64)
        mend_low, mend = rumble.mending()
        self.arrays: dict[str, np.ndarray] = {
            "window": stft.VORBIS_WINDOW,
            "roots": turns,
            "filter": pitch.DECIMATION_FILTER,
            "bias": pitch.LAG_BIAS,
            "step_cost": np.ascontiguousarray(pitch.STEP_COST.T),
            "taps": spec.taps,
            "peak": spec.band_centres.astype(np.int32),
            "poles": rumble.POLES,
            "shares": rumble.SHARES,
            "mend_low": mend_low,
            "mend": mend,
            "spectra": np.zeros((remembered, NUM_BINS), np.complex64),
            "untouched": zeros(NUM_BINS, dtype=np.complex64),
            "energies": np.zeros((remembered, bands), np.float32),
            "comb_spectra": zeros(NUM_BINS, dtype=np.complex64),
            "coherence": zeros(bands),
            "period": zeros(dtype=np.int32),
            "correlation": zeros(),
            "features": features_buffer,
            "gain": zeros(bands),
            "strength": zeros(bands),
            "shaped": np.zeros(NUM_BINS, np.complex64),
        }
        self.structure = fill(
            "signal",
            bands=bands,
            ahead=spec.lookahead_frames,
            fine=spec.fine_bins,
            history=spec.history_samples,
            loudest=LOUDEST,
            jump=pitch.JUMP,
            norm_floor=pitch.NORM_FLOOR,
            level_memory=features.LEVEL_MEMORY,
            level_floor=features.LEVEL_FLOOR,
            energy_floor=float(features.ENERGY_FLOOR),
            beta=float(postfilter.BETA),
            rumble_memory=rumble.MEMORY,
            rumble_floor=rumble.FLOOR,
            rumble_comes_in=rumble.COMES_IN,
            rumble_goes_out=rumble.GOES_OUT,
            direct=rumble.DIRECT,
            feature_stride=features_buffer.shape[1],
            **self.arrays,
        )


class CompiledStream:
    """The compiled calls on one stream.

    Parameters
    ----------
    library : ctypes library or None
        See `library.load_library`; without one there are structures and no calls.
    tables : SignalTables
    program : Program or None
        The network; without one there is no `process`.
    state : StreamState
        Worked on in place.

    Attributes
    ----------
    input, output : ndarray, shape (BLOCK_HOPS, 480), float32
    facts : ndarray, shape (3 + bands,), float32
        Of the last hop: pitch period in samples, pitch correlation, voice activity, band gains.
    entry, address : int
        The function ``process`` and the structure to call it with: process(address, hops).
    """

    def __init__(
        self, library: ctypes.CDLL | None, tables: SignalTables, program: Program | None, state: StreamState
    ) -> None:
        self._calls, self._tables = library, tables
        signal, bands = state.signal, tables.spec.num_bands
        self.input = np.zeros((BLOCK_HOPS, HOP), np.float32)
        self.output = np.zeros((BLOCK_HOPS, HOP), np.float32)
        self.facts = np.zeros(_FACTS + bands, np.float32)
        self.structure = fill(
            "stream",
            signal=tables.structure,
            network=program.structure if program else None,
            **{head: program.layers[head] if program else None for head in HEADS},
            samples=signal.samples,
            spectra=signal.spectra,
            energies=signal.energies,
            decimated=signal.decimated,
            score=signal.score,
            previous=signal.previous,
            level=signal.level,
            tail=signal.tail,
            sections=signal.sections,
            rumble=signal.rumble,
            filtered=signal.filtered,
            raw=signal.raw,
            memory=state.memory,
            held_gain=state.held_gain,
            recent=state.recent,
            heard=state.heard,
            input=self.input,
            output=self.output,
            facts=self.facts,
            dry=0.0,
            backlog=0.0,
            effort=EFFORTS.index("full"),
            full_frames=0,
        )
        self.address = ctypes.addressof(self.structure)
        self.entry = 0 if library is None else ctypes.cast(library.process, ctypes.c_void_p).value or 0

    @property
    def _library(self) -> ctypes.CDLL:
        assert self._calls is not None
        return self._calls

    @property
    def dry(self) -> float:
        """Share of the spectrum as it came in the result."""
        return float(self.structure.dry)

    @dry.setter
    def dry(self, value: float) -> None:
        self.structure.dry = value

    @property
    def lean_fields(self) -> dict[str, Any]:
        """See the function of this name."""
        fields = {name: getattr(type(self.structure), name).offset for name in FIELDS["stream"]}
        return lean_fields(self.address, fields)

    @property
    def full_frames(self) -> int:
        """Of the last `process`: frames on which all of the network ran."""
        return int(self.structure.full_frames)

    def process(self, hops: np.ndarray, backlog: float = 0.0, effort: str = "full") -> np.ndarray:
        """Enhance K <= BLOCK_HOPS hops, shape (K, 480), and leave the facts of the last in `facts`.

        backlog and effort are as for `nn.Network`, and stay for those who call past this object.
        """
        count = len(hops)
        self.structure.backlog, self.structure.effort = backlog, EFFORTS.index(effort)
        with self._tables.lock:
            self.input[:count] = hops
            self._checked(self._library.process(self.address, count))
        return self.output[:count].copy()

    def analyse(self, hops: np.ndarray) -> Frames:
        """As `dsp.analyse`, K <= BLOCK_HOPS."""
        count, arrays, spec = len(hops), self._tables.arrays, self._tables.spec
        with self._tables.lock:
            self.input[:count] = hops
            self._checked(self._library.analyse(self.address, count))
            return Frames(
                arrays["spectra"][:count].copy(),
                arrays["comb_spectra"][:count].copy(),
                arrays["untouched"][:count].copy(),
                arrays["energies"][:count].copy(),
                arrays["coherence"][:count].copy(),
                arrays["period"][:count].astype(np.intp),
                arrays["correlation"][:count].copy(),
                arrays["features"][:count, : spec.num_features].copy(),
            )

    def synthesise(
        self, frames: Frames, gain: np.ndarray, strength: np.ndarray | None, *, dry: float, postfilter: bool
    ) -> np.ndarray:
        """As `dsp.synthesise`, K <= BLOCK_HOPS."""
        count, arrays = len(gain), self._tables.arrays
        with self._tables.lock:
            arrays["spectra"][:count], arrays["energies"][:count] = frames.spectrum, frames.energy
            arrays["untouched"][:count] = frames.untouched
            arrays["gain"][:count] = gain
            if strength is not None:
                arrays["comb_spectra"][:count], arrays["strength"][:count] = frames.comb_spectrum, strength
            self.dry, before = dry, self.dry
            self._checked(self._library.synthesise(self.address, count, strength is not None, postfilter))
            self.dry = before
        return self.output[:count].copy()

    def _checked(self, status: int) -> None:
        if status:
            raise RuntimeError("compiled code refuses its structures: they were made for another library")


def compiled_analyser(spec: SignalSpec, library: ctypes.CDLL) -> Callable[[np.ndarray], Frames]:
    """`dsp.analyse` of a new stream: hops, shape (K, 480), K >= 1, to their frames. Sums may be rounded otherwise."""
    tables = SignalTables(spec, np.zeros((BLOCK_HOPS, spec.num_features), np.float32), threading.Lock())
    stream = CompiledStream(library, tables, None, StreamState(spec, np.zeros(0, np.float32)))

    def analyse(hops: np.ndarray) -> Frames:
        blocks = [stream.analyse(hops[k : k + BLOCK_HOPS]) for k in range(0, len(hops), BLOCK_HOPS)]
        return Frames(*(np.concatenate(parts) for parts in zip(*(vars(b).values() for b in blocks), strict=True)))

    return analyse
