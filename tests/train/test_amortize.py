"""Training a lean and a full stack with their arbitrator, and the table of what they are worth."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pyenhance import load_model
from pyenhance.dsp import SignalSpec
from pyenhance.model import with_lean_part
from pyenhance.train import amortize, fit
from pyenhance.train.amortize import (
    AmortizePlan,
    AmortizeTrainer,
    Devices,
    drawn_devices,
    drawn_stalls,
    simulated_backlog,
    walk,
)
from pyenhance.train.dataset import ShardStream
from pyenhance.train.network import Network, chosen

from ..networks import small_spec, small_weights
from .shards import make_shard

SIGNAL = SignalSpec(8)


def test_devices_work_off_what_waits() -> None:
    devices = Devices(torch.tensor([0.5, 1.0, 2.0]), waiting=torch.tensor([0.0, 3.0, 3.0]))
    waits = []
    for _ in range(4):
        waits.append(devices.wait.tolist())
        devices.run(torch.ones(3))
    np.testing.assert_allclose(np.transpose(waits), [[0, 1, 2, 3], [3, 3, 3, 3], [3, 2.5, 2, 1.5]])
    lean = Devices(torch.tensor([0.5]))
    for _ in range(9):
        lean.run(0.4)
        assert lean.wait == 0
    generator = torch.Generator().manual_seed(0)
    stalling = Devices(torch.ones(2000), drawn_stalls(2, 2000, torch.device("cpu"), generator))
    stalling.run(1)
    stalled = stalling.wait[stalling.wait > 0]
    assert 0 < len(stalled) < 20 and 5 <= stalled.min() and stalled.max() <= 40


def test_half_of_the_drawn_devices_begin_with_work() -> None:
    devices = drawn_devices(1, 4000, torch.device("cpu"), torch.Generator().manual_seed(0))
    assert 0.45 < (devices.wait > 0).float().mean() < 0.55 and 28 < devices.wait.max() <= 30
    begun = devices.wait
    devices.run(1)
    took = (devices.wait - begun + 1)[(begun > 5) & (devices.wait < begun + 4)]  # not those that stalled
    assert 0.25 <= took.min() < 0.26 and 3.2 < took.max() < 3.34  # 1 / 4 and 1 / 0.3


def _trainer(folder: Path, plan: AmortizePlan | None = None, **options: object) -> AmortizeTrainer:
    torch.manual_seed(0)
    stream = ShardStream(make_shard(folder / "shards", SIGNAL, sequences=8, frames=40), 8)
    given = fit.TrainOptions(rate=1e-2, warm_up=1, quantise_from=0, **options)
    return AmortizeTrainer(Network(small_spec(SIGNAL, lean=True)), stream, plan or AmortizePlan(), given)


def test_the_simulated_backlog_is_what_the_network_would_meet(tmp_path: Path) -> None:
    """The arbitrator alone, step by step, chooses as the whole network does that is given the backlog it met."""
    network = _trainer(tmp_path).network
    torch.nn.init.uniform_(network.watch.bias_ih, -0.5, 0.5)
    with torch.no_grad():
        network.arbitrator.bias.fill_(0.2)
        network.arbitrator.weight[0, -4:] = torch.tensor([0.0, -0.5, 0.0, 0.0])  # of 1, 4, 16 and 64 hops
    features = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 60, SIGNAL.num_features)).astype(np.float32))
    speeds = torch.tensor([0.9, 0.95, 1.5])
    waiting = simulated_backlog(network, features, Devices(speeds))
    full = []
    network.run(features, waiting, lambda logit: full.append(chosen(logit)) or full[0])
    found = full[0].detach().numpy()
    assert 0.1 < found[:, 0].mean() < 0.9
    devices, lean = Devices(speeds), amortize.lean_cost(network.spec)
    for t in range(60):
        torch.testing.assert_close(waiting[:, t], torch.floor(devices.wait), atol=0, rtol=0)
        devices.run(torch.where(full[0][t] > 0.5, 1.0, lean))


def test_both_stacks_learn_and_the_choice_sharpens(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, AmortizePlan(cost=2, budget=0.8))
    rows = []
    for batch in trainer.stream:
        trainer.progress = trainer.step / 40
        rows.append(trainer.train_step(batch))
        if trainer.step == 40:
            break
    first, last = ({name: np.mean([row[name] for row in part]) for name in rows[0]} for part in (rows[:8], rows[-8:]))
    assert last["gain"] < 0.9 * first["gain"] and last["decided"] > 0.5 > first["decided"]
    assert last["cost"] < first["cost"] and trainer.network.quantise


def test_charges_are_for_cost_above_the_budget_and_for_lean_frames_while_nothing_waits(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, AmortizePlan(cost=0.5, budget=0.6, backlog=0.25))
    trainer._share = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    trainer._alone = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    lean = amortize.lean_cost(trainer.network.spec)
    charges = trainer._charges()
    assert float(charges["cost"]) == pytest.approx(0.5 * (lean + (1 - lean) / 2 - 0.6))
    assert float(charges["backlog"]) == pytest.approx(0.25 * 1 / 4)


def test_the_command_trains_resumes_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = make_shard(tmp_path / "shards", SIGNAL, sequences=4, frames=30)
    (tmp_path / "start.safetensors").write_bytes(small_weights(SIGNAL))
    model = tmp_path / "lean.safetensors"
    arguments = [
        "--shards",
        str(shards),
        "--start",
        str(tmp_path / "start.safetensors"),
        "--batch",
        "4",
        "--lean",
        "0.5",
    ]
    arguments += ["--out", str(tmp_path / "run.pt"), "-o", str(model), "--dtype", "float32", "--warm-up", "1"]
    for steps in ("10", "20"):
        amortize.main([*arguments, "--steps", steps])
    assert "resumed at step 10" in capsys.readouterr().err
    spec = load_model(model).network.spec
    assert spec == with_lean_part(load_model(small_weights(SIGNAL)).network.spec, 0.5)
    with pytest.raises(ValueError, match="holds backlog"):
        amortize.main([*arguments, "--steps", "30", "--backlog", "0.5"])
    capsys.readouterr()
    amortize.main(["--report", str(model), "--shards", str(shards), "--sequences", "2"])
    table = capsys.readouterr().out.splitlines()
    names = [line.split("|")[1].strip() for line in table]
    assert names == ["choice", "---", "full alone", "lean alone", "random", "voice activity", "arbitrator of lean"]
    assert f"| 100% | {spec.multiply_adds:,} |" in table[2] and f"| 0% | {spec.lean_multiply_adds:,} |" in table[3]


def test_a_slow_machine_falls_behind_with_the_full_stack_alone() -> None:
    model = load_model(small_weights(SIGNAL, lean=True))
    features = np.random.default_rng(0).normal(size=(40, SIGNAL.num_features)).astype(np.float32)
    full, lean, *_ = amortize.policies([model], 0.5)
    slow = [walk(policy, features, Devices(torch.tensor([0.8]))) for policy in (full, lean)]
    assert slow[0].full_share == 1 and slow[0].waits[-1] == pytest.approx(39 * 0.25)
    assert slow[1].full_share == 0 and slow[1].waits.max() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report", "tiny"], "model 'tiny' has no lean part"),
        (["--out", "run.pt"], "--out and -o are needed"),
        (["--out", "run.pt", "-o", "m.safetensors", "--start", "tiny"], "model 'tiny' has .*; the shards have"),
        (["--out", "run.pt", "-o", "m.safetensors", "--start", "SMALL", "--lean", "1.5"], "share is 1.5"),
    ],
)
def test_what_does_not_fit_is_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small.safetensors"
    small.write_bytes(small_weights(SIGNAL))
    shards = make_shard(tmp_path / "shards", SIGNAL)
    with pytest.raises(SystemExit):
        amortize.main([*(str(small) if a == "SMALL" else a for a in arguments), "--shards", str(shards)])
    import re

    assert re.search(message, capsys.readouterr().err)
