"""Rounds over small populations, with Flower's own strategies."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pyenhance.cli import main
from pyenhance.evaluate.pairs import load_pairs, read_pair
from pyenhance.federated.local import clipped, gradient, learn, losses, no_change, norm
from pyenhance.federated.partition import partition, present
from pyenhance.federated.population import read_population, write_population
from pyenhance.files.disk import Disk
from pyenhance.measure import GAMMA, OVER, QUARTIC
from pyenhance.model import load_model
from pyenhance.model.heads import Examples, slopes
from pyenhance.model.summary import HEADS

from ..conftest import PATIENCE_S, ROOT, voiced
from .conftest import BANDS, make_population

pytest.importorskip("flwr", reason="the extra federated is not installed: pip install 'pyenhance[federated]'")

from pyenhance.federated.simulate import Settings, central, paired, simulate

SMALL = Settings(clients=4, rounds=2, per_round=3, rate=0.5, batch=8)


@pytest.mark.parametrize("name", HEADS)
def test_gradient_by_differences(name: str) -> None:
    """Of the loss that is said to be made small, the sum over bands of the mean over frames."""
    whole = make_population().heads[name]
    examples = Examples(*(part[:40] for part in whole))
    rng = np.random.default_rng(3)
    change = 0.1 * rng.normal(size=(examples.values.shape[1], BANDS))

    def loss(change: np.ndarray) -> float:
        error = slopes(name, examples.logit + examples.values @ change, examples.target, GAMMA).error
        if name == "gain":
            return float(((error**2 + QUARTIC * error**4) * np.where(error < 0, OVER, 1)).sum() / 40)
        return float(0.5 * (error**2).sum() / 40)

    found = gradient(name, examples, change.astype(np.float32))
    for _ in range(5):
        direction = rng.normal(size=change.shape)
        slope = (loss(change + 1e-5 * direction) - loss(change - 1e-5 * direction)) / 2e-5
        assert np.sum(found * direction) == pytest.approx(slope, rel=2e-3, abs=1e-5)


def test_a_near_start_holds() -> None:
    """FedProx's term: the larger, the nearer a client stays to what it was sent."""
    heads = make_population().heads
    start = no_change(heads)
    options = {"rate": 0.3, "epochs": 2, "batch": 16}
    free, held = (learn(heads, start, proximal_mu=mu, rng=np.random.default_rng(0), **options) for mu in (0, 2))
    assert norm(held) < 0.7 * norm(free) and losses(heads, free)["gain"] < losses(heads, start)["gain"]


def test_clipping() -> None:
    change = {"gain": np.full((3, 4), 2.0, np.float32), "strength": np.full((1, 4), -2.0, np.float32)}
    assert norm(change) == pytest.approx(8) and norm(clipped(change, 2)) == pytest.approx(2, rel=1e-6)
    assert all(np.array_equal(value, change[name]) for name, value in clipped(change, 9).items())


@pytest.mark.parametrize("kind", ["speaker", "dirichlet", "amount"])
def test_partitions_deal_every_clip_once(kind: str) -> None:
    population = make_population()
    dealt = partition(population, kind, clients=None if kind == "speaker" else 4, alpha=0.7, seed=2)
    everything = np.concatenate(dealt)
    assert sorted(everything.tolist()) == np.flatnonzero(~population.held_out).tolist()
    assert all(len(clips) for clips in dealt)
    if kind == "speaker":
        assert all(len(set(population.speaker[clips].tolist())) == 1 for clips in dealt)
    again = partition(population, kind, clients=None if kind == "speaker" else 4, alpha=0.7, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(dealt, again, strict=True))


def test_small_alpha_makes_clients_unlike() -> None:
    population = make_population(speakers=12, clips=10)

    def spread(alpha: float) -> float:
        """Mean share of a client's commonest place."""
        dealt = partition(population, "dirichlet", clients=5, alpha=alpha, seed=1)
        counts = [np.unique(population.place[clips], return_counts=True)[1] for clips in dealt]
        return float(np.mean([count.max() / count.sum() for count in counts]))

    assert spread(0.3) > spread(100) + 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "town"}, r"partition is 'town'; accepted: speaker, dirichlet, amount"),
        ({"kind": "speaker", "clients": 7}, r"7 clients; accepted for the partition by speaker: 1 to 6"),
        ({"kind": "amount", "clients": 0}, r"0 clients; accepted"),
        ({"kind": "amount", "alpha": 0.0}, r"alpha is 0.0; accepted: a number > 0"),
        ({"kind": "amount", "clients": 20, "alpha": 1e-3}, r"client \d+ and \d+ more of 20 stay without clips"),
    ],
)
def test_partitions_that_cannot_be(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        partition(make_population(), **arguments)


def test_recordings_arrive_and_expire() -> None:
    clips = np.arange(400)
    rounds = [present(clips, "continual", t, rounds=10, window=0.3, seed=(1, 2)) for t in range(1, 11)]
    counts = [len(own) for own in rounds]
    assert 60 < min(counts) and max(counts) < 140, "as many arrive as expire"
    seen = np.array([np.isin(clips, own) for own in rounds])
    stays = seen.sum(0)
    assert stays.max() <= 3 and seen.any(0).all(), "three rounds of ten, at most"
    changes = np.abs(np.diff(np.pad(seen.astype(int), ((1, 1), (0, 0))), axis=0)).sum(0)
    assert (changes == 2).all(), "each comes once and does not come back"
    assert present(clips, "static", 4, rounds=10) is clips
    for setting, window, message in (("daily", 0.5, "setting is 'daily'"), ("continual", 0, "window is 0")):
        with pytest.raises(ValueError, match=message):
            present(clips, setting, 1, rounds=10, window=window)


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedadam"])
@pytest.mark.parametrize("selection", ["uniform", "activity"])
def test_rounds_learn(population_file: Path, strategy: str, selection: str) -> None:
    settings = replace(SMALL, strategy=strategy, selection=selection)
    facts, change = simulate(population_file, settings)
    assert (facts["clients"], facts["rounds"], facts["failures"], len(facts["losses"])) == (4, 2, 0, 3)
    assert facts["losses"][-1]["gain"] < facts["losses"][0]["gain"]
    numbers = sum(value.nbytes for value in change.values())
    assert facts["bytes_up"] == facts["bytes_down"] == 2 * 3 * numbers
    again, same = simulate(population_file, settings)
    assert again["losses"] == facts["losses"] and all(np.array_equal(same[name], change[name]) for name in HEADS)


def test_one_round_is_the_mean_by_hand(population_file: Path) -> None:
    population = read_population(population_file)
    for weighted in (True, False):
        settings = replace(SMALL, rounds=1, per_round=4, weighted=weighted)
        _, change = simulate(population_file, settings)
        dealt = partition(population, "speaker", clients=4, seed=settings.seed)
        learnt, amounts = [], []
        for client, clips in enumerate(dealt):
            heads = population.examples(clips)
            rng = np.random.default_rng([settings.seed, client, 1])
            learnt.append(learn(heads, no_change(heads), rate=0.5, epochs=1, batch=8, rng=rng))
            amounts.append(len(heads["gain"].values))
        assert len(set(amounts)) > 1
        for name in HEADS:
            mean = np.average([own[name] for own in learnt], axis=0, weights=amounts if weighted else None)
            np.testing.assert_allclose(change[name], mean, atol=1e-6)


def test_activity_asks_those_who_have_much(tmp_path: Path) -> None:
    """With one client of ten times the data, the mean of a round is mostly its own: more bytes do not explain it."""
    from pyenhance.federated import strategy as strategies

    population = make_population(speakers=8, clips=2)
    names = population.speaker.copy()
    names[np.flatnonzero(~population.held_out)[:-7]] = "s0"
    names[np.flatnonzero(~population.held_out)[-7:]] = [f"s{i}" for i in range(1, 8)]
    path = tmp_path / "one.npz"
    write_population(population._replace(speaker=names), path)
    asked: dict[str, list[int]] = {"uniform": [], "activity": []}
    original = strategies.Selecting.aggregate_train

    def spy(self, server_round, replies):
        replies = list(replies)
        asked[self.plan.selection] += [reply.metadata.src_node_id for reply in replies]
        return original(self, server_round, replies)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strategies.Selecting, "aggregate_train", spy)
        for selection in asked:
            simulate(path, Settings(selection=selection, rounds=20, per_round=2, batch=64))
    share = {name: nodes.count(1) / 20 for name, nodes in asked.items()}
    assert share["activity"] > 0.6 > 0.5 > share["uniform"], share


def test_a_client_without_data_is_left_out(population_file: Path) -> None:
    facts, _ = simulate(population_file, replace(SMALL, setting="continual", window=0.2, rounds=8, per_round=4))
    assert facts["failures"] > 0 and facts["losses"][-1]["gain"] < facts["losses"][0]["gain"]


def test_all_data_in_one_place_is_no_worse(population_file: Path) -> None:
    facts, _ = simulate(population_file, SMALL)
    assert central(population_file, SMALL, 10)["gain"] < facts["losses"][-1]["gain"]


def test_flower_and_ray_tell_nobody() -> None:
    """Asked in a process of its own, whose environment says nothing about it."""
    code = "import os, pyenhance.federated.simulate, flwr.supercore.telemetry as telemetry;"
    code += "print(telemetry.FLWR_TELEMETRY_ENABLED, os.environ['RAY_USAGE_STATS_ENABLED'])"
    quiet = {key: value for key, value in os.environ.items() if not key.startswith(("FLWR_", "RAY_"))}
    command = [sys.executable, "-c", code]
    environment = quiet | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.split() == ["0", "0"], done.stderr


def test_pairs_by_seed() -> None:
    gain = paired([0.3, 0.5, 0.4], [0.2, 0.4, 0.3])
    assert gain == {name: pytest.approx(0.1) for name in ("mean", "low", "high")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "fedsgd"}, r"strategy is 'fedsgd'; accepted: fedavg, fedprox, fedadam"),
        ({"rounds": 0}, r"rounds is 0; accepted: 1 or more"),
        ({"rate": float("nan")}, r"rate is nan; accepted: a number > 0"),
        ({"clip": 1.0}, r"clip and dp_noise belong to a budget"),
        ({"dp_epsilon": 4.0}, r"a budget without a clip"),
        ({"dp_epsilon": 4.0, "clip": 1.0, "weighted": True}, r"weighted is True, with a budget; accepted: False"),
        ({"dp_epsilon": 4.0, "clip": 1.0, "selection": "activity"}, r"selection is 'activity', with a budget"),
        ({"dp_epsilon": 4.0, "clip": 1.0, "partition": "amount"}, r"partition is 'amount', with a budget"),
    ],
)
def test_settings_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**options)


def _sound(path: Path, x: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, np.clip(x, -1, 1), 48_000)


def _corpus(data: Path) -> None:
    """Four speakers, of whom one is held out, and two places."""
    rng = np.random.default_rng(0)
    data.mkdir()
    speech = [("anna", "train", 210), ("bert", "train", 110), ("carl", "train", 130), ("dora", "valid", 190)]
    with open(data / "manifest_speech.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "group", "split", "speaker", "eff_bw", "language"])
        for name, split, f0_hz in speech:
            _sound(data / "speech" / f"{name}.flac", voiced(2, f0_hz))
            writer.writerow([f"speech/{name}.flac", "permissive", split, name, 8000 if name == "bert" else "", "en"])
    with open(data / "manifest_noise.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "group", "split", "category"])
        for name in ("fan", "street"):
            _sound(data / "noise" / f"{name}.flac", 0.05 * rng.normal(size=120_000))
            writer.writerow([f"noise/{name}.flac", "permissive", "valid", name])


def test_from_recordings_to_rounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, population, out = tmp_path / "corpus", tmp_path / "p.npz", tmp_path / "runs.json"
    _corpus(data)
    pairs, new = tmp_path / "pairs", tmp_path / "new.safetensors"
    prepare = ["federated", "prepare", "--data", str(data), "--model", "tiny", "-o", str(population)]
    assert main([*prepare, "--pairs", str(pairs)]) == 0
    (pair,) = load_pairs(pairs)
    clean, noisy = read_pair(pair)
    assert (pair.name, pair.groups["language"], len(clean)) == ("dora", "en", 96_000)
    assert np.corrcoef(clean, voiced(2, 190))[0, 1] > 0.999 > np.corrcoef(clean, noisy)[0, 1]
    assert main([*prepare, "--force", "--pairs", str(pairs)]) == 1
    assert "accepted: a folder that is to be made" in capsys.readouterr().err
    found, brief = read_population(population), tmp_path / "brief.npz"
    assert main([*prepare[:-1], str(brief), "--speaker-s", "1"]) == 0
    assert read_population(brief).frames.tolist() == [13, 13, 13, 25], "those held out are heard as before"
    assert main([*prepare[:-1], str(brief), "--force", "--speaker-s", "0.5"]) == 1
    assert "speaker_s is 0.5; accepted: 1 s or more" in capsys.readouterr().err
    assert found.held_out.tolist() == [False, False, False, True] and found.frames.tolist() == [25] * 4
    heard = found.heads["gain"].heard.reshape(4, 25, BANDS)
    assert heard[0].all() and not heard[1, :, -1].any() and heard[1, :, 0].all(), "bert's bandwidth is known"
    arguments = ["federated", "simulate", str(population), "--rounds", "2", "--per-round", "2", "--seeds", "2"]
    arguments += ["--selection", "uniform", "activity"]
    model = ["--base", "tiny", "--write-model", str(new)]
    assert main([*arguments, *model, "-o", str(out)]) == 0
    runs = json.loads(out.read_text())["runs"]
    assert [run["settings"]["selection"] for run in runs] == ["uniform", "uniform", "activity", "activity"]
    assert [run["settings"]["seed"] for run in runs] == [0, 1, 0, 1]
    assert "static: activity is" in capsys.readouterr().out
    old, learnt = load_model("tiny").tensors, load_model(new).tensors
    changed = {name for name in old if not np.array_equal(old[name], learnt[name])}
    assert (
        {"gain.bias", "gain.weight"} <= changed <= {f"{head}.{kind}" for head in HEADS for kind in ("bias", "weight")}
    )
    assert main([*arguments, "--write-model", str(tmp_path / "other.safetensors")]) == 1
    assert f"p.npz is about model {found.base[:12]}; default is" in capsys.readouterr().err
    assert main([*arguments, "-o", str(out)]) == 1 and "--force overwrites it" in capsys.readouterr().err
    assert main(["federated", "simulate", str(out)]) == 1
    assert "accepted: a file of pyenhance federated prepare" in capsys.readouterr().err


def test_a_signal_while_libsndfile_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised in a callback it would be lost; it waits for the end of the speaker, the last one, and nothing is left."""
    data, population, pairs = tmp_path / "corpus", tmp_path / "p.npz", tmp_path / "pairs"
    _corpus(data)
    original, sent = Disk.readinto, []

    def readinto(self: Disk, buffer: Any) -> int:
        if not sent and self._file.name.endswith("dora.flac"):
            sent.append(os.kill(os.getpid(), signal.SIGTERM))
        return original(self, buffer)

    monkeypatch.setattr(Disk, "readinto", readinto)
    prepare = ["federated", "prepare", "--data", str(data), "--model", "tiny", "-o", str(population)]
    assert main([*prepare, "--speakers", "1", "--pairs", str(pairs)]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "pyenhance: interrupted; nothing half done is left\n"
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_every_combination_in_one_table(
    population_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Strategies and partitions, each compared with the first by what sets it apart."""
    out = tmp_path / "runs.json"
    arguments = ["federated", "simulate", str(population_file), "--rounds", "2", "--per-round", "3", "--clients", "4"]
    arguments += [
        "--strategy",
        "fedavg",
        "fedadam",
        "--partition",
        "speaker",
        "amount",
        "--seeds",
        "2",
        "--rate",
        "0.5",
    ]
    assert main([*arguments, "-o", str(out)]) == 0
    runs = json.loads(out.read_text())["runs"]
    of = [tuple(run["settings"][name] for name in ("partition", "strategy", "seed")) for run in runs]
    assert of == list(product(("speaker", "amount"), ("fedavg", "fedadam"), (0, 1)))
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["setting", "partition", "strategy", "selection"] and len(lines) == 4 + 3
    ends = [run["losses"][-1]["gain"] for run in runs]
    assert lines[0].split()[7] == f"{runs[0]['losses'][0]['gain']:.4f}"
    assert lines[0].split()[-3] == f"{np.mean(ends[:2]):.4f}"
    assert lines[4].startswith(f"static: fedadam is {np.mean(ends[:2]) - np.mean(ends[2:4]):+.5f} better than fedavg (")
    assert lines[6].startswith("static: amount fedadam is ") and " better than speaker fedavg (" in lines[6]


def test_the_same_rounds_on_ray(population_file: Path, tmp_path: Path) -> None:
    """Flower's own simulation: other processes, other node numbers, the same figures."""
    arguments = ["federated", "simulate", str(population_file), "--clients", "4", "--rounds", "2", "--per-round", "3"]
    outs = {engine: tmp_path / f"{engine}.json" for engine in ("process", "ray")}
    assert main([*arguments, "--engine", "process", "-o", str(outs["process"])]) == 0
    command = [sys.executable, "-m", "pyenhance.cli", *arguments, "--engine", "ray", "-o", str(outs["ray"])]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    found = [json.loads(out.read_text())["runs"][0] for out in outs.values()]
    assert found[0]["failures"] == found[1]["failures"] == 0
    for a, b in zip(found[0]["losses"], found[1]["losses"], strict=True):
        assert b == pytest.approx(a, rel=1e-5)


def test_a_real_server_and_real_clients(population_file: Path) -> None:
    """Three processes: rounds over the machine's own network learn as they do in one."""
    command = [sys.executable, "-m", "tests.federated.loopback", str(population_file), "2", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "FLWR_TELEMETRY_ENABLED": "0"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=PATIENCE_S, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = map(float, done.stdout.split()[2:])
    assert len(done.stdout.split()) == 5 and last < first
