"""What is scored: the untouched clip, our models, the oracle, and peers as their packages ship them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dsp
from ..align import enhance_aligned, padded, trimmed
from ..audio import enhance
from ..dsp import HOP, SAMPLE_RATE, SignalSpec, SignalState
from ..enhancer import Enhancer

System = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(noisy, clean), float32 (n,) at 48 kHz -> enhanced (n,), its delay removed. Only the oracle looks at `clean`."""

RECORDING = "recording:"
"""Before a model's name: see `system`."""

PEERS = ("rnnoise", "webrtc")
_WEBRTC_RATE, _WEBRTC_STRONGEST = 16_000, 4


def system(name: str) -> System:
    """A system by name: "noisy", "oracle", one of `PEERS`, or a model's name or weights file.

    A model enhances clips as live sound, of which it knows nothing before the first hop, by turns if it has lean
    frames, unless it takes whole recordings alone; with `RECORDING` before its name, as recordings, whose beginning is
    heard first, and of which all frames are full.

    Raises
    ------
    ValueError
        The model is unknown.
    ImportError
        A peer's package is missing.
    """
    known = {"noisy": lambda noisy, clean: noisy, "oracle": _oracle, "rnnoise": _rnnoise, "webrtc": _webrtc}
    if name in known:
        if name in PEERS:
            _peer_module(name)
        return known[name]
    from ..model import load_model

    model = load_model(name.removeprefix(RECORDING))
    if name.startswith(RECORDING) or model.whole_recordings:
        return lambda noisy, clean: enhance(noisy, SAMPLE_RATE, model=model)
    return lambda noisy, clean: enhance_aligned(Enhancer(model, effort="auto"), noisy)


def _oracle(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Ideal gains and comb strengths from the clean reference, at the delay and with the pitch of the real thing."""
    spec = SignalSpec()
    frames, gain, strength = dsp.ideal(spec, *(padded(x, spec.latency_samples, HOP) for x in (noisy, clean)))
    y = dsp.synthesise(spec, SignalState(spec), frames, gain, strength, postfilter=False)
    return trimmed(y, len(noisy), spec.latency_samples)


def _peer_module(name: str) -> Any:
    try:
        if name == "rnnoise":
            from pyrnnoise import rnnoise as module
        else:
            import webrtc_noise_gain as module
    except ImportError as error:
        raise ImportError(f"{name} needs {error.name}: pip install 'pyenhance[eval]'") from error
    return module


def _rnnoise(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    module = _peer_module("rnnoise")
    state = module.create()
    try:
        samples = np.clip(np.rint(noisy * 32767), -32768, 32767).astype(np.int16)
        whole = padded(samples, HOP, HOP)  # its delay is shorter
        hops = [module.process_mono_frame(state, hop)[0] for hop in whole.reshape(-1, HOP)]
    finally:
        module.destroy(state)
    return _aligned(np.concatenate(hops).astype(np.float32) / 32768, noisy)


def _webrtc(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    import soxr

    processor = _peer_module("webrtc").AudioProcessor(0, _WEBRTC_STRONGEST)
    x = soxr.resample(noisy, SAMPLE_RATE, _WEBRTC_RATE)
    samples = np.clip(np.rint(x * 32767), -32768, 32767).astype(np.int16)
    hop = _WEBRTC_RATE // 100
    whole = padded(samples, 2 * hop, hop)
    out = b"".join(processor.Process10ms(piece.tobytes()).audio for piece in whole.reshape(-1, hop))
    y = soxr.resample(np.frombuffer(out, np.int16).astype(np.float32) / 32768, _WEBRTC_RATE, SAMPLE_RATE)
    return _aligned(y, noisy)


def _aligned(y: np.ndarray, noisy: np.ndarray, most: int = SAMPLE_RATE // 10) -> np.ndarray:
    """Remove a peer's delay, found by cross-correlation with its input, at most 0.1 s."""
    size = 1 << (len(y) + len(noisy)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(y, size) * np.conj(np.fft.rfft(noisy, size)), size)
    delay = int(np.argmax(correlation[:most]))
    y = y[delay : delay + len(noisy)]
    return np.concatenate((y, np.zeros(len(noisy) - len(y), np.float32)))
