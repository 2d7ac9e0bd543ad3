"""Attacks: they find what is there to find, and nothing where there is nothing."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from pyenhance.cli import main
from pyenhance.evaluate.trust import read_trust
from pyenhance.federated.population import write_population

from .conftest import FRAMES, make_population

pytest.importorskip("flwr", reason="the extra federated is not installed: pip install 'pyenhance[federated]'")

from pyenhance.federated.attack import _auc, _by_chance, _shadow, area, attack_rounds, attack_updates
from pyenhance.federated.simulate import Settings

LOUD = Settings(rounds=6, per_round=5, rate=2.0, epochs=3, batch=8, weighted=False)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten speakers of whom each has another right answer: what is learnt of one is of no use to others."""
    population = make_population(speakers=10, clips=2, seed=3)
    rng = np.random.default_rng(5)
    gain = population.heads["gain"]
    targets = {name: rng.uniform(0.1, 0.9, gain.target.shape[1]) for name in sorted(set(population.speaker.tolist()))}
    of = np.repeat(population.speaker, FRAMES)
    wanted = np.array([targets[name] for name in of], np.float32)
    population.heads["gain"] = gain._replace(target=wanted, values=gain.values + _voices(of, gain.values.shape[1], rng))
    path = tmp_path_factory.mktemp("strangers") / "p.npz"
    write_population(population, path)
    return path


def _voices(of: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Each speaker's own place among the directions; the last one stays 1."""
    places = {name: np.append(3 * rng.normal(size=size - 1), 0) for name in sorted(set(of.tolist()))}
    return np.array([places[name] for name in of], np.float32)


def test_area_by_hand() -> None:
    score = np.array([[3.0, 1.0, 2.0, 0.0]])
    member = np.array([[True, True, False, False]])
    every = np.ones_like(member)
    assert area(score, member, every)["auc"] == 0.75  # of the four pairs three are in order
    assert area(-score, member, every)["auc"] == 0.25
    assert area(score, member, np.array([[True, False, True, True]]))["auc"] == 1
    found = area(
        np.random.default_rng(0).normal(size=(4, 60)), np.tile([[True, False]], (4, 30)), np.ones((4, 60), bool)
    )
    assert found["low"] < 0.5 < found["high"]


@pytest.mark.parametrize("runs", [4, 12])
def test_shadows_take_away_whose_voice_is_easy(runs: int) -> None:
    """Scores of known distributions: what the best attacker reaches, nearly, and nothing where nobody took part."""
    rng = np.random.default_rng(runs)
    member = rng.random((runs, 2000)) < 0.5
    easy, of_run = 20 * rng.normal(size=2000), 5 * rng.normal(size=(runs, 1))
    alone = easy + of_run + rng.normal(size=member.shape)
    score, every = alone + member, np.ones_like(member)
    spread = np.sqrt(1 + 1 / (runs - 1))  # of a run less the mean of the others
    best = NormalDist().cdf(1 / spread / np.sqrt(2))
    assert _auc(_shadow(score, member, every), member, every) == pytest.approx(best, abs=0.015)
    assert abs(_auc(score, member, every) - 0.5) < 0.03, "whose voice is easy hides it where the score is all"
    assert abs(_auc(_shadow(alone, member, every), member, every) - 0.5) < 0.02
    chance = _by_chance(score[:, :200], every[:, :200], rng)
    assert chance["low"] < 0.5 < chance["high"] and abs(chance["auc"] - 0.5) < 0.01


def test_members_and_secrets_are_found_where_rounds_learn_by_heart(strangers: Path) -> None:
    plain = attack_rounds(strangers, LOUD, runs=4, canaries=1)
    assert all(plain[name]["auc"] > 0.9 for name in ("calibrated", "shadow", "white_box")), plain
    assert plain["chance"]["low"] < 0.5 < plain["chance"]["high"] and plain["chance"]["auc"] < 0.6
    assert plain["exposure"]["bits"] > 5 > 1.5 > plain["exposure"]["chance"] > 1.4
    assert "epsilon" not in plain


def test_a_budget_hides_both(strangers: Path) -> None:
    private = replace(LOUD, dp_epsilon=1.0, clip=0.1, rounds=3)
    found = attack_rounds(strangers, private, runs=12, canaries=1)
    assert found["epsilon"] <= 1 and found["noise_multiplier"] > 1
    assert all(found[name]["low"] < 0.6 for name in ("calibrated", "shadow", "white_box")), found
    assert found["exposure"]["low"] < found["exposure"]["chance"] + 1


def test_an_update_names_its_speaker_unless_it_is_noised(strangers: Path) -> None:
    bare, noised = attack_updates(strangers, clip=1.0, noises=(0.0, 3.0))
    assert bare["named"] == 1.0 and bare["named_chance"] == 0.1 and noised["named"] < 0.7
    assert bare["frame"] == pytest.approx(1, abs=1e-3), "of one frame the ratio is the frame"
    assert bare["clip_mean"] > 0.8 > bare["other"] + 0.4 and noised["clip_mean"] < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": 2}, r"2 runs; accepted: 3 or more"),
        ({"canaries": 5}, r"5 canaries of 10 speakers; accepted: 1 to 4"),
        ({"settings": replace(LOUD, partition="amount")}, r"partition is 'amount'; accepted: 'speaker'"),
    ],
)
def test_attacks_that_cannot_be(strangers: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack_rounds(strangers, options.pop("settings", LOUD), **options)


def test_updates_that_cannot_be_attacked(strangers: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"noise multiplier is -1"):
        attack_updates(strangers, clip=1.0, noises=(-1.0,))
    population = make_population(speakers=4, clips=1)
    alone = population._replace(speaker=np.array([str(i) for i in range(len(population.speaker))]))
    write_population(alone, tmp_path / "alone.npz")
    with pytest.raises(ValueError, match=r"0 speakers have two clips or more"):
        attack_updates(tmp_path / "alone.npz", clip=1.0)


def test_the_command(strangers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command of the table of attacks, small."""
    out, trust = tmp_path / "attacks.json", tmp_path / "trust.json"
    command = [
        "federated",
        "attack",
        str(strangers),
        "--runs",
        "3",
        "--canaries",
        "1",
        "--rounds",
        "2",
        "--per-round",
        "3",
    ]
    arguments = [*command, "--dp-epsilon", "5", "--clip", "0.1", "-o", str(out), "--record", str(trust)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert all(words in said for words in ("white box", "noise multiplier", "by chance: shadow models", "exposure"))
    facts = json.loads(out.read_text())
    assert set(facts) == {"plain", "private", "updates"} and len(facts["updates"]) == 3
    assert set(read_trust(trust)["leakage"]) == set(facts)
    assert main(arguments) == 1 and "--force overwrites it" in capsys.readouterr().err
    assert main([*command, "--noise", "-o", str(out), "--force"]) == 0
    assert set(json.loads(out.read_text())) == {"plain"} and "a frame" not in capsys.readouterr().out
