"""Groups: intervals over speakers, pairs to compare on, and what is written down of a comparison."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance.cli import main
from pyenhance.evaluate import load_pairs
from pyenhance.evaluate.groups import MIN_SPEAKERS, compare_groups, interval
from pyenhance.evaluate.mixes import SNRS_DB, make_pairs
from pyenhance.evaluate.pairs import new_pairs
from pyenhance.evaluate.trust import read_trust, record
from pyenhance.samples import active_rms

from ..conftest import voiced

SPEAKERS = {"anna": ("F", 210), "bert": ("M", 110), "cora": ("F", 190)}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three speakers, two noises and a room, all of them held out from training."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    rows: dict[str, list[dict]] = {"speech": [], "noise": [], "rir": []}
    for name, (sex, f0_hz) in SPEAKERS.items():
        rows["speech"].append({"speaker": name, "sex": sex, "language": "en", "eff_bw": 20000})
        soundfile.write(folder / f"speech{len(rows['speech'])}.flac", voiced(1.2, f0_hz), 48_000)
    for category in ("fan", "street"):
        rows["noise"].append({"category": category})
        soundfile.write(folder / f"noise{len(rows['noise'])}.flac", 0.05 * rng.normal(size=60_000), 48_000)
    rows["rir"].append({})
    h = rng.normal(size=9600) * np.exp(-np.arange(9600) / 1500) * 0.1
    soundfile.write(folder / "rir1.flac", np.concatenate(([0.9], h)), 48_000)
    for kind, own in rows.items():
        own = [
            {"file": f"{kind}{i}.flac", "group": "permissive", "split": "valid"} | row for i, row in enumerate(own, 1)
        ]
        with open(folder / f"manifest_{kind}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(own[0]))
            writer.writeheader()
            writer.writerows(own)
    return folder


def test_many_clips_of_few_voices_say_less_than_they_seem_to() -> None:
    rng = np.random.default_rng(0)
    voice = np.repeat(rng.normal(size=8), 20)
    values, speakers = voice + 0.1 * rng.normal(size=160), np.repeat(np.arange(8), 20)
    by_clip, by_speaker = interval(values), interval(values, speakers)
    assert np.diff(by_speaker) > 3 * np.diff(by_clip)
    assert interval(values, np.arange(160)) == pytest.approx(by_clip)


def test_a_group_of_few_speakers_is_not_judged() -> None:
    rng = np.random.default_rng(1)
    labels, speakers = ["a"] * 60 + ["b"] * 60, [f"a{i % 12}" for i in range(60)] + [f"b{i % 4}" for i in range(60)]
    found = compare_groups(labels, {"x": rng.normal(size=120)}, speakers)
    facts = found["groups"]["b"]["x"]
    assert facts["speakers"] == 4 < MIN_SPEAKERS and not facts["judged"] and found["gaps"] == {}
    assert found["groups"]["a"]["x"]["judged"]


def test_chance_deals_out_speakers() -> None:
    """What lies apart by voices alone is within what chance would do, unless clips are taken for independent."""
    rng = np.random.default_rng(2)
    voice = rng.normal(size=20)
    values = np.repeat(voice, 30) + 0.1 * rng.normal(size=600)
    labels, speakers = list(np.repeat(["f", "m"], 300)), [str(i) for i in np.repeat(np.arange(20), 30)]
    honest, naive = (compare_groups(labels, {"x": values}, who)["gaps"]["x"] for who in (speakers, None))
    assert honest["chance"] > 3 * naive["chance"] and honest["gap"] == naive["gap"]


def test_pairs_are_balanced_and_come_again(corpus: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "a", tmp_path / "b"
    for folder in (first, again):
        make_pairs(corpus, folder, clips=18)
    rows = list(csv.DictReader((first / "manifest.csv").read_text().splitlines()))
    assert (first / "manifest.csv").read_bytes() == (again / "manifest.csv").read_bytes()
    counts = {name: [row["speaker"] for row in rows].count(name) for name in SPEAKERS}
    assert set(counts.values()) == {6}
    for name in SPEAKERS:
        assert len({row["snr"] for row in rows if row["speaker"] == name}) == 6, "a voice meets every SNR"
    assert 0 < sum(bool(row["room"]) for row in rows) < 18
    for row in rows[:4]:
        clean, noisy = (soundfile.read(first / row[side])[0] for side in ("clean", "noisy"))
        same = soundfile.read(again / row["noisy"])[0]
        assert np.array_equal(noisy, same) and int(row["snr"]) in SNRS_DB
        if not row["room"]:
            noise = noisy - clean
            snr_db = 20 * np.log10(active_rms(clean) / np.sqrt(np.mean(noise**2)))
            assert snr_db == pytest.approx(int(row["snr"]), abs=0.3)
    (pair, *_) = load_pairs(first)
    assert pair.speaker in SPEAKERS and pair.groups["sex"] == SPEAKERS[pair.speaker][0]


def test_pairs_that_cannot_be_made_leave_nothing(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"0 pairs; accepted: 1 or more"):
        make_pairs(corpus, tmp_path / "a", clips=0)
    with pytest.raises(FileExistsError, match=r"accepted: a folder that is to be made"):
        make_pairs(corpus, tmp_path)

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        make_pairs(corpus, tmp_path / "a", clips=6, on_progress=stop)
    with pytest.raises(ValueError, match=r"a: there are no pairs to write"), new_pairs(tmp_path / "a"):
        pass
    assert not list(tmp_path.iterdir())


def test_from_a_corpus_to_what_is_written_down(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command of the table of groups, small."""
    pairs, trust = tmp_path / "pairs", tmp_path / "trust.json"
    record(trust, "privacy", "kept", {"epsilon": 4.98765})
    command = ["evaluate", "--groups", "--data", str(corpus), "--pairs", str(pairs), "--clips", "12"]
    arguments = [*command, "--workers", "1", "--model", "tiny", "--record", str(trust)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "tiny, 12 clips" in said and "oracle" not in said
    assert "too small to judge, under 10 clips or 5 speakers: F (8 of 2), M (4 of 1)" in said
    found = read_trust(trust)
    assert found["privacy"] == {"kept": {"epsilon": 4.988}}
    facts = found["groups"]["tiny"]
    assert (facts["clips"], facts["speakers"]) == (12, 3) and len(facts["sha256"]) == 64
    women = facts["kinds"]["sex"]["groups"]["F"]["pesq_wb_gain"]
    assert women["clips"] == 8 and not women["judged"] and women["low"] <= women["mean"] <= women["high"]
    before = trust.read_bytes()
    assert main(["evaluate", "--pairs", str(pairs), "--record", str(trust)]) == 2
    assert "--record belongs to --groups" in capsys.readouterr().err
    trust.write_text(json.dumps({"secrets": {}}))
    assert main(arguments) == 1 and "accepted: JSON with the parts groups" in capsys.readouterr().err
    trust.write_bytes(before)
    with pytest.raises(ValueError, match=r"section 'ages'; accepted: groups"):
        record(trust, "ages", "x", {})
    assert trust.read_bytes() == before
