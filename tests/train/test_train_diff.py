"""Diffs that are trained: scales that stay, shares that are reached, results to the bit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pyenhance.cli import main
from pyenhance.dsp import SignalSpec
from pyenhance.model import apply_diffs, load_model, make_diff, read_header, write_weights
from pyenhance.model.diff import bucket_of, changed_share
from pyenhance.train import export, fit
from pyenhance.train.dataset import ShardStream
from pyenhance.train.diff import (
    PRUNED_BY,
    DiffPlan,
    DiffTrainer,
    SparseChange,
    changing_network,
    prune,
    share_kept,
)
from pyenhance.train.network import fake_quantise_weight, load_int8
from pyenhance.train.updates import shards_loss

from ..networks import small_weights
from .shards import make_shard

SIGNAL = SignalSpec()
STEPS = 100


def _base() -> bytes:
    """A model whose rows do not all use the whole of int8, as diffs leave them, and with a bias of -0.0."""
    model = load_model(small_weights(SIGNAL))
    tensors = dict(model.tensors)
    tensors["gru1.weight_hh"] = tensors["gru1.weight_hh"] // 3
    bias = tensors["dense.bias"].copy()
    bias[0] = -0.0
    return write_weights(SIGNAL, model.network.spec, tensors | {"dense.bias": bias})


BASE = _base()
OPTIONS = fit.TrainOptions(rate=5e-3, warm_up=1)


def _bits(tensors: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {name: tensor.tobytes() for name, tensor in tensors.items()}


def _trained(folder: Path, plan: DiffPlan, steps: int = STEPS) -> DiffTrainer:
    """A trainer that has gone all the way of its schedule."""
    trainer = DiffTrainer(BASE, ShardStream(folder, 4), plan, OPTIONS)
    _go_on(trainer, steps, steps)
    return trainer


def _go_on(trainer: fit.Trainer, until: int, steps: int) -> None:
    for batch in trainer.stream:
        trainer.train_step(batch)
        if trainer.step % 2 == 0:
            trainer.spent = trainer.step
            trainer.synchronise(steps)
        if trainer.step == until:
            return


def _loss(weights: bytes, folder: Path) -> float:
    return shards_loss(load_int8(load_model(weights), freeze_scales=True), folder, OPTIONS.over)["loss"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shard(tmp_path_factory.mktemp("shards"), SIGNAL)


def test_frozen_scales_hold_every_row_to_the_bit() -> None:
    model = load_model(BASE)
    assert np.abs(model.tensors["gru1.weight_hh"]).max() < 60
    assert _bits(export.int8_tensors(load_int8(model, freeze_scales=True))) == _bits(model.tensors)
    assert _bits(export.int8_tensors(load_int8(model))) != _bits(model.tensors)


def test_a_weight_is_quantised_under_a_given_scale() -> None:
    weight = torch.tensor([[0.24, -0.26, 9.0, -9.0], [0.24, -0.26, 0.0, 1.0]], requires_grad=True)
    seen = fake_quantise_weight(weight, torch.tensor([0.05, 0.0]))
    assert seen.tolist() == [pytest.approx([0.25, -0.25, 127 * 0.05, -127 * 0.05]), [0, 0, 0, 0]]
    (seen * torch.arange(8.0).view(2, 4)).sum().backward()
    assert weight.grad.flatten().tolist() == list(range(8))


@pytest.mark.parametrize("kind", ["sparse", "hashed"])
def test_lean_frames_stay_as_they_are(shards: Path, kind: str) -> None:
    base = small_weights(SIGNAL, lean=True)
    trainer = DiffTrainer(base, ShardStream(shards, 4), DiffPlan(kind, 0.1), OPTIONS)
    _go_on(trainer, 20, 20)
    new, diff = trainer.result()
    assert apply_diffs(base, [diff]) == new
    before, after = load_model(base).tensors, load_model(new).tensors
    lean = {name for name in before if ".lean_" in name}
    moved = {name for name, value in before.items() if value.tobytes() != after[name].tobytes()}
    assert lean and not lean & moved and "gain.weight" in moved


@pytest.mark.parametrize("kind", ["sparse", "hashed"])
def test_an_untrained_diff_is_its_base(kind: str) -> None:
    model = load_model(BASE)
    network = changing_network(model, DiffPlan(kind, 0.1))
    for name, tensor in export.int8_tensors(network).items():
        np.testing.assert_array_equal(tensor, model.tensors[name])
    prune(network, 1e-9)
    assert _bits(export.int8_tensors(network)) == _bits(model.tensors), "what is pruned is the base to the bit"
    trained = {name.rsplit(".", 1)[1] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == ({"change"} if kind == "sparse" else {"change", "steps"})


def test_the_threshold_rises_until_the_share_is_left() -> None:
    shares = [share_kept(progress, 0.02) for progress in np.linspace(0, 1, 50)]
    assert shares[0] == 1 and shares == sorted(shares, reverse=True)
    assert share_kept(PRUNED_BY, 0.02) == share_kept(1.0, 0.02) == 0.02 < share_kept(PRUNED_BY - 0.1, 0.02)


def test_the_smallest_changes_are_taken_back() -> None:
    network = changing_network(load_model(BASE), DiffPlan())
    changes = [module for module in network.modules() if isinstance(module, SparseChange)]
    torch.manual_seed(0)
    for change in changes:
        torch.nn.init.normal_(change.change)
    everything = [change.change.detach().clone() for change in changes]
    for share in (0.5, 0.02, 0.1):  # what went does not come back
        prune(network, share)
    for ndim in (1, 2):
        own = [(c, before) for c, before in zip(changes, everything, strict=True) if c.change.ndim == ndim]
        kept = torch.cat([c.kept.flatten() for c, _ in own])
        sizes = torch.cat([before.abs().flatten() for _, before in own])
        assert kept.sum() == int(0.02 * len(kept))
        assert sizes[kept].min() > sizes[~kept].max()
        for c, before in own:
            assert torch.equal(c.change, torch.where(c.kept, before, 0))


@pytest.mark.parametrize("share", [0.1, 0.03])
def test_a_sparse_diff_learns_within_its_share(shards: Path, share: float) -> None:
    trainer = _trained(shards, DiffPlan("sparse", share))
    new, diff = trainer.result({"training_data": "numbers"})
    assert _loss(new, shards) < 0.95 * _loss(BASE, shards)
    assert 0.5 * share < changed_share(BASE, new) <= share
    assert apply_diffs(BASE, [diff]) == new and read_header(diff).kind == "sparse"
    old, model = load_model(BASE), load_model(new)
    assert model.metadata["training_data"] == "numbers"
    biases = [name for name, (kind, _) in model.network.spec.tensors.items() if kind == "F32" and "bias" in name]
    moved = [(old.tensors[n].view("u4") != model.tensors[n].view("u4")) for n in biases]
    assert 0 < np.concatenate(moved).mean() <= share
    for name in model.tensors:
        if name.endswith("_scale"):
            assert model.tensors[name].tobytes() == old.tensors[name].tobytes(), name


def test_a_hashed_diff_moves_the_entries_of_a_bucket_alike(shards: Path) -> None:
    plan = DiffPlan("hashed", 0.1, seed=7)
    trainer = _trained(shards, plan)
    new, diff = trainer.result()
    assert _loss(new, shards) < 0.9 * _loss(BASE, shards)
    assert apply_diffs(BASE, [diff]) == new and read_header(diff).kind == "hashed"
    old, model = load_model(BASE), load_model(new)
    buckets = trainer.buckets
    assert buckets == round(0.1 * model.weights)
    steps = np.full(buckets, np.nan)
    for name, (kind, _) in model.network.spec.tensors.items():
        if kind == "I8":
            before, after = (m.tensors[name].astype(int).ravel() for m in (old, model))
            own = bucket_of(name, len(before), buckets, 7)
            inside = np.abs(after) < 127
            known = ~np.isnan(steps[own[inside]])
            np.testing.assert_array_equal(steps[own[inside]][known], (after - before)[inside][known])
            steps[own[inside]] = (after - before)[inside]
    assert (np.nan_to_num(steps) != 0).sum() > buckets / 10
    with pytest.raises(ValueError, match="is not the base and"):
        make_diff(BASE, new, kind="hashed", buckets=buckets, seed=8)


@pytest.mark.parametrize("kind", ["sparse", "hashed"])
def test_a_checkpoint_goes_on_exactly(shards: Path, tmp_path: Path, kind: str) -> None:
    plan = DiffPlan(kind, 0.1)
    straight = _trained(shards, plan, 16)
    first = DiffTrainer(BASE, ShardStream(shards, 4), plan, OPTIONS)
    _go_on(first, 8, 16)
    first.save(tmp_path / "run.pt")
    second = DiffTrainer(BASE, ShardStream(shards, 4), plan, OPTIONS)
    second.load(tmp_path / "run.pt")
    _go_on(second, 16, 16)
    assert second.result() == straight.result()
    for other, match in (
        (DiffTrainer(BASE, ShardStream(shards, 4), DiffPlan(kind, 0.2)), "holds share 0.1; this run has 0.2"),
        (DiffTrainer(small_weights(SIGNAL), ShardStream(shards, 4), plan), "holds base .*; this run has"),
    ):
        with pytest.raises(ValueError, match=match):
            other.load(tmp_path / "run.pt")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "dense"}, "'dense'; accepted: sparse, hashed"),
        ({"share": 0}, "share is 0; accepted"),
        ({"share": 1.5}, "share is 1.5"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_plans(options: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        DiffPlan(**options)


def test_command_line(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, out, made = tmp_path / "base.safetensors", tmp_path / "update.diff", tmp_path / "new.safetensors"
    base.write_bytes(BASE)
    arguments = ["train", "diff", "--shards", str(shards), "--minutes", "0.01", "--batch", "2", "--frames", "10"]
    arguments += ["--dtype", "float32", "--threads", "1", "-o", str(out)]
    with pytest.raises(SystemExit):
        main([*arguments, "--base", str(base), "--share", "2"])
    assert "share is 2.0; accepted" in capsys.readouterr().err and not list(tmp_path.glob("update*"))
    assert main([*arguments, "--base", str(base), "--share", "0.2"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bytes"] == out.stat().st_size and said["share"] <= 0.2 and said["kind"] == "sparse"
    assert main(["model", "apply", str(base), str(out), "-o", str(made)]) == 0
    assert said["result"] in capsys.readouterr().out
    before = out.read_bytes()
    assert main([*arguments, "--base", str(base)]) == 1
    assert "--force" in capsys.readouterr().err and out.read_bytes() == before
    assert main([*arguments, "--base", str(base), "--share", "0.2", "--force"]) == 0
    assert out.read_bytes() == before, "a run that is over is read, and leads to the same"
    with pytest.raises(ValueError, match="of a diff"):
        export.main([str(out.with_suffix(".pt")), "-o", str(made)])


def test_another_signal_path_is_refused(tmp_path: Path) -> None:
    folder = make_shard(tmp_path, SignalSpec(34, 0))
    with pytest.raises(ValueError, match=r"lookahead_frames=2.*the shards have .*lookahead_frames=0"):
        DiffTrainer(BASE, ShardStream(folder, 2), DiffPlan())
