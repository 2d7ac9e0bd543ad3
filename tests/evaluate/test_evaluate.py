"""The measures, and `pyenhance evaluate` from files to reports."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance.cli import main
from pyenhance.evaluate import METRICS, Scorer, load_pairs
from pyenhance.evaluate.groups import compare_all
from pyenhance.evaluate.metrics import composite, si_sdr
from pyenhance.evaluate.report import group_lines

from ..conftest import SHARED, voiced


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Voice-like, with a noise part: a pure tone has no linear prediction error."""
    x = voiced(4.0)
    return x + 0.002 * np.random.default_rng(0).normal(size=len(x)).astype(np.float32)


def _with_noise(x: np.ndarray, level: float) -> np.ndarray:
    return x + level * np.random.default_rng(1).normal(size=len(x)).astype(np.float32)


def test_perfect_scores_for_the_reference_itself(speech: np.ndarray) -> None:
    scores = Scorer()(speech, speech)
    assert set(scores) == set(METRICS)
    assert scores["pesq_wb"] > 4.6 and scores["stoi"] > 0.999 and scores["estoi"] > 0.999 and scores["si_sdr"] > 60
    assert scores["csig"] == scores["covl"] == 5 and math.isnan(scores["ovrl"])


def test_more_noise_scores_lower(speech: np.ndarray) -> None:
    rows = [Scorer()(speech, _with_noise(speech, level)) for level in (0.002, 0.01, 0.05)]
    for name in METRICS[:7]:
        values = [row[name] for row in rows]
        assert values == sorted(values, reverse=True) and values[0] > values[-1], name


def test_si_sdr_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=48_000)
    e = rng.normal(size=48_000)
    x -= x.mean()
    e -= e.mean() + x * (e @ x) / (x @ x)
    noisy = x + 0.1 * e * np.linalg.norm(x) / np.linalg.norm(e)
    assert si_sdr(x, 3 * noisy + 7) == pytest.approx(20, abs=0.01)
    assert math.isnan(si_sdr(np.zeros(100), x[:100]))


def test_composite_of_known_distances(speech: np.ndarray) -> None:
    """Without distortion the regressions' constants remain: LLR 0, WSS 0, segmental SNR 35 dB."""
    expected = {"csig": 3.093 + 0.603, "cbak": 1.634 + 0.478 + 0.063 * 35, "covl": 1.594 + 0.805}
    assert composite(speech, speech, 1.0) == pytest.approx(expected, abs=0.01)


def test_silence_short_and_unequal_clips() -> None:
    scorer = Scorer()
    silent = scorer(np.zeros(48_000, np.float32), np.zeros(48_000, np.float32))
    assert math.isnan(silent["pesq_wb"]) and math.isnan(silent["si_sdr"])
    assert math.isnan(scorer(np.ones(100, np.float32), np.ones(100, np.float32))["pesq_wb"])
    with pytest.raises(ValueError, match=r"\(3,\)"):
        scorer(np.zeros(3), np.zeros(4))


def test_more_starts_make_pesq_steadier(speech: np.ndarray) -> None:
    noisy = _with_noise(speech, 0.01)
    once, often = (
        [Scorer(pesq_starts=starts)(speech[i:], noisy[i:])["pesq_wb"] for i in range(0, 768, 96)] for starts in (1, 5)
    )
    assert np.mean(often) == pytest.approx(np.mean(once), abs=0.03) and np.ptp(often) < 0.7 * np.ptp(once)


def test_dnsmos_where_its_model_is(speech: np.ndarray) -> None:
    pytest.importorskip("onnxruntime")
    path = SHARED / "eval" / "dnsmos" / "sig_bak_ovr.onnx"
    if not path.exists():
        pytest.skip("the DNS challenge's sig_bak_ovr.onnx is not part of the project")
    clean, noisy = (Scorer(path)(speech, x) for x in (speech, _with_noise(speech, 0.05)))
    assert 1 <= noisy["bak"] < clean["bak"] <= 5


@pytest.fixture
def folder(tmp_path: Path, speech: np.ndarray) -> Path:
    for name in ("clean", "noisy"):
        (tmp_path / name).mkdir()
    rows = ["id,clean,noisy,snr,sex,room"]
    for i, level in enumerate((0.01, 0.03)):
        soundfile.write(tmp_path / "clean" / f"{i}.wav", speech, 48_000)
        soundfile.write(tmp_path / "noisy" / f"{i}.wav", _with_noise(speech, level), 48_000)
        rows.append(f"{i},clean/{i}.wav,noisy/{i}.wav,{15 - 10 * i},{'FM'[i]},{'hall.flac' if i else ''}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_from_files_to_reports(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    report, card = tmp_path / "report.json", tmp_path / "card.md"
    assert main(["evaluate", "--pairs", str(folder), "--workers", "1", "-o", str(report), str(card)]) == 0
    text = capsys.readouterr().out
    assert "all (2 clips)" in text and "sex: F (1 clips)" in text and "room: dry (1 clips)" in text
    result = json.loads(report.read_text())
    means = result["means"]
    assert set(means) == {"noisy", "default", "oracle"}
    for metric in ("pesq_wb", "si_sdr"):
        assert means["noisy"][metric] < means["oracle"][metric] and means["default"][metric] != means["noisy"][metric]
    assert means["oracle"]["ovrl"] is None
    assert list(result["groups"]["snr"]) == ["2.5 to 7.5 dB", "above 12.5 dB"]
    one = result["clips"][0]["scores"]["noisy"]["pesq_wb"], result["clips"][1]["scores"]["noisy"]["pesq_wb"]
    assert means["noisy"]["pesq_wb"] == pytest.approx(np.mean(one))
    assert result["groups"]["pitch"]["110 to 150 Hz"]["clips"] == 2
    spread = result["spread"]["default"]["sex"]
    assert spread["gaps"] == {} and not spread["groups"]["F"]["pesq_wb"]["judged"]  # of one clip each: nothing to say
    rows = {row.split("|")[1].strip(): row for row in card.read_text().splitlines() if row.startswith("|")}
    assert f"{means['default']['pesq_wb']:.2f}" in rows["default"] and "sex: F" in rows and "oracle" in rows


def test_groups_in_words() -> None:
    rng = np.random.default_rng(0)
    values = {"pesq_wb_gain": np.append(rng.normal(size=40) + np.tile([0, 2], 20), [9.0, 9.0])}
    spread = compare_all([{"sex": sex} for sex in [*"FM" * 20, "X", "X"]], values)
    groups, gap = group_lines({"means": {"noisy": {}, "x": {}}, "spread": {"x": spread}}, "x")
    assert groups.startswith("sex, gain in PESQ-WB: F ") and groups.count(", 20 clips)") == 2
    assert groups.endswith("too small to judge, under 10 clips: X (2)")
    assert gap.startswith("sex: gain in PESQ-WB ") and " higher for M than for F (95 % interval " in gap
    assert group_lines({"means": {"x": {}}, "spread": {"x": spread}}, "x") == [], "PESQ itself was not scored"


def test_html_page_is_whole(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "report.html"
    assert main(["evaluate", "--pairs", str(folder), "--workers", "1", "--limit", "1", "-o", str(page)]) == 0
    text = page.read_text()
    assert text.count("data:image/png") == 3 and "://" not in text and "PESQ-WB" in text


def test_peers(folder: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("pyrnnoise")
    pytest.importorskip("webrtc_noise_gain")
    assert main(["evaluate", "--pairs", str(folder), "--workers", "1", "--limit", "1", "--peers"]) == 0
    assert "rnnoise" in capsys.readouterr().out


def test_bad_requests(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate", "--pairs", str(folder), "-o", "report.pdf"]) == 2
    assert "report.pdf" in capsys.readouterr().err
    assert main(["evaluate", "--pairs", str(tmp_path / "nothing")]) == 1
    assert "manifest.csv" in capsys.readouterr().err
    (folder / "noisy" / "1.wav").unlink()
    with pytest.raises(ValueError, match=r"1\.wav"):
        load_pairs(folder)
