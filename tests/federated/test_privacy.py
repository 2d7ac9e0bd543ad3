"""The privacy budget, against dp-accounting's own figures and against closed forms."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm as normal

from pyenhance.cli import main
from pyenhance.evaluate.trust import read_trust
from pyenhance.federated.local import no_change, norm
from pyenhance.federated.population import read_population
from pyenhance.federated.privacy import Budget, epsilon, noise_multiplier
from pyenhance.federated.update import local_epsilon, system_normal
from pyenhance.model.summary import HEADS

pytest.importorskip("dp_accounting", reason="the extra federated is not installed")
pytest.importorskip("flwr", reason="the extra federated is not installed")

from pyenhance.federated.simulate import Settings, simulate


def _gaussian_delta(noise: float, epsilon: float) -> float:
    """Of the Gaussian mechanism, exactly (Balle and Wang, ICML 2018, theorem 8)."""
    below = normal.cdf(0.5 / noise - epsilon * noise)
    return float(below - math.exp(epsilon) * normal.cdf(-0.5 / noise - epsilon * noise))


@pytest.mark.parametrize("noise", [0.8, 2.0, 6.0])
def test_one_round_of_all_is_the_gaussian_mechanism(noise: float) -> None:
    found = epsilon(noise, 1e-3, 1.0, 1)
    assert _gaussian_delta(noise, found) <= 1e-3, "never less than it is"
    assert _gaussian_delta(noise, found - 5e-3) > 1e-3, "nor much more"
    assert local_epsilon(2 * noise, 1e-3) == pytest.approx(found, abs=5e-3), "two updates differ by twice the clip"


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.0, 5.0])
def test_one_update_against_the_librarys_own_figure(noise: float) -> None:
    from dp_accounting import get_epsilon_gaussian

    for delta in (1e-3, 1e-6):
        assert local_epsilon(noise, delta) == pytest.approx(get_epsilon_gaussian(noise / 2, delta), rel=1e-4)


def test_the_systems_noise_is_normal() -> None:
    drawn = system_normal((300, 200))
    assert drawn.shape == (300, 200) and not np.array_equal(drawn, system_normal((300, 200)))
    for value in (-2, -1, 0, 0.5, 2.5):
        assert np.mean(drawn < value) == pytest.approx(normal.cdf(value), abs=0.012)


def test_rounds_against_the_librarys_own_distributions() -> None:
    """Composed by hand from its building blocks, on its finer default grid."""
    from dp_accounting.pld import privacy_loss_distribution

    one = privacy_loss_distribution.from_gaussian_mechanism(1.5, sampling_prob=0.25)
    assert epsilon(1.5, 1e-3, 0.25, 20) == pytest.approx(one.self_compose(20).get_epsilon_for_delta(1e-3), rel=1e-3)


def test_more_rounds_more_clients_and_less_noise_cost_more() -> None:
    reference = epsilon(1.5, 1e-3, 0.25, 10)
    assert epsilon(1.5, 1e-3, 0.25, 20) > reference and epsilon(1.5, 1e-3, 0.5, 10) > reference
    assert epsilon(1.2, 1e-3, 0.25, 10) > reference and epsilon(1.5, 1e-5, 0.25, 10) > reference


@pytest.mark.parametrize(("budget", "rate", "rounds"), [(2.0, 0.25, 10), (8.0, 1.0, 3)])
def test_the_least_noise_for_a_budget(budget: float, rate: float, rounds: int) -> None:
    found = noise_multiplier(budget, 1e-3, rate, rounds)
    assert epsilon(found, 1e-3, rate, rounds) <= budget < epsilon(found - 0.01, 1e-3, rate, rounds)


def test_a_spent_budget_stops() -> None:
    budget = Budget(2.0, 1e-3, 1.0, 0.25, 60, noise_multiplier=1.5)
    within = budget.rounds_within()
    assert 0 < within < 60 and budget.spent(within) <= 2.0 < budget.spent(within + 1)
    whole = Budget(2.0, 1e-3, 1.0, 0.25, 10)
    assert whole.rounds_within() == 10 and whole.spent(10) == pytest.approx(2.0, abs=0.02)


GOOD = {"epsilon": 2.0, "delta": 1e-3, "clip": 1.0, "rate": 0.25, "rounds": 5}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epsilon": 0.0}, r"epsilon is 0.0; accepted: a number > 0"),
        ({"epsilon": math.inf}, r"epsilon is inf"),
        ({"delta": 1.0}, r"delta is 1.0; accepted: a number between 0 and 1"),
        ({"clip": 0.0}, r"clip is 0.0; accepted: a number > 0"),
        ({"rate": 1.5}, r"rate is 1.5; accepted: a probability"),
        ({"rounds": 0}, r"rounds is 0; accepted: 1 or more"),
        ({"noise_multiplier": 0.0}, r"a noise multiplier of 0 with a budget of epsilon 2; accepted: a number > 0"),
        ({"noise_multiplier": -1.0}, r"a noise multiplier of -1 with a budget"),
        ({"epsilon": 1e-6, "delta": 1e-9}, r"no noise multiplier up to 1000 keeps 5 rounds"),
    ],
)
def test_budgets_that_cannot_be(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(**(GOOD | wrong))


def test_a_first_round_that_is_too_much() -> None:
    with pytest.raises(
        ValueError, match=r"one round with noise multiplier 0.5 spends epsilon \d.*; accepted: a budget"
    ):
        Budget(**(GOOD | {"epsilon": 0.5, "noise_multiplier": 0.5})).rounds_within()


def _private(**options: object) -> Settings:
    return replace(
        Settings(clients=6, rounds=2, per_round=3, rate=0.5, batch=8, weighted=False, dp_epsilon=3.0, clip=0.1),
        **options,
    )


def test_rounds_with_a_budget_add_the_noise_that_it_asks_for(population_file: Path) -> None:
    """What two rounds without and with noise give differs by noise alone: the same coins were thrown."""
    facts, change = simulate(population_file, _private())
    assert facts["epsilon"] <= 3.0 and facts["rounds"] == 2
    quiet, still = simulate(population_file, _private(dp_epsilon=1e6, dp_noise=0.2))
    assert quiet["noise_multiplier"] == 0.2
    apart = np.concatenate([(change[name] - still[name]).ravel() for name in HEADS])
    wanted = 2**0.5 * (facts["noise_multiplier"] - 0.2) * 0.1 / 3  # two rounds; three clients are expected
    assert apart.std() == pytest.approx(wanted, rel=0.15)


def test_no_client_moves_the_mean_by_more_than_its_clip(population_file: Path) -> None:
    """All six take part; noise is so small that it does not matter."""
    options = {"rounds": 1, "per_round": 6, "dp_epsilon": 1e9, "dp_noise": 0.21}
    start = no_change(read_population(population_file).heads)
    numbers = sum(value.size for value in start.values())
    noise = 0.21 * 1e-3 * math.sqrt(numbers) / 6
    _, change = simulate(population_file, _private(clip=1e-3, **options))
    assert norm(change) <= 1e-3 + 1.2 * noise


def test_rounds_stop_when_the_budget_is_spent(population_file: Path) -> None:
    facts, _ = simulate(population_file, _private(rounds=30, dp_noise=2.0))
    assert 0 < facts["rounds"] < 30 and len(facts["losses"]) == facts["rounds"] + 1 and facts["epsilon"] <= 3.0


def test_what_budgets_keep_is_written_down(
    population_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The command of the curve of utility against epsilon, small: without a budget first, then with each."""
    trust, runs = tmp_path / "trust.json", tmp_path / "runs.json"
    command = ["federated", "simulate", str(population_file), "--rounds", "2", "--per-round", "3", "--unweighted"]
    command += ["--rate", "0.5", "--batch", "8", "--seeds", "2"]
    record = ["--record", str(trust)]
    assert main([*command, *record, "--clip", "0.1", "--dp-epsilon", "3", "30", "-o", str(runs)]) == 0
    facts = read_trust(trust)["privacy"]["federated"]
    assert (facts["clients"], facts["delta"], facts["clip"]) == (6, 1e-3, 0.1) and facts["without"] < facts["before"]
    assert [row["epsilon"] for row in facts["rows"]] == [3, 30]
    losses = [run["losses"][-1]["gain"] for run in json.loads(runs.read_text())["runs"]]
    assert len(losses) == 6
    kept = [(facts["before"] - loss) / (facts["before"] - facts["without"]) for loss in losses]
    assert facts["rows"][1]["kept"] == pytest.approx(np.mean(kept[4:]), abs=0.02)
    assert facts["rows"][0]["noise_multiplier"] > facts["rows"][1]["noise_multiplier"]
    said = capsys.readouterr().out
    assert said.count("noise multiplier") == 2 and "better than" not in said
    assert main([*command, *record]) == 1 and "accepted: with --dp-epsilon" in capsys.readouterr().err
