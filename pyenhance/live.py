"""The browser's only door to Python: `answer`.

For live sound it opens fixed blocks of memory, so that no array crosses per hop.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from .audio import AudioStream
from .dsp import HOP, LOUDEST, SAMPLE_RATE
from .enhancer import Enhancer
from .model import apply_diffs, forget_model, load_model

if TYPE_CHECKING:
    from .lab import Lab
    from .model.adapt import Adaptation

_WARM_UP_HOPS = 40


class LiveEngine:
    """An enhancer between fixed blocks of memory.

    Where all of it is compiled, a hop may also go past Python: ``entry`` is a function of WebAssembly's table, to be
    called with ``address`` and the number of hops, in the place of `run(hops)`. Both do the same to the same state.

    Parameters
    ----------
    model : str
        Name of a shipped model or path of a weights file.
    max_hops : int
        Most hops of one `run`.
    kernel : str, optional
        See `load_model`.

    Attributes
    ----------
    latency_samples : int
        By which the output is late.
    num_bands : int
    input, output : ndarray, shape (max_hops * 480,), float32
        Written by the caller before `run`, read after it. Never reallocated, but by `change`.
    facts : ndarray, shape (3 + num_bands,), float32
        Of the last hop: pitch period in samples, pitch correlation, voice activity in [0, 1], the band gains.
    entry, address : int
        0 where the hops must pass through `run`.
    lean : dict or None
        Where `entry` may be called and the model has lean layers, what is to be written before and read after
        (`backend.stream.lean_fields`).
    """

    def __init__(self, model: str = "default", max_hops: int = 16, kernel: str | None = None) -> None:
        if max_hops < 1:
            raise ValueError(f"max_hops is {max_hops}; accepted: 1 or more")
        self.enhancer = Enhancer(load_model(model, kernel))
        self.max_hops = max_hops
        self._kernel = kernel
        self._lay_out()

    def change(self, model: str) -> None:
        """Go on with another model from the next hop on; see `Enhancer.switch`.

        The blocks are others from then on, and the next hops must pass through `run`, once.
        """
        self.enhancer.switch(load_model(model, self._kernel))
        self._lay_out()

    def _lay_out(self) -> None:
        """The blocks, which are the compiled stream's own where there is one."""
        signal, compiled = self.enhancer.model.signal, self.enhancer.compiled
        self.lean: dict[str, Any] | None = None
        self.latency_samples, self.num_bands = signal.latency_samples, signal.num_bands
        if compiled is not None and self.max_hops <= len(compiled.input):
            self.input, self.output, self.facts = compiled.input.ravel(), compiled.output.ravel(), compiled.facts
            self.entry, self.address = compiled.entry, compiled.address
            if self.enhancer.model.network.spec.has_lean:
                self.lean = compiled.lean_fields
        else:
            self.input, self.output = (np.zeros(self.max_hops * HOP, np.float32) for _ in range(2))
            self.facts = np.zeros(3 + self.num_bands, np.float32)
            self.entry = self.address = 0

    def state(self) -> dict[str, np.ndarray]:
        """What the stream remembers, by the names of `StreamState.parts`: copies, uint8."""
        return {name: np.array(array).ravel().view(np.uint8) for name, array in self.enhancer.state.parts().items()}

    def take_over(self, state: Mapping[str, Any]) -> None:
        """Go on with a stream that the same compiled code has enhanced elsewhere.

        Parameters
        ----------
        state : mapping of str to bytes
            What it remembers, by the names of `StreamState.parts`.

        Raises
        ------
        ValueError
            It was another model's.
        """
        own = self.enhancer.state.parts()
        sizes = {name: memoryview(data).nbytes for name, data in state.items()}
        expected = {name: array.nbytes for name, array in own.items()}
        if sizes != expected:
            raise ValueError(f"state of {sizes}; accepted: {expected}")
        for name, data in state.items():
            own[name][...] = np.frombuffer(data, own[name].dtype).reshape(own[name].shape)

    @property
    def strength_db(self) -> float | None:
        """As of `Enhancer`."""
        return self.enhancer.strength_db

    @strength_db.setter
    def strength_db(self, value: float | None) -> None:
        self.enhancer.strength_db = value

    def run(self, hops: int, lean: bool = False, backlog: float = 0.0) -> int:
        """Enhance the first `hops` hops of `input` into `output`, `latency_samples` late.

        A sample that is no number of at most `dsp.LOUDEST` counts as silence: a live stream must go on.

        Parameters
        ----------
        hops : int
        lean : bool
            See `Enhancer.process_hops`.
        backlog : float
            Hops that wait behind these: of a model with lean layers no frame is full then.

        Returns
        -------
        int: how many of them were lean.

        Raises
        ------
        ValueError
            `hops` outside 1..max_hops, or `backlog` negative or no finite number.
        """
        if not 1 <= hops <= self.max_hops:
            raise ValueError(f"hops is {hops}; accepted: 1 to {self.max_hops}")
        block = _bounded(self.input[: hops * HOP])
        before = self.enhancer.lean_hops
        enhanced = self.enhancer.process_hops(block.reshape(hops, HOP), lean=lean, backlog=backlog)
        self.output[: hops * HOP] = enhanced.ravel()
        facts = self.enhancer.last_hop
        self.facts[:3], self.facts[3:] = facts[:3], facts.gain
        return self.enhancer.lean_hops - before


def _bounded(x: np.ndarray) -> np.ndarray:
    """The samples, those that are no numbers of at most LOUDEST silent. To sum costs less than to ask for each."""
    if np.einsum("n,n->", x, x) <= LOUDEST**2:  # which NaN is not
        return x
    return np.where(np.abs(x) <= LOUDEST, x, np.float32(0))


_recordings: dict[int, AudioStream] = {}
_adaptations: dict[int, "Generator[tuple[int, int], None, Adaptation]"] = {}
_lab: "Lab | None" = None


def _warm_up(model: str, kernel: str | None = None) -> dict[str, Any]:
    """Load a model and run it until the browser has compiled what is slow at first; its facts."""
    engine = LiveEngine(model, kernel=kernel)
    for _ in range(_WARM_UP_HOPS):
        engine.run(1)
    loaded = engine.enhancer.model
    return {
        "model": loaded.name,
        "kernel": loaded.backend.network,
        "signal_kernel": loaded.backend.signal,
        "why_not": loaded.backend.why_not,
        "weights": loaded.weights,
        "latency_samples": engine.latency_samples,
        "num_bands": engine.num_bands,
    }


def _write_image(weights: Any) -> dict[str, Any]:
    """Check a weights file; the name that it goes by, and its image."""
    from .model.image import write_image

    weights = bytes(weights)
    model = load_model(weights)
    return {"model": model.name, "sha256": sha256(weights).hexdigest(), **_as_bytes(image=write_image(model))}


def _apply_diffs(base: Any, diffs: Sequence[Any]) -> dict[str, Any]:
    """The weights file that diffs lead to, its sum and its image."""
    weights = apply_diffs(bytes(base), [bytes(diff) for diff in diffs])
    made = _write_image(weights)
    return {"sha256": made["sha256"], "image": made["image"], **_as_bytes(weights=weights)}


def _as_bytes(**named: bytes) -> dict[str, np.ndarray]:
    """As they cross: text and lists of numbers would be something else."""
    return {name: np.frombuffer(data, np.uint8) for name, data in named.items()}


def _enhance_piece(
    recording: int, channels: Sequence[Any], last: bool, model: str, strength_db: float | None
) -> list[np.ndarray]:
    """More of a recording, at 48 kHz; what is ready of each channel, the delay removed. The last piece ends it."""
    if recording not in _recordings:
        _recordings[recording] = AudioStream(SAMPLE_RATE, len(channels), model=model, strength_db=strength_db)
    block = np.stack([_bounded(np.asarray(channel, np.float32)) for channel in channels], axis=1)
    return [np.ascontiguousarray(channel) for channel in _recordings[recording].process(block, last=last).T]


def _end_recording(recording: int) -> None:
    _recordings.pop(recording, None)


def _begin_adapting(adaptation: int, model: str, voice: Any, noise: Any, summary: Any) -> None:
    from .model.adapt import adapt_steps

    voice, noise = (np.asarray(sound, np.float32) for sound in (voice, noise))
    _adaptations[adaptation] = adapt_steps(model, voice, noise, summary=bytes(summary))


def _adapt_step(adaptation: int) -> dict[str, Any]:
    """One more step: steps done and in all; after the last one the result."""
    if adaptation not in _adaptations:
        raise ValueError(f"adaptation {adaptation} is not under way; accepted: begin_adapting first")
    try:
        done, total = next(_adaptations[adaptation])
    except StopIteration as end:
        return {"result": _adapted(end.value)}
    return {"done": done, "total": total}


def _adapted(found: "Adaptation") -> dict[str, Any]:
    from .measure import SI_SDR_MARGIN_DB

    ratios = [clip["si_sdr"] for clip in found.clips]
    before, after = ({name: pair[i] for name, pair in found.figures.items()} for i in (0, 1))
    return {
        "sha256": sha256(found.weights).hexdigest(),
        "figures": {
            "before": before,
            "after": after,
            "clips": len(ratios),
            "better": sum(new > old for old, new in ratios),
            "fell": sum(new < old - SI_SDR_MARGIN_DB for old, new in ratios),
        },
        "sounds": found.sounds,
        **_as_bytes(diff=found.diff, weights=found.weights),
    }


def _end_adapting(adaptation: int) -> None:
    _adaptations.pop(adaptation, None)


def _make_update(base: Any, diff: Any, summary: Any, clip: float, noise_multiplier: float) -> dict[str, Any]:
    """What may leave the device of a diff, and what is in it."""
    from .federated.update import describe, make_update, read_update

    files = (bytes(given) for given in (base, diff, summary))
    update = make_update(*files, clip=clip, noise_multiplier=noise_multiplier)
    return {"facts": describe(read_update(update), update), **_as_bytes(update=update)}


def _bench(**arguments: Any) -> dict[str, Any]:
    from .bench import benchmark

    return benchmark(**arguments)


def _picture(sound: Any, columns: int | None = None) -> dict[str, Any]:
    from .lab import picture

    levels = picture(np.asarray(sound), **({} if columns is None else {"columns": columns}))
    return {"data": levels.ravel(), "shape": list(levels.shape)}


def _open_lab(noisy: Any, clean: Any, model: str) -> None:
    global _lab
    from .lab import Lab

    _lab = Lab(noisy, clean, model)


def _opened() -> "Lab":
    if _lab is None:
        raise ValueError("no sound is on the bench; accepted: open_lab first")
    return _lab


def _source(name: str) -> str:
    from .lab import Lab

    return Lab.source(name)


def _run_step(step: str, bands: int, comb: float) -> dict[str, Any]:
    sound = _opened().run(step, bands=bands, comb=comb)
    return {"sound": sound, "si_sdr": _opened().si_sdr(sound), **_picture(sound)}


CALLS: dict[str, Callable[..., Any]] = {
    "warm_up": _warm_up,
    "open_live": LiveEngine,
    "write_image": _write_image,
    "apply_diffs": _apply_diffs,
    "forget_model": forget_model,
    "enhance_piece": _enhance_piece,
    "end_recording": _end_recording,
    "begin_adapting": _begin_adapting,
    "adapt_step": _adapt_step,
    "end_adapting": _end_adapting,
    "make_update": _make_update,
    "bench": _bench,
    "picture": _picture,
    "open_lab": _open_lab,
    "run_step": _run_step,
    "source": _source,
    "edit": lambda name, source: _opened().edit(name, source),
}
"""All that the page's worker asks for, by name (`site/engine/python.js`)."""


def answer(name: str, arguments: Mapping[str, Any]) -> Any:
    """Answer one question of the worker's.

    Parameters
    ----------
    name : str
        Of `CALLS`.
    arguments : mapping
        Of that function, by name; sounds as float32 buffers.

    Returns
    -------
    None, float, str, list, dict or ndarray, which cross as plain values; or a `LiveEngine`

    Raises
    ------
    ValueError
        No such call, and what the functions themselves refuse.
    """
    if name not in CALLS:
        raise ValueError(f"call {name!r} is unknown; accepted: {', '.join(CALLS)}")
    return CALLS[name](**arguments)
