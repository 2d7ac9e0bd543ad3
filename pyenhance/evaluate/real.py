"""Public noisy recordings, made into a folder for ``pyenhance evaluate --real``.

`EXCERPTS` names them: no mixes, but rooms, showers, children, fans, cheap microphones, as somebody recorded
them and published them under a licence that allows this. They are not part of the project; `make_recordings` takes
them from clones that are here already, or fetches them as ``pyenhance train corpus`` does. What the shipped
models were trained on is left out, as far as it can be told.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..train import sources
from ..train.sources import Source, decode, fetch
from .pairs import new_folder, write_manifest


@dataclass(frozen=True)
class Excerpt:
    """A stretch of one sound file of a source.

    Attributes
    ----------
    name : str
    source : Source
    path : str
        Of the file in the source.
    speaker, language : str
        Who speaks, as far as it is known whose recordings are alike; a language's tag.
    heard : str
        Where the voice is and what is round it.
    start_s, seconds : float
        The stretch; the file may be shorter.
    """

    name: str
    source: Source
    path: str
    speaker: str
    language: str
    heard: str
    start_s: float = 0.0
    seconds: float = 10.0


def _source(name: str, place: str, licence: str, group: str = "permissive") -> Source:
    return Source(name, place, licence, group, "", ".*")


_KNOWN = {source.name: source for source in sources.SOURCES}
_VOICES = _source("voices", "github:Lab41/VOiCES-subset", "CC-BY-4.0")
_NOTES = _source("voice-notes", "github:danielrosehill/STT-Voice-Note-Evaluation", "Apache-2.0")
# Its labels name speakers of the AMI meeting corpus, which has this licence.
_MEETINGS = _source("meetings", "github:pyannote/pyannote-audio", "CC-BY-4.0")
_AUDITOK = _source("auditok", "github:amsehili/auditok", "MIT")
_WORDS = _source("words", "github:tyiannak/pyAudioAnalysis", "Apache-2.0")
_SPEECH_1961 = _source("whisper-cpp", "github:ggml-org/whisper.cpp", "public domain")
_FILLETS = _source("fillets-nl", "debian:fillets-ng-data-nl", "GPL-2.0", "gpl")
_ALNUM, _COURSES, _LIBRI, _COMMANDS = (_KNOWN[name] for name in ("alnum", "artikulate", "libri", "pv-s2i"))

_ROOM = "VOiCES_workshop/data/Lab41-SRI-VOiCES-rm1-{}-dg090.wav"
_NOTE = "audio/with-challenges/{}/1/1.mp3"
_SAID = "audio_data/{}/R_{}.wav"
_READ = "audio_data/librispeech_{}.flac"
_COURSE = "courses/basic/{}.ogg"
_COMMAND = "data/speech/clean/{}.wav"
_PLAYED = "sp0083-ch003054-sg0005-mc"  # one sentence, played and recorded again with each of four backgrounds

EXCERPTS = (
    Excerpt("room-babble", _VOICES, _ROOM.format(f"babb-{_PLAYED}12-lav-wal"), "v83", "en", "far microphone, babble"),
    Excerpt("room-music", _VOICES, _ROOM.format(f"musi-{_PLAYED}07-stu-beh"), "v83", "en", "from behind, music"),
    Excerpt("room-television", _VOICES, _ROOM.format(f"tele-{_PLAYED}03-stu-mid"), "v83", "en", "a television on"),
    Excerpt("room-ventilation", _VOICES, _ROOM.format(f"none-{_PLAYED}01-stu-clo"), "v83", "en", "the room alone"),
    Excerpt("shower-1", _NOTES, _NOTE.format("shower"), "dr", "en", "phone in a shower", 5),
    Excerpt("shower-2", _NOTES, _NOTE.format("shower"), "dr", "en", "phone in a shower", 45),
    Excerpt("child-1", _NOTES, _NOTE.format("crying-child"), "dr", "en", "phone, a child cries", 5),
    Excerpt("child-2", _NOTES, _NOTE.format("crying-child"), "dr", "en", "phone, a child cries loudly", 40),
    Excerpt("letters-fan", _ALNUM, _SAID.format("Names", "7OVSal7s7tNbjLO"), "a1", "en", "laptop, a fan, far"),
    Excerpt("letters-others", _ALNUM, _SAID.format("Names", "1wB3pJ1YQM5wyqI"), "a2", "en", "others talk behind"),
    Excerpt("digits-far", _ALNUM, _SAID.format("Numbers", "5lWkQMcCDfrgWwV"), "a3", "en", "far microphone, hum"),
    Excerpt("digits-tones", _ALNUM, _SAID.format("Numbers", "4zatSIgrUgsETE5"), "a4", "en", "hiss, whistling tones"),
    Excerpt("digits-others", _ALNUM, _SAID.format("Numbers", "3i2ltOSffNPHRfR"), "a5", "en", "loud, others talk"),
    Excerpt("digits-roar", _ALNUM, _SAID.format("Numbers", "4shv1y28wS6SaPv"), "a6", "en", "a roar, a child or bird"),
    Excerpt("digits-hum", _ALNUM, _SAID.format("Numbers", "3uvOS0cUzHJeF6p"), "a7", "en", "hum, a tone at 5.6 kHz"),
    Excerpt("address-rush", _ALNUM, _SAID.format("Addresses", "7DHnUtjhzr5gTvl"), "a8", "en", "rushing, close"),
    Excerpt("meeting-1", _MEETINGS, "tests/data/dev00.wav", "m1", "en", "a meeting, very soft", 5),
    Excerpt("meeting-2", _MEETINGS, "tests/data/trn07.wav", "m2", "en", "a meeting, very soft, far voices", 5),
    Excerpt(
        *("numbers-buzz", _AUDITOK, "tests/data/1to6arabic_16000_mono_bc_noise.wav", "ar", "ar"),
        "a buzz at every 100 Hz, two bursts",
    ),
    Excerpt(
        *("proverb-hiss", _AUDITOK),
        "tests/data/was_der_mensch_saet_das_wird_er_vielfach_ernten_44100Hz_mono_lead_trail_silence.wav",
        *("de", "de", "hiss, soft voice"),
        start_s=5,
    ),
    Excerpt(
        "words-traffic", _WORDS, "pyAudioAnalysis/data/3WORDS.wav", "w", "el", "hollow room, rumble, clipped", 0, 5
    ),
    Excerpt("address-1961", _SPEECH_1961, "samples/jfk.wav", "jfk", "en", "outdoors, loudspeakers, a crowd"),
    Excerpt("book-hiss", _LIBRI, _READ.format("test-other/2609/2609-156975-0004"), "2609", "en", "hiss"),
    Excerpt("book-hum", _LIBRI, _READ.format("train-clean-100/426-122819-0000"), "426", "en", "hum with harmonics"),
    Excerpt(
        *("word-machine", _COURSES, _COURSE.format("fr/{b0a9440b-8f50-426d-a67f-620ea81de26b}"), "fr", "fr"),
        "headset, hiss, a machine or music starts",
    ),
    Excerpt(
        *("word-headset", _COURSES, _COURSE.format("fr/{04a1e2f5-7b5a-4fbd-8e8b-d31abb8e8eb8}"), "fr", "fr"),
        "headset, loud hiss and rumble",
    ),
    Excerpt(
        *("phrase-headset", _COURSES, _COURSE.format("pl/{f7fd086d-0d70-4fbb-83a0-0f54c33909f0}"), "pl", "pl"),
        "headset, loud hiss",
    ),
    Excerpt("order-hiss-1", _COMMANDS, _COMMAND.format("6cb6a079-1420-4abe-8584-4501c8611ab2"), "c1", "en", "hiss"),
    Excerpt("order-hiss-2", _COMMANDS, _COMMAND.format("ec6f778a-3d2b-4700-af2d-d471ad17f4c3"), "c2", "en", "hiss"),
    Excerpt(
        *("game-hall", _FILLETS, "usr/share/games/fillets-ng/sound/atlantis/nl/sp-m-vratit1.ogg", "nl", "nl"),
        "a home recording with an echo added, hum",
    ),
)


def make_recordings(
    folder: Path,
    clones: Mapping[str, Path] | None = None,
    *,
    excerpts: Sequence[Excerpt] = EXCERPTS,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make a folder of recordings with a manifest, which appears once all are written, or not at all.

    Parameters
    ----------
    folder : Path
    clones : mapping of str to Path, optional
        Sources that are here already, by name: folders, or git repositories, bare or not. The others are fetched, with
        git and apt.
    excerpts : sequence of Excerpt
    on_progress : callable, optional
        Called with recordings done and recordings in all.

    Raises
    ------
    FileExistsError
        There is something of the folder's name.
    ValueError
        A source is unknown or cannot be had, or an excerpt is empty.
    OSError
        A source lacks a file.
    ImportError
        soundfile is not installed.
    """
    import soundfile

    given = dict(clones or {})
    needed = {excerpt.source.name: excerpt.source for excerpt in excerpts}
    for name in given:
        if name not in needed:
            raise ValueError(f"source {name!r}; accepted: {', '.join(needed)}")
    rows = []
    with new_folder(folder) as part, tempfile.TemporaryDirectory() as fetched:
        roots = {name: given.get(name) or fetch(source, Path(fetched)) for name, source in needed.items()}
        for excerpt in excerpts:
            source = excerpt.source
            found = sources.Recording(source, roots[source.name], excerpt.path, excerpt.speaker, excerpt.language)
            x, rate = decode(found.read(), Path(excerpt.path).suffix)
            x = x[round(excerpt.start_s * rate) :][: round(excerpt.seconds * rate)]
            if not len(x):
                raise ValueError(f"{excerpt.name}: {excerpt.path} of {source.name} ends before {excerpt.start_s} s")
            file = f"{excerpt.name}.flac"
            soundfile.write(part / file, x, rate, subtype="PCM_16")
            facts = {"speaker": excerpt.speaker, "language": excerpt.language, "heard": excerpt.heard}
            rows.append(
                {"file": file} | facts | {"source": source.place, "path": excerpt.path, "licence": source.licence}
            )
            if on_progress:
                on_progress(len(rows), len(excerpts))
        write_manifest(part, rows)
