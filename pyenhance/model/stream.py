"""A model on one stream: each half of the path by numpy or by compiled code, whichever the model's backend names."""

import ctypes
import threading
from typing import NamedTuple

import numpy as np

from .. import dsp
from ..backend import (
    BLOCK_HOPS,
    HEADS,
    NUMPY,
    Backend,
    CompiledStream,
    Program,
    SignalTables,
    StreamState,
    WholeProgram,
)
from ..backend.library import load_library
from ..dsp import Frames, SignalSpec
from ..nn import Network, choose


class HopFacts(NamedTuple):
    """What was found in one hop.

    Attributes
    ----------
    pitch_period : float, samples; 0 where none was looked for
    pitch_corr : float, in [0, 1]
    voice : float
        Voice activity, in [0, 1].
    gain : ndarray, shape (bands,), float32, in [0, 1]
    """

    pitch_period: float
    pitch_corr: float
    voice: float
    gain: np.ndarray


class Runner:
    """What the streams of one model share: its numpy functions, and the tables of its compiled ones.

    Parameters
    ----------
    signal : SignalSpec
    network : Network
    backend : Backend

    Attributes
    ----------
    program : Program or None
        The compiled network, of models that run streams.
    whole : WholeProgram or None
        The same of models that hear whole recordings.
    tables : SignalTables or None
        The compiled signal path; it writes its features where the program reads them.
    """

    # Made at once, not on first use: two threads that begin together must not mix tables and programs.
    def __init__(self, signal: SignalSpec, network: Network, backend: Backend) -> None:
        self.signal, self.network, self.backend = signal, network, backend
        self.lock = threading.Lock()  # streams in several threads share the buffers of the compiled calls
        self.program: Program | None = None
        self.whole: WholeProgram | None = None
        self.tables: SignalTables | None = None
        if backend.network != NUMPY:
            library = _library(backend.network)
            if network.spec.whole_recordings:
                self.whole = WholeProgram(network, library)
            else:
                self.program = Program(network, library)
        if backend.signal != NUMPY:
            features = (
                self.program.features if self.program else np.zeros((BLOCK_HOPS, signal.num_features), np.float32)
            )
            self.tables = SignalTables(signal, features, self.lock)

    def layers(
        self,
        features: np.ndarray,
        memory: np.ndarray,
        names: tuple[str, ...],
        backlog: float = 0.0,
        effort: str = "full",
        ahead: int = 0,
    ) -> dict[str, np.ndarray]:
        """Outputs of the named layers over K frames, shapes (K, units); the rest is as for `Network`.

        Compiled code takes frames ahead of models that hear whole recordings: others need none.
        """
        if self.whole is not None:
            with self.lock:
                return self.whole(features, memory, names, ahead, backlog)
        if self.program is None:
            outputs = self.network(features, memory, backlog, effort, ahead=ahead, names=names)
            return {name: outputs[name] for name in names}
        blocks = [features[i : i + BLOCK_HOPS] for i in range(0, len(features), BLOCK_HOPS)]
        with self.lock:
            parts = [self.program(block, memory, names, backlog, effort) for block in blocks]
        return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in names}


def _library(kernel: str) -> ctypes.CDLL:
    library = load_library(kernel)
    if isinstance(library, str):
        raise RuntimeError(f"kernel {kernel!r}: {library}")
    return library


class ModelStream:
    """The steps from hops to enhanced hops, all on one state.

    Parameters
    ----------
    runner : Runner
    state : StreamState
        Worked on in place.

    Attributes
    ----------
    full_frames : int
        Of the last call of `process` or `estimate`: frames on which all of the network ran.
    """

    def __init__(self, runner: Runner, state: StreamState) -> None:
        self._runner, self.state, self._spec = runner, state, runner.signal
        self.full_frames = 0
        self.compiled: CompiledStream | None = None
        self.whole: CompiledStream | None = None  # the same, where the network is part of it
        if runner.tables is not None:
            library = _library(runner.backend.signal)
            alike = runner.program is not None and runner.backend.signal == runner.backend.network
            self.compiled = CompiledStream(library, runner.tables, runner.program if alike else None, state)
            self.whole = self.compiled if alike else None

    def process(
        self, hops: np.ndarray, dry: float, backlog: float = 0.0, effort: str = "full"
    ) -> tuple[np.ndarray, HopFacts]:
        """Enhance K hops; see `Enhancer.process_hops`, and `nn.Network` of backlog and effort."""
        if self.whole is None:
            frames = self.analyse(hops)
            gain, strength, vad = self.estimate(frames.features, backlog, effort)
            facts = self.finish(hops, frames, gain, float(vad[-1]))
            return self.synthesise(frames, gain, strength, dry=dry), facts
        compiled = self.whole
        compiled.dry = dry
        parts = []
        self.full_frames = 0
        for i in range(0, len(hops), BLOCK_HOPS):
            parts.append(compiled.process(hops[i : i + BLOCK_HOPS], backlog, effort))
            self.full_frames += compiled.full_frames
        period, corr, voice = compiled.facts[:3].tolist()
        return parts[0] if len(parts) == 1 else np.concatenate(parts), HopFacts(
            period, corr, voice, compiled.facts[3:].copy()
        )

    def lead_in(self, hops: np.ndarray) -> None:
        """Begin as one who has heard K hops already: so loud, so much rumble, and what the network remembers of them.

        Nothing of their sound goes into what follows. Shape (K, 480), float32.
        """
        heard = ModelStream(self._runner, StreamState(self._spec, self._runner.network.new_memory()))
        heard.estimate(heard.analyse(hops).features)
        self.state.memory[:] = heard.state.memory
        self.state.take_over_levels(heard.state)

    def finish(self, hops: np.ndarray, frames: Frames, gain: np.ndarray, voice: float) -> HopFacts:
        """Remember what the steps do not: the sound, and the gains. Returns the facts of the last hop."""
        self.state.remember(hops)
        self.state.held_gain[:] = gain[-1]
        return HopFacts(float(frames.pitch_period[-1]), float(frames.pitch_corr[-1]), voice, gain[-1])

    def analyse(self, hops: np.ndarray) -> Frames:
        """`dsp.analyse` of K hops."""
        if self.compiled is None:
            return dsp.analyse(self._spec, self.state.signal, hops)
        parts = [self.compiled.analyse(hops[i : i + BLOCK_HOPS]) for i in range(0, len(hops), BLOCK_HOPS)]
        if len(parts) == 1:
            return parts[0]
        return Frames(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))

    def estimate(
        self, features: np.ndarray, backlog: float = 0.0, effort: str = "full", ahead: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gains and strengths, shape (K, bands), and voice activity, shape (K,), all in [0, 1]; see `nn.Network`."""
        spec, memory = self._runner.network.spec, self.state.memory
        self.full_frames = len(features)
        if spec.has_lean:
            self.full_frames = int(choose(memory[spec.turn], len(features), backlog, effort).sum())
        outputs = self._runner.layers(features, memory, HEADS, backlog, effort, ahead)
        return outputs["gain"], outputs["strength"], outputs["vad"][:, 0]

    def synthesise(
        self,
        frames: Frames,
        gain: np.ndarray,
        strength: np.ndarray | None,
        *,
        dry: float = 0.0,
        postfilter: bool = True,
    ) -> np.ndarray:
        """`dsp.synthesise` of K frames."""
        if self.compiled is None:
            return dsp.synthesise(self._spec, self.state.signal, frames, gain, strength, dry=dry, postfilter=postfilter)
        parts = []
        for first in range(0, len(gain), BLOCK_HOPS):
            rows = slice(first, first + BLOCK_HOPS)
            part = Frames(*(value[rows] for value in vars(frames).values()))
            of_comb = None if strength is None else strength[rows]
            parts.append(self.compiled.synthesise(part, gain[rows], of_comb, dry=dry, postfilter=postfilter))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
