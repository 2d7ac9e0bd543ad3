"""Random noisy speech with its clean target: what a microphone may hear, and what should be left of it."""

import io
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, rfft
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

from ..dsp import HOP, SAMPLE_RATE
from ..samples import active_rms
from .corpus import Corpus
from .counterfactual import SEXES, check_share, other_voice
from .floor import without_floor

_CODECS = (("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"))

_LEAST = SAMPLE_RATE // 10  # samples of an utterance that are left of it
_PERIOD = 1 << 16  # samples of a table; taking the nearest costs the 39th harmonic an error of -59 dB

EARLY_SECONDS = 0.05
"""Reflections that the target keeps."""


@dataclass(frozen=True)
class Mix:
    """One training sequence.

    Attributes
    ----------
    noisy, clean : ndarray, shape (n,), float32
    bandwidth_hz : float
        Of the speech, as measured: targets above it cannot be trusted.
    snr_db : float
        inf when nothing was added.
    speaker : str
        As the corpus names who talks; the first one, where a second one talks too.
    """

    noisy: np.ndarray
    clean: np.ndarray
    bandwidth_hz: float
    snr_db: float
    speaker: str


class Mixer:
    """Endless source of mixes.

    Parameters
    ----------
    corpus : Corpus
    seconds : float
        Length of each mix.
    counterfactual : float
        Share of the talkers who speak with a voice of the other sex, of those whose sex the corpus tells. All else of a
        mix is the same whatever the share.
    floor : bool
        Whether the target keeps the steady noise of its recordings.

    Raises
    ------
    ValueError
        A share outside 0 to 1, or one above 0 where the corpus tells nobody's sex.
    ImportError
        A share above 0, and pyworld is not installed.
    """

    def __init__(self, corpus: Corpus, seconds: float = 10.0, counterfactual: float = 0.0, floor: bool = True) -> None:
        check_share(counterfactual)
        # Before a recording is asked for: to decode them all takes minutes.
        if counterfactual and corpus.sexes.isdisjoint(SEXES):
            raise ValueError(
                f"counterfactual share is {counterfactual}, but no voice's sex is known; accepted: a "
                f"manifest_speech.csv with the column sex ({', '.join(SEXES)})"
            )
        self.corpus = corpus
        self.counterfactual = counterfactual
        self.floor = floor
        self.length = int(seconds * SAMPLE_RATE) // HOP * HOP
        self._names = sorted(corpus.speakers)
        seconds_of = np.array([sum(c.length for c in corpus.speakers[n]) for n in self._names], float)
        # Between by-speaker and by-hour: rare speakers are heard often, long ones are not wasted.
        self._weights = np.sqrt(seconds_of) / np.sqrt(seconds_of).sum()

    def mix(self, rng: np.random.Generator) -> Mix:
        """Draw one mix; the same generator state gives the same mix."""
        speech, bandwidth, speaker = self._speech(rng)
        speech = _tilt(rng, speech)
        clean, wet = self._room(rng, speech)
        noise = np.zeros(self.length, np.float32)
        snr_db = np.inf
        level = active_rms(wet)
        if rng.random() < 0.96:
            noise = self._noise(rng)
            snr_db = float(rng.uniform(-6, 25) if rng.random() < 0.85 else rng.uniform(25, 45))
            reference = np.sqrt(np.mean(noise**2)) + 1e-9
            noise *= (level if level > 0 else 0.05) / reference * 10 ** (-snr_db / 20)
        if rng.random() < 0.04:  # nobody speaks
            clean, wet = np.zeros_like(clean), np.zeros_like(wet)
        noisy = wet + noise
        if rng.random() < 0.2:
            cut_hz = rng.choice([4000, 6000, 8000, 12000, 16000]) * rng.uniform(0.85, 1.0)
            sos = butter(8, cut_hz, fs=SAMPLE_RATE, output="sos")
            noisy, clean = (sosfilt(sos, x).astype(np.float32) for x in (noisy, clean))
            bandwidth = min(bandwidth, 0.95 * cut_hz)
        target_rms = 10 ** (rng.uniform(-50, -12) / 20) if rng.random() < 0.3 else 10 ** (rng.uniform(-32, -17) / 20)
        scale = target_rms / (active_rms(noisy) + 1e-9)
        noisy, clean = noisy * np.float32(scale), clean * np.float32(scale)
        if rng.random() < 0.03:
            noisy = np.clip(noisy, *(np.quantile(noisy, [0.002, 0.998]) * rng.uniform(0.5, 1.0)))
        noisy = np.clip(noisy, -1, 1)
        if rng.random() < 0.3:
            noisy = np.rint(noisy * 32768) / np.float32(32768)
        elif rng.random() < 0.08:
            noisy = _coded(rng, noisy)
        return Mix(noisy.astype(np.float32), clean.astype(np.float32), bandwidth, snr_db, speaker)

    def _speech(self, rng: np.random.Generator) -> tuple[np.ndarray, float, str]:
        """Utterances of one speaker with pauses; sometimes a second speaker talks too."""
        x, bandwidth, speaker = self._talker(rng)
        if rng.random() < 0.06:
            other, other_bandwidth, _ = self._talker(rng)
            x += other * np.float32(10 ** (rng.uniform(-12, 0) / 20) * active_rms(x) / (active_rms(other) + 1e-9))
            bandwidth = min(bandwidth, other_bandwidth)
        return x, bandwidth, speaker

    def _talker(self, rng: np.random.Generator, vary: bool = True) -> tuple[np.ndarray, float, str]:
        """One speaker's utterances; `vary`: often at another pitch and tempo, which makes many speakers of few.

        With `vary`, too, a share of the speakers is of the other sex.
        """
        speaker = self._names[rng.choice(len(self._names), p=self._weights)]
        clips = self.corpus.speakers[speaker]
        speed = rng.uniform(0.85, 1.18) if rng.random() < 0.6 else 1.0
        voice = (rng.uniform(-4, 4), rng.uniform(0.85, 1.2)) if vary and rng.random() < 0.4 else None
        # A coin that takes nothing from the generator: what is drawn after it is the same at every share.
        swap = vary and np.random.Generator(rng.bit_generator.jumped()).random() < self.counterfactual
        out = np.zeros(self.length, np.float32)
        position = 0 if rng.random() < 0.5 else int(rng.exponential(0.7) * SAMPLE_RATE)
        bandwidth = SAMPLE_RATE / 2
        while position < self.length:
            clip = clips[rng.integers(len(clips))]
            x = self.corpus.read("speech", clip)
            if position == 0:  # in the middle of a word
                x = x[rng.integers(max(1, len(x) - _LEAST)) :]
            # No more than is heard: the next lines are the dear ones.
            x = x[: int((self.length - position) * speed * (voice[1] if voice else 1)) + _LEAST]
            clip_bandwidth = clip.bandwidth_hz
            if swap and clip.sex in SEXES:
                x, clip_bandwidth = other_voice(x, clip.sex, clip_bandwidth)
            x = _change_speed(x, speed)
            if voice:
                x = _change_voice(x, *voice, clip_bandwidth * speed)
            n = min(len(x), self.length - position)
            out[position : position + n] = x[:n]
            bandwidth = min(bandwidth, clip_bandwidth * speed)
            position += n + int(rng.exponential(0.6) * SAMPLE_RATE)
        return out, bandwidth, speaker

    def _room(self, rng: np.random.Generator, speech: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Target and reverberant speech: direct sound with early reflections, and all of it."""
        target = speech if self.floor else without_floor(speech)
        if rng.random() < 0.55:
            return target, speech
        response = self._response(rng)
        early, wet = in_room(speech, response)
        return (early if self.floor else in_room(target, response)[0]), wet

    def _response(self, rng: np.random.Generator) -> np.ndarray:
        h = self.corpus.read("rir", self.corpus.rooms[rng.integers(len(self.corpus.rooms))])
        return h[np.argmax(np.abs(h)) :] / (np.abs(h).max() + 1e-9)

    def _noise(self, rng: np.random.Generator) -> np.ndarray:
        total = np.zeros(self.length, np.float32)
        for _ in range(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15])):
            kind = rng.random()
            if kind < 0.72:
                x = self._recorded(rng)
            elif kind < 0.82:
                x = self._babble(rng)
            else:
                x = _SYNTHETIC[rng.integers(len(_SYNTHETIC))](rng, self.length)
            x = _tilt(rng, x)
            if rng.random() < 0.15:
                x = oaconvolve(x, self._response(rng))[: self.length]
            if rng.random() < 0.2:  # comes, goes, or stops for a while
                knots = np.linspace(0, self.length, 9)
                x = x * 10 ** (np.interp(np.arange(self.length), knots, rng.uniform(-30, 0, 9)) / 20)
            x = x / (np.sqrt(np.mean(x**2)) + 1e-9)
            total += (x * 10 ** (rng.uniform(-9, 0) / 20)).astype(np.float32)
        return total

    def _recorded(self, rng: np.random.Generator) -> np.ndarray:
        clip = self.corpus.noises[rng.integers(len(self.corpus.noises))]
        x = self.corpus.read("noise", clip)
        if rng.random() < 0.4:
            x = _change_speed(x, rng.uniform(0.7, 1.4))
        repeats = self.length // len(x) + 2
        return np.tile(x, repeats)[rng.integers(len(x)) :][: self.length]

    def _babble(self, rng: np.random.Generator) -> np.ndarray:
        x = np.zeros(self.length, np.float32)
        for _ in range(rng.integers(3, 9)):
            voice, _bandwidth, _speaker = self._talker(rng, vary=False)
            x += voice * np.float32(10 ** (rng.uniform(-8, 0) / 20) / (active_rms(voice) + 1e-9))
        return x


def in_room(speech: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Direct sound with early reflections, which a target keeps, and all of it.

    Parameters
    ----------
    speech : ndarray, shape (n,), float32
    response : ndarray, shape (k,)
        Of the room, from the direct sound on.

    Returns
    -------
    early, wet : ndarray, shape (n,), float32
    """
    early = response.copy()
    early[int(EARLY_SECONDS * SAMPLE_RATE) :] = 0
    both = oaconvolve(speech[None], np.stack((early, response)), axes=1)[:, : len(speech)].astype(np.float32)
    return both[0], both[1]


def _change_speed(x: np.ndarray, speed: float) -> np.ndarray:
    """Play faster (speed > 1) or slower: pitch, formants and bandwidth move along."""
    if speed == 1.0:
        return x
    import soxr

    return soxr.resample(x, SAMPLE_RATE * speed, SAMPLE_RATE, quality="MQ")


def _change_voice(x: np.ndarray, semitones: float, tempo: float, bandwidth_hz: float = SAMPLE_RATE / 2) -> np.ndarray:
    """Move the pitch and leave the formants, talk faster (tempo > 1) or slower.

    What has no more than `bandwidth_hz` is changed at a lower rate, which takes a third of the time at 8 kHz.
    """
    import soxr
    from pedalboard import time_stretch

    rate = SAMPLE_RATE // max(1, min(3, int(SAMPLE_RATE / (2 * bandwidth_hz))))
    quick = {"high_quality": False, "preserve_formants": True}
    x = soxr.resample(x, SAMPLE_RATE, rate, quality="MQ")
    x = time_stretch(x, rate, tempo, pitch_shift_in_semitones=semitones, **quick)[0]
    return soxr.resample(x, rate, SAMPLE_RATE, quality="MQ")


def _tilt(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """A random second-order filter near unity, as another microphone or another distance would make (after RNNoise)."""
    if rng.random() < 0.25:
        return x
    b = np.concatenate(([1.0], rng.uniform(-0.375, 0.375, 2)))
    a = np.concatenate(([1.0], rng.uniform(-0.375, 0.375, 2)))
    return lfilter(b, a, x).astype(np.float32)


def _coded(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """What a lossy codec leaves of it, at some 30 to 200 kb/s; these three do not move the signal in time."""
    import soundfile

    kind, subtype = _CODECS[rng.integers(len(_CODECS))]
    buffer = io.BytesIO()
    soundfile.write(buffer, x, SAMPLE_RATE, format=kind, subtype=subtype, compression_level=rng.uniform(0.2, 0.92))
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")[0][: len(x)]


def _coloured(rng: np.random.Generator, n: int) -> np.ndarray:
    """Stationary noise with a random slope of 0 to -9 dB an octave and slow drift: fans, hiss, rumble."""
    spectrum = rfft(rng.standard_normal(n, np.float32))
    f = np.arange(len(spectrum), dtype=np.float32) * np.float32(SAMPLE_RATE / n)
    spectrum *= (np.maximum(f, 40) / 1000) ** (-rng.uniform(0, 1.5))
    for _ in range(rng.integers(0, 4)):  # resonances of a housing
        centre, width = np.exp(rng.uniform(np.log(80), np.log(8000))), rng.uniform(0.02, 0.2)
        spectrum *= 1 + rng.uniform(0, 6) * np.exp(-(((f / centre - 1) / width) ** 2))
    angle = np.arange(n, dtype=np.float32) * np.float32(2 * np.pi * rng.uniform(0.05, 2) / SAMPLE_RATE)
    return irfft(spectrum, n) * (1 + rng.uniform(0, 0.5) * np.sin(angle))


def _hum(rng: np.random.Generator, n: int) -> np.ndarray:
    """Harmonics of a motor or the mains over a little noise."""
    f0 = rng.choice([50, 60, 100, 120, rng.uniform(30, 400)]) * (1 + rng.uniform(-0.01, 0.01))
    wobble = 1 + rng.uniform(0, 0.01) * np.sin(2 * np.pi * rng.uniform(0.1, 3) * np.arange(n) / SAMPLE_RATE)
    turns = np.cumsum(f0 * wobble) / SAMPLE_RATE
    slope = rng.uniform(0.3, 1.5)
    h = np.arange(1, min(40, int(16_000 / f0)))
    lines = np.zeros(_PERIOD // 2 + 1, np.complex128)
    lines[h] = rng.uniform(0.2, 1, len(h)) / h**slope * np.exp(1j * rng.uniform(0, 2 * np.pi, len(h)))
    period = irfft(lines, _PERIOD)  # a table, as thirty-nine sines take half a second
    x = period[(turns % 1 * _PERIOD).astype(np.int64)]
    noise = _coloured(rng, n)
    return (x / (np.std(x) + 1e-9) + noise / (noise.std() + 1e-9) * rng.uniform(0, 0.5)).astype(np.float32)


def _clicks(rng: np.random.Generator, n: int) -> np.ndarray:
    """Key strokes and knocks: short decaying bursts at irregular times, over faint noise."""
    x = np.zeros(n, np.float32)
    position = 0
    body = int(0.08 * SAMPLE_RATE)
    rate = rng.uniform(2, 12)
    cut_hz = sorted(np.exp(rng.uniform(np.log(200), np.log(12_000), 2)))
    sos = butter(2, [cut_hz[0], max(cut_hz[1], 1.5 * cut_hz[0])], "band", fs=SAMPLE_RATE, output="sos")
    while (position := position + int(rng.exponential(1 / rate) * SAMPLE_RATE) + 480) < n - body:
        decay = np.exp(-np.arange(body) / SAMPLE_RATE / rng.uniform(0.001, 0.015))
        x[position : position + body] += rng.uniform(0.2, 1) * decay * rng.normal(size=body)
    noise = _coloured(rng, n)
    return (sosfilt(sos, x) + noise / (noise.std() + 1e-9) * rng.uniform(1e-4, 3e-3)).astype(np.float32)


_SYNTHETIC = (_coloured, _coloured, _hum, _clicks)
