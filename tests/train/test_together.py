"""Several networks trained at once, here without a GPU: the same steps, one after the other."""

import json
import os
import re
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from pyenhance import load_model
from pyenhance.dsp import SignalSpec
from pyenhance.model import named_shape
from pyenhance.train import fit, together
from pyenhance.train.dataset import ShardStream
from pyenhance.train.together import DeviceShards, Entry, Equaliser, Lane

from ..networks import small_weights
from .shards import make_shard

SIGNAL, LOW = SignalSpec(8), SignalSpec(8, 0)
CPU = torch.device("cpu")


@pytest.fixture
def small(tmp_path: Path) -> str:
    path = tmp_path / "small.safetensors"
    path.write_bytes(small_weights(SIGNAL))
    return str(path)


def test_a_plan_is_trained_resumed_and_exported(tmp_path: Path, small: str, capsys: pytest.CaptureFixture[str]) -> None:
    common = {"rate": 0.01, "batch": 4, "frames": 8, "warm_up": 1}
    plan = {
        "fresh": {"shape": "banded-tiny", **common},
        "near": {"start": small, "old": [small], "beta": 2.5, **common},
        "low": {"start": small, "lookahead": 0, "under": 0.1, **common},
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    shards, low = make_shard(tmp_path / "shards", SIGNAL), make_shard(tmp_path / "low", LOW)
    out = tmp_path / "out"
    arguments = [str(tmp_path / "plan.json"), "--shards", str(shards), str(low), "--valid", str(shards)]
    arguments += ["--out", str(out), "--max-gb", "0.001", "--device", "cpu", "--data", "noise"]
    gains = []
    for steps in (10, 20):
        together.main([*arguments, "--steps", str(steps)])
        said = capsys.readouterr().err
        gains.append({name: float(gain) for name, gain in re.findall(r"^(\w+) valid gain (\S+)", said, re.M)})
        assert set(gains[-1]) == {"fresh", "near"}  # there are no validation shards without look-ahead
        assert re.search(rf"^low step {steps} loss \S+ .*under", said, re.M)
        assert re.search(rf"^near step {steps} .*congruence", said, re.M)
    assert all(gains[1][name] < gains[0][name] for name in gains[0])
    models = {name: load_model(out / f"{name}.safetensors") for name in plan}
    assert models["fresh"].network.spec == named_shape("banded-tiny", SIGNAL)
    assert models["near"].signal == SIGNAL and models["low"].signal == LOW
    assert models["low"].metadata["training_steps"] == "20"
    assert models["low"].metadata["training_data"] == "noise"
    assert fit.averaged_network(out / "fresh.pt")[0] == SIGNAL
    plan["low"]["shape"], plan["low"]["start"] = "tiny", ""
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(SystemExit):
        together.main([*arguments, "--steps", "50"])
    assert re.search(r"low.pt holds layers", capsys.readouterr().err)


def test_a_step_is_the_trainers(tmp_path: Path, small: str) -> None:
    """Of one sequence there is one batch: the same weights come of it, to the bit."""
    shards = make_shard(tmp_path / "shards", SIGNAL, sequences=1, frames=20)
    entry = Entry(start=small, batch=2, frames=99, over=1.5, high=0.5, warm_up=2)
    lane = Lane("a", entry, DeviceShards([shards], CPU, 0.001), CPU, tmp_path / "a.pt")
    options = fit.TrainOptions(over=1.5, high=0.5, warm_up=2, quantise_from=0)
    stream = ShardStream(shards, 2)
    trainer = fit.Trainer(fit.starting_network(SIGNAL, "", small, 0), stream, options)
    for batch in stream:
        lane.step(0.0, fit.Length(steps=8))
        trainer.train_step(batch)
        trainer.progress = stream.step / 8
        if stream.step == 4:
            break
    for found, expected in zip(lane.trainer.network.parameters(), trainer.network.parameters(), strict=True):
        torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_a_step_asks_the_device_for_no_number(tmp_path: Path, small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a graph can hold it: what lies on the device "meta" has no values, and meets only its like."""
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **options: nullcontext())  # it knows no such device
    meta = torch.device("meta")
    entry = Entry(start=small, batch=4, frames=3, old=(small,), under=0.1)
    memory = DeviceShards([make_shard(tmp_path / "shards", SIGNAL)], meta, 0.001)
    lane = Lane("a", entry, memory, meta, tmp_path / "a.pt")
    lane.trainer.optimisers.pop()  # AdamW, whose steps can be held on a GPU alone
    (muon,) = lane.trainer.optimisers
    muon.param_groups[0]["lr"] = torch.tensor(0.1, device=meta)
    lane.trainer.stream.step = fit.SYNC_STEPS - 1  # the next step goes into the average
    lane.step(1.0, fit.Length(minutes=1))
    assert all(parameter.grad.device == meta for parameter in lane.trainer.network.parameters())
    assert lane.trainer.progress == pytest.approx(1 / 60)
    with pytest.raises((RuntimeError, NotImplementedError)):
        lane.losses()  # asks


def test_sequences_are_drawn_from_all_shards_also_those_that_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_shard(tmp_path, SIGNAL, sequences=3, frames=30)
    with np.load(folder / "shard-00000.npz") as file:
        first = dict(file)
    size = sum(array.nbytes for array in first.values())
    memory = DeviceShards([folder], CPU, 2.5 * size / 1e9)  # room for two shards and a half
    monkeypatch.setattr(together, "_RESCAN_S", 0.0)
    for index, value in ((1, 10.0), (2, 20.0)):
        later = first | {"features": np.full_like(first["features"], value)}
        np.savez(tmp_path / "part.npz", **later)
        os.replace(tmp_path / "part.npz", folder / f"shard-{index:05d}.npz")
    memory._next_scan = 0.0
    while memory.load_next():
        pass
    assert memory.sequences == 6 and re.search("no room for .*shard-00002", capsys.readouterr().err)
    torch.manual_seed(0)
    batch = memory.draw(400, 10)
    assert {name: array.shape for name, array in batch.items()} == {
        "features": (400, 10, SIGNAL.num_features),
        "gain": (400, 10, 8),
        "strength": (400, 10, 8),
        "vad": (400, 10),
        "band_mask": (400, 8),
    }
    new = (batch["features"] == 10).all(-1).all(-1)
    assert 0.4 < new.float().mean() < 0.6
    found = {(first["gain"] == np.rint(255 * row[:1].numpy())).all(-1).nonzero()[1][0] for row in batch["gain"]}
    assert found == set(range(21))  # stretches begin anywhere that leaves room for them, and often at the beginning
    at_first = (torch.round(255 * batch["gain"][:, 0]).numpy()[:, None] == first["gain"][:, 0]).all(-1).any(1)
    assert 0.25 < at_first.mean() < 0.42
    np.testing.assert_allclose(batch["features"][~new][..., :8], batch["gain"][~new], atol=0.003)


def test_a_network_whose_loss_is_no_number_stops_and_the_others_go_on(
    tmp_path: Path, small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = DeviceShards([make_shard(tmp_path / "shards", SIGNAL)], CPU, 0.001)
    entry = Entry(start=small, batch=2, frames=10)
    lanes = [Lane(name, entry, memory, CPU, tmp_path / f"{name}.pt") for name in ("bad", "good")]
    with torch.no_grad():
        lanes[0].trainer.network.gain.bias.fill_(torch.nan)
    together.train(lanes, [memory], fit.Length(steps=3), tmp_path, {})
    assert "bad: stopped, its loss is nan" in capsys.readouterr().err
    assert not (tmp_path / "bad.pt").exists() and lanes[1].trainer.step == 3
    assert (tmp_path / "good.pt").exists() and load_model(tmp_path / "good.safetensors").signal == SIGNAL


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("{", "is no JSON"),
        ("[]", r"holds \[\]; accepted: an object"),
        ({"a": {"shape": "banded", "speed": 3}}, "'a': .*accepted: an object of shape, start, rate"),
        ({"a": {"shape": "banded", "rate": "fast"}}, "rate is 'fast'"),
        ({"a": {"shape": "banded", "rate": float("nan")}}, "rate is nan"),
        ({"a": {"shape": "banded", "batch": 0}}, "batch is 0; accepted: above 0"),
        ({"a": {"shape": "banded", "batch": 2.5}}, "batch is 2.5"),
        ({"a": {"shape": "banded", "old": "default"}}, "old is 'default'"),
        ({"a": {"shape": "wide"}}, "shape is 'wide'; accepted: tiny, default"),
        ({"a": {}}, "accepted: one of the two"),
        ({"a": {"shape": "tiny", "start": "tiny"}}, "accepted: one of the two"),
        ({"../a": {"shape": "tiny"}}, "names without a folder"),
        ({"a": {"shape": "tiny", "lookahead": 1}}, r"lookahead is 1; the shards have \[2\]"),
        ({"a": {"start": "tiny"}}, "model 'tiny' has 34 bands; the shards have 8"),
    ],
)
def test_what_is_no_plan_is_refused(
    plan: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(plan if isinstance(plan, str) else json.dumps(plan))
    shards = make_shard(tmp_path / "shards", SIGNAL)
    with pytest.raises(SystemExit):
        together.main([str(path), "--shards", str(shards), "--out", str(tmp_path / "out"), "--max-gb", "0.001"])
    assert re.search(message, " ".join(capsys.readouterr().err.split()))


def test_shards_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no shard"):
        DeviceShards([tmp_path], CPU, 0.001)
    folders = [make_shard(tmp_path / name, SIGNAL, frames=frames) for name, frames in (("a", 30), ("b", 20))]
    with pytest.raises(ValueError, match=r"shard-00000.npz has \w+ of shape .*; accepted: "):
        DeviceShards(folders, CPU, 0.001)


def test_an_equaliser_is_another_microphone() -> None:
    """Levels between bands move by the same number of dB in all frames, within what it may, and smoothly."""
    signal = SignalSpec(34, fine_bins=32)
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.uniform(-1, 1, (50, 20, signal.num_features)).astype(np.float32))
    torch.manual_seed(0)
    heard = Equaliser(signal, CPU)(features, 6.0)
    torch.testing.assert_close(heard[..., 34:70], features[..., 34:70], atol=0, rtol=0)  # coherence, pitch
    change = 20 * (heard - features)  # dB
    torch.testing.assert_close(change.mean(1, keepdim=True).expand_as(change), change, atol=1e-4, rtol=0)
    change = change[:, 0]
    bands, fine = change[:, :34], change[:, 70:]
    assert 6 < (bands.amax(1) - bands.amin(1)).max() <= 12
    assert bands.diff(dim=1).abs().max() < 12 / (33 / 6) + 1e-3
    at = signal.band_centres[(signal.band_centres > 0) & (signal.band_centres <= 32)]
    torch.testing.assert_close(fine[:, at - 1], bands[:, np.searchsorted(signal.band_centres, at)], atol=1e-4, rtol=0)
    power, before = ((10 ** (2 * x[..., :34])).sum((1, 2)) for x in (heard, features))
    torch.testing.assert_close(power, before)
    silence = torch.full_like(features, -2.0)
    assert (Equaliser(signal, CPU)(silence, 6.0) >= -2.0).all()
    torch.testing.assert_close(Equaliser(signal, CPU)(features, 0.0), features)


def test_a_plan_may_ask_for_an_equaliser(tmp_path: Path, small: str) -> None:
    memory = DeviceShards([make_shard(tmp_path / "shards", SIGNAL)], CPU, 0.001)
    batches = []
    for most_db in (0.0, 12.0):
        torch.manual_seed(0)
        batches.append(memory.draw(4, 8, most_db))
    plain, heard = batches
    assert (plain["features"][..., :8] != heard["features"][..., :8]).any()
    for name in ("gain", "strength", "vad", "band_mask"):
        torch.testing.assert_close(plain[name], heard[name], atol=0, rtol=0)
    lane = Lane("a", Entry(start=small, batch=4, frames=8, equaliser_db=12.0), memory, CPU, tmp_path / "a.pt")
    lane.step(0.0, fit.Length(steps=2))
    assert np.isfinite(lane.losses()["loss"])
