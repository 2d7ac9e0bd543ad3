"""The release gate: what passes, what does not and why, its report, and that the models that ship were gated."""

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pyenhance.cli import main
from pyenhance.evaluate import load_pairs
from pyenhance.evaluate.gate import MARGINS, PESQ_STARTS, Limits, gate, judge, read_record, record
from pyenhance.evaluate.groups import bucket, bucket_order, compare_all, compare_groups, interval, measured_groups
from pyenhance.evaluate.heads import COMPATIBLE_WITHIN, compare_heads, in_words
from pyenhance.evaluate.run import score_clips
from pyenhance.measure import gain_loss
from pyenhance.model import available_models, load_model, write_weights
from pyenhance.model.diff import weights_bytes

from ..conftest import ROOT, voiced
from .small_set import make

GATE_JSON = ROOT / "pyenhance" / "weights" / "gate.json"


def _clips(gains: np.ndarray, group: Any = lambda i: "one", **others: np.ndarray) -> list[dict[str, Any]]:
    """Scores of two systems whose PESQ-WB differs by the given gains, and other measures by theirs."""
    clips = []
    for i, gain in enumerate(gains):
        old = dict.fromkeys(MARGINS, math.nan) | {"pesq_wb": 2.0} | dict.fromkeys(others, 5.0)
        new = old | {"pesq_wb": 2.0 + gain} | {name: 5.0 + column[i] for name, column in others.items()}
        clips.append({"name": f"clip{i}", "groups": {"kind": group(i)}, "scores": {"old": old, "new": new}})
    return clips


def _better(n: int = 100) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.03, 0.2, n)


def test_a_better_model_passes() -> None:
    result = judge(_clips(_better(), si_sdr=_better() * 10), "old", "new")
    assert result["passed"] and not result["reasons"] and "new may replace old: over 100 clips" in result["verdict"]
    facts = result["measures"]["pesq_wb"]
    assert facts["gain"] == pytest.approx(_better().mean()) and facts["low"] < facts["gain"] < facts["high"]
    assert facts["negative_flips"] == 0 and facts["positive_flips"] == (_better() > 0.05).sum()
    assert set(result["measures"]) == {"pesq_wb", "si_sdr"}  # DNSMOS was not given
    gains = [row["gain"]["pesq_wb"] for row in result["clips"]]
    assert gains == sorted(gains)


def test_the_same_model_passes() -> None:
    result = judge(_clips(np.zeros(20)), "old", "old")
    assert result["passed"] and result["measures"]["pesq_wb"]["nfr"] == 0


def test_a_mean_that_chance_could_explain_does_not_pass() -> None:
    gains = np.random.default_rng(0).uniform(-0.049, 0.05, 40)
    reasons = judge(_clips(gains), "old", "new")["reasons"]
    assert any("the mean of PESQ-WB" in reason for reason in reasons)


def test_another_measure_must_not_surely_fall() -> None:
    unsure, falls = np.linspace(-0.4, 0.39, 100), np.linspace(-0.4, 0.1, 100)
    assert judge(_clips(_better(), si_sdr=unsure), "old", "new")["passed"]
    reasons = judge(_clips(_better(), si_sdr=falls), "old", "new")["reasons"]
    assert len(reasons) == 1 and "the mean of SI-SDR" in reasons[0]


def test_a_mean_may_fall_where_that_is_allowed_and_the_verdict_says_so() -> None:
    falls = np.linspace(-0.06, 0.03, 100)  # by 0.015 of PESQ-WB, and ten times as many dB
    clips, limits = _clips(falls, si_sdr=10 * falls), {"margins": MARGINS | {"pesq_wb": 0.1, "si_sdr": 1}}
    assert len(judge(clips, "old", "new", Limits(**limits))["reasons"]) == 2
    (reason,) = judge(clips, "old", "new", Limits(**limits, mean_fall={"pesq_wb": 0.03}))["reasons"]
    assert reason.startswith("the mean of SI-SDR changes by -0.15")
    result = judge(clips, "old", "new", Limits(**limits, mean_fall={"pesq_wb": 0.03, "si_sdr": 0.15}))
    assert result["passed"] and result["limits"]["mean_fall"] == {"pesq_wb": 0.03, "si_sdr": 0.15}
    assert "whose means were allowed to fall (PESQ-WB 0.03, SI-SDR 0.15): over 100 clips" in result["verdict"]
    (reason,) = judge(clips, "old", "new", Limits(**limits, mean_fall={"pesq_wb": 0.016, "si_sdr": 0.15}))["reasons"]
    assert reason.endswith("accepted: a fall of 0.016")  # chance might account for more


def test_too_many_flips() -> None:
    gains = _better()
    gains[:5] = -0.06
    assert judge(_clips(gains), "old", "new")["passed"]  # 5 of 100: within the budget
    gains[5] = -0.06
    result = judge(_clips(gains), "old", "new")
    assert result["reasons"] == ["6 of 100 clips, 6.0%, fall by more than 0.05 of PESQ-WB; accepted: 5.0%"]
    assert result["clips"][0]["negative_flips"] == ["pesq_wb"]
    assert judge(_clips(gains), "old", "new", Limits(nfr=0.06))["passed"]
    assert judge(_clips(gains), "old", "new", Limits(margins=MARGINS | {"pesq_wb": 0.07}))["passed"]


def test_one_ruined_clip() -> None:
    gains = _better()
    gains[7] = -0.31
    assert judge(_clips(gains), "old", "new")["reasons"] == ["clip7 falls by 0.31 of PESQ-WB; accepted: 0.3"]
    clips = _clips(_better())
    clips[3]["scores"]["new"]["pesq_wb"] = math.nan
    assert judge(clips, "old", "new")["reasons"] == [
        "clip3 has no PESQ-WB any more, it was 2.00: nothing is left of it"
    ]


def test_a_group_that_falls() -> None:
    gains = _better()
    gains[:12] = -0.04  # below the margin, each: only together they show
    reasons = judge(_clips(gains, lambda i: "few" if i < 12 else "many"), "old", "new")["reasons"]
    assert reasons == ["the group kind: few falls by 0.040 of PESQ-WB; accepted: 0.02"]
    small = judge(_clips(gains, lambda i: "few" if i < 9 else "many"), "old", "new")
    assert small["passed"] and not small["groups"]["kind"]["groups"]["few"]["pesq_wb"]["judged"]


def test_nothing_to_judge() -> None:
    with pytest.raises(ValueError, match="no clip has a PESQ-WB"):
        judge(_clips(np.full(6, math.nan)), "old", "new")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"nfr": 5}, "5.*accepted: a rate"),
        ({"nfr": math.nan}, "nan"),
        ({"clip_fall": -1}, "clip_fall is -1"),
        ({"margins": {"pesq_wb": 0.1}}, "accepted"),
        ({"margins": MARGINS | {"si_sdr": math.inf}}, "si_sdr is inf"),
        ({"mean_fall": {"pesq": 0.1}}, r"mean_fall is for \['pesq'\]; accepted"),
        ({"mean_fall": {"si_sdr": -0.1}}, "mean_fall of si_sdr is -0.1"),
    ],
)
def test_bad_limits(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Limits(**options)


def test_interval_holds_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        low, high = interval(rng.exponential(size=60), resamples=300)
        held += low < 1 < high
    assert 0.87 <= held / 200 <= 0.98


def test_groups_by_hand() -> None:
    labels = ["b"] * 12 + ["a"] * 20 + ["rare"] * 3 + [None]
    values = np.concatenate((np.full(12, 1.0), np.linspace(1, 3, 20), np.full(3, 9.0), [50.0]))
    values[0] = np.nan
    result = compare_groups(labels, {"m": values, "none": np.full(36, np.nan)})
    groups = result["groups"]
    assert list(groups) == ["a", "b", "rare"] and [groups[g]["clips"] for g in groups] == [20, 12, 3]
    assert groups["b"]["m"] == {"clips": 11, "mean": 1.0, "low": 1.0, "high": 1.0, "judged": True}
    assert groups["a"]["m"]["mean"] == pytest.approx(2) and 1.6 < groups["a"]["m"]["low"] < 2 < groups["a"]["m"]["high"]
    assert not groups["rare"]["m"]["judged"] and "none" not in groups["a"]
    gap = result["gaps"]["m"]
    assert (gap["best"], gap["worst"], gap["gap"]) == ("a", "b", pytest.approx(1)) and 0.6 < gap["low"] < 1 < gap[
        "high"
    ]
    assert gap["chance"] < gap["gap"]
    assert compare_groups(["a"] * 30, {"m": np.ones(30)})["gaps"] == {}


def test_a_gap_of_chance_is_told_as_such() -> None:
    values = np.random.default_rng(3).normal(size=80)
    gap = compare_groups(list("abcd") * 20, {"m": values})["gaps"]["m"]
    assert 0 < gap["gap"] < gap["chance"] and gap["low"] < gap["gap"] < gap["high"]


def test_guessed_sexes_count() -> None:
    groups = [{"sex": sex} for sex in ("F", "F?", "M?", "?")]
    assert set(compare_all(groups, {"m": np.arange(4.0)})["sex"]["groups"]) == {"F", "M"}


@pytest.mark.parametrize(("f0_hz", "range_"), [(95, "below 110 Hz"), (130, "110 to 150 Hz"), (240, "above 200 Hz")])
def test_pitch_range_and_level_of_a_voice(f0_hz: float, range_: str) -> None:
    x = voiced(3.0, f0_hz, glide_hz=5)
    assert measured_groups(x) == {"pitch": range_, "level": "above -24 dBFS"}
    assert measured_groups(x / 30)["level"] == "below -30 dBFS"


def test_what_has_no_pitch_is_in_no_group() -> None:
    assert measured_groups(np.zeros(48_000, np.float32)) == {} == measured_groups(np.zeros(0, np.float32))
    noise = np.random.default_rng(0).normal(size=96_000).astype(np.float32)
    assert "pitch" not in measured_groups(noise) and "pitch" not in measured_groups(np.ones(96_000, np.float32))


def test_buckets_in_order() -> None:
    names = [bucket(value, (-2.5, 2.5, 7.5), "dB") for value in (20, 3, -2.5, -9)]
    assert names == ["above 7.5 dB", "2.5 to 7.5 dB", "-2.5 to 2.5 dB", "below -2.5 dB"]
    assert sorted([*names, "dry", "en(zh)"], key=bucket_order) == [*names[::-1], "dry", "en(zh)"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("pairs") / "small")


@pytest.fixture
def few(small: Path, tmp_path: Path) -> Path:
    """Five of the pairs."""
    lines = (small / "manifest.csv").read_text().splitlines()[:6]
    text = "\n".join(lines).replace("clean/", f"{small}/clean/").replace("noisy/", f"{small}/noisy/")
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "manifest.csv").write_text(text + "\n")
    return tmp_path / "few"


def test_command_and_reports(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    page, facts, history = tmp_path / "report.html", tmp_path / "report.json", tmp_path / "history.json"
    argv = ["model", "gate", "noisy", "tiny", "--pairs", str(few), "--workers", "1", "-o", str(page), str(facts)]
    assert main([*argv, "--record", str(history)]) == 0
    assert "tiny may replace noisy: over 5 clips" in capsys.readouterr().out
    result = json.loads(facts.read_text())
    assert result["passed"] and result["old"] == {"name": "noisy", "model": "noisy", "sha256": None}
    assert result["new"]["sha256"] == hashlib.sha256(weights_bytes("tiny")).hexdigest()
    assert result["measures"]["pesq_wb"]["clips"] == 5 and "ovrl" not in result["measures"]
    text = page.read_text()
    assert text.count("data:image/png") == 5 and text.count("data:audio/flac") == 20 and "://" not in text
    assert "Passes: tiny in place of noisy" in text and "pitch: " in text
    assert main([*argv[:2], "tiny", "noisy", *argv[4:8], "--json", "--record", str(history)]) == 1
    worse = json.loads(capsys.readouterr().out)
    assert not worse["passed"] and "noisy may not replace tiny" in worse["verdict"]
    assert [verdict["passed"] for verdict in read_record(history)["verdicts"]] == [True, False]


@pytest.fixture
def other_body(tmp_path: Path) -> Path:
    """tiny, every weight of a layer of its body moved by a step or two: other heads would fit it better."""
    model = load_model("tiny")
    tensors = dict(model.tensors)
    moved = tensors["gru3.weight_ih"] + np.random.default_rng(0).integers(-9, 10, tensors["gru3.weight_ih"].shape)
    tensors["gru3.weight_ih"] = np.clip(moved, -127, 127).astype(np.int8)
    path = tmp_path / "other.safetensors"
    path.write_bytes(write_weights(model.signal, model.network.spec, tensors))
    return path


def test_old_heads_on_a_new_body(few: Path, other_body: Path) -> None:
    pairs = load_pairs(few)[:2]
    same = compare_heads(pairs, "tiny", "tiny", workers=1)
    assert same["old"] == same["new"] == same["old_heads"] > 0 and same["loss"] == 0 and same["compatible"]
    other = compare_heads(pairs, "tiny", str(other_body), workers=1)
    assert other["old"] == same["old"] and other["old_heads"] == pytest.approx(
        other["new"], rel=1e-12
    )  # its heads stayed
    assert other["loss"] == pytest.approx(other["new"] / other["old"] - 1) != 0
    assert other["compatible"] == (other["loss"] <= COMPATIBLE_WITHIN)
    assert f"{other['loss']:+.1%}" in in_words(other)
    for new, match in (
        ("default", "head 'gain' sees 'conv2': 64 units, tanh; the other body has 256"),
        ("low-delay", ""),
    ):
        refused = compare_heads(pairs, "tiny", new, workers=1)
        assert match in refused["refused"] and refused["refused"] in in_words(refused)


def test_what_is_compatible() -> None:
    facts = {"old": 0.1, "new": 0.09, "old_heads": 0.103, "loss": 0.03, "compatible": False}
    assert "0.1030, +3.0% against their own" in in_words(facts) and "not compatible" in in_words(facts)
    assert "not compatible" not in in_words(facts | {"compatible": True})


def test_gain_loss_by_hand() -> None:
    ideal, gain = np.array([[0.25, 1.0]]), np.array([[0.25, 0.36]])
    error = math.sqrt(1.001) - math.sqrt(0.361)
    assert gain_loss(gain, ideal) == pytest.approx((error**2 + 10 * error**4) / 2)
    assert gain_loss(ideal, ideal) == 0


def test_the_gate_tells_of_heads(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    page, history = tmp_path / "report.html", tmp_path / "history.json"
    argv = ["model", "gate", "tiny", "tiny", "--pairs", str(few), "--workers", "1", "-o", str(page)]
    assert main([*argv, "--record", str(history)]) == 0
    text = capsys.readouterr().out
    assert "The old heads on the new body: gain loss" in text and "+0.0% against their own" in text
    assert "<h2>Compatibility</h2>" in page.read_text()
    assert read_record(history)["verdicts"][0]["heads"]["compatible"]


def test_bad_requests(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def refused(*argv: str) -> str:
        assert main(["model", "gate", *argv]) == 1
        return capsys.readouterr().err

    pairs = ("--pairs", str(few))
    assert "manifest.csv" in refused("tiny", "default", "--pairs", str(tmp_path / "nothing"))
    assert "'giant' is neither" in refused("tiny", "giant", *pairs)
    assert "report.pdf" in refused("tiny", "tiny", *pairs, "-o", "report.pdf")
    assert "no folder" in refused("tiny", "tiny", *pairs, "-o", str(tmp_path / "none" / "report.html"))
    assert "nfr is 5" in refused("tiny", "tiny", *pairs, "--nfr", "5")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(weights_bytes("tiny")[:-1])
    assert "broken.safetensors" in refused("tiny", str(broken), *pairs)
    manifest = few / "manifest.csv"
    text = manifest.read_text()
    manifest.write_text("\n".join(text.splitlines()[:3]) + "\n")
    assert "2 pairs; accepted: 5 or more" in refused("tiny", "tiny", *pairs)
    manifest.write_text(text + text.splitlines()[1] + "\n")
    assert "named 00-hiss" in refused("tiny", "tiny", *pairs)
    manifest.write_text(text.replace(",0\n", ",loud\n"))
    assert "'loud'; accepted: a number" in refused("tiny", "tiny", *pairs)
    (few / "odd.json").write_text("[]")
    assert "odd.json" in refused("tiny", "tiny", *pairs, "--record", str(few / "odd.json"))
    with pytest.raises(SystemExit, match="2"):
        main(["model", "gate", "tiny", "tiny", *pairs, "--margin", "stoi=0.1"])
    assert "stoi=0.1" in capsys.readouterr().err


def test_silent_clips_are_told(tmp_path: Path) -> None:
    for name in ("clean", "noisy"):
        (tmp_path / name).mkdir()
        for i in range(5):
            soundfile.write(tmp_path / name / f"{i}.wav", np.zeros(48_000), 48_000)
    with pytest.raises(ValueError, match="no clip has a PESQ-WB"):
        gate("noisy", "tiny", load_pairs(tmp_path), workers=1)


def test_record_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    result = judge(_clips(_better()), "old", "new") | {side: {"name": side, "sha256": "0"} for side in ("old", "new")}
    record(result, path, "made")
    path.write_text(path.read_text().replace("{", '{"first": {"old": "0"},\n', 1))
    record(result, path, "again")
    history = read_record(path)
    assert [verdict["pairs"] for verdict in history["verdicts"]] == ["made", "again"]
    assert history["first"] == {"old": "0"}
    assert [file.name for file in tmp_path.iterdir()] == ["gate.json"]


def test_a_version_replaces_the_one_before(tmp_path: Path, small: Path) -> None:
    """A model's file under its own name elsewhere: the verdict does not say that it replaces itself."""
    (tmp_path / "tiny.safetensors").write_bytes(weights_bytes("tiny"))
    result = gate(str(tmp_path / "tiny.safetensors"), "tiny", load_pairs(small)[:5], workers=1)
    assert result["verdict"].startswith("tiny may replace the version before: over 5 clips")


def test_one_clip_alone() -> None:
    (facts,) = compare_groups(["a"], {"m": np.array([3.0])})["groups"].values()
    assert facts == {"clips": 1, "m": {"clips": 1, "mean": 3.0, "low": 3.0, "high": 3.0, "judged": False}}


def _digest(name: str) -> str:
    return hashlib.sha256(weights_bytes(name)).hexdigest()


@pytest.mark.parametrize("name", available_models())
def test_models_that_ship_were_gated(name: str) -> None:
    """Whoever changes a weights file gates it and records both verdicts (see small_set.py)."""
    history = read_record(GATE_JSON)
    if history["first"].get(name) == _digest(name):
        return  # it has replaced nothing yet
    # Lean frames halve what a model computes; what that may cost on the mean is said in the verdict.
    allowed = {"pesq_wb": 0.02, "si_sdr": 0.1} if load_model(name).network.spec.has_lean else {}
    for enough, limits in ((100, Limits(mean_fall=allowed)), (20, Limits(nfr=0.25, mean_fall=allowed))):
        strict = asdict(limits)
        passed = [
            verdict
            for verdict in history["verdicts"]
            if verdict["passed"]
            and verdict["new"] == {"name": name, "sha256": _digest(name)}
            and verdict["measures"]["pesq_wb"]["clips"] >= enough
            and all(verdict["limits"][key] <= strict[key] for key in ("nfr", "clip_fall", "group_fall"))
            and all(verdict["limits"]["margins"][key] <= strict["margins"][key] for key in MARGINS)
            and all(fall <= allowed.get(key, 0) for key, fall in verdict["limits"].get("mean_fall", {}).items())
        ]
        assert passed, f"{name} has no passing verdict over {enough} clips or more in {GATE_JSON.name}"


def test_recorded_scores_are_those_of_the_models_that_ship(small: Path) -> None:
    shipped = {_digest(name): name for name in available_models()}
    recorded = [
        v for v in read_record(GATE_JSON)["verdicts"] if v["pairs"] == "small" and v["new"]["sha256"] in shipped
    ]
    assert recorded
    pairs = load_pairs(small)[::6]
    for verdict in recorded:
        name = shipped[verdict["new"]["sha256"]]
        for clip in score_clips(pairs, [name], pesq_starts=PESQ_STARTS, workers=1):
            score = clip["scores"][name]["pesq_wb"]
            assert score == pytest.approx(verdict["clips"][clip["name"]][1], abs=0.02), (name, clip["name"])
