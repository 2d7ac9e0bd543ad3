"""Models that a new one stays near to: the added loss, its gradient, ensembles, old heads on a new body."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pyenhance.dsp import SignalSpec
from pyenhance.model import Model, load_model, named_shape, percepnet, write_weights
from pyenhance.model.compatible import check_heads, heads_on
from pyenhance.nn import LayerSpec, NetworkSpec
from pyenhance.train import fit
from pyenhance.train.dataset import ShardStream
from pyenhance.train.loss import congruence_loss, percepnet_loss
from pyenhance.train.network import Network, load_int8
from pyenhance.train.old import OldModels

from ..networks import WIDTHS, random_features, random_tensors, small_weights
from .shards import make_shard

SIGNAL = SignalSpec()
OPTIONS = fit.TrainOptions(rate=5e-3, warm_up=1, quantise_from=0)


def _model(seed: int = 0, **widths: int) -> Model:
    spec = percepnet(SIGNAL, **WIDTHS | widths)
    return load_model(write_weights(SIGNAL, spec, random_tensors(spec, np.random.default_rng(seed))))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shard(tmp_path_factory.mktemp("shards"), SIGNAL)


def _gains() -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, gains of an old model that is good in the first half of the frames, and the target."""
    torch.manual_seed(0)
    gain = torch.rand(2, 6, 8) * 0.8 + 0.1
    old = gain.clone()
    old[:, 3:] = (gain[:, 3:].sqrt() + torch.where(gain[:, 3:] < 0.5, 0.2, -0.2)) ** 2
    mask = torch.ones(2, 8)
    mask[:, 6:] = 0
    logits = torch.randn(2, 6, 8, dtype=torch.float64, requires_grad=True)
    return logits, old, {"gain": gain, "band_mask": mask}


def test_congruence_by_hand() -> None:
    logits, old, target = _gains()
    loss, good = congruence_loss(logits, old, target, alpha=2.0, beta=3.0, good_within=0.1)
    assert good == pytest.approx(0.5)
    small = 1e-3
    distance = ((torch.sigmoid(logits) + small).sqrt() - (old + small).sqrt()) ** 2
    weight = torch.tensor([5.0, 5, 5, 2, 2, 2]).view(1, 6, 1)
    assert loss.item() == pytest.approx((weight * distance)[..., :6].mean().item(), rel=1e-4)


def test_congruence_has_the_gradient_of_its_formula() -> None:
    """d/dlogit of w (sqrt(g + s) - sqrt(g_old + s))^2 / N, by hand; none beyond the bandwidth."""
    logits, old, target = _gains()
    congruence_loss(logits, old, target)[0].backward()
    g, small = torch.sigmoid(logits.detach()), 1e-3
    weight = torch.tensor([6.0, 6, 6, 1, 1, 1]).view(1, 6, 1) * target["band_mask"][:, None]
    slope = ((g + small).sqrt() - (old + small).sqrt()) / (g + small).sqrt() * g * (1 - g)
    torch.testing.assert_close(logits.grad, weight * slope / (2 * 6 * 6), rtol=1e-4, atol=1e-8, check_dtype=False)
    assert (logits.grad[..., 6:] == 0).all() and (logits.grad[..., :6] != 0).all()


def test_an_ensemble_is_the_mean_of_gains() -> None:
    models = [_model(0), _model(1)]
    features = random_features(models[0].network.spec, np.random.default_rng(2))
    expected = np.mean([m.estimate(features, m.network.new_memory())[0] for m in models], 0)
    gain = OldModels(models, SIGNAL).gain(torch.from_numpy(features)[None])
    assert np.mean(np.abs(gain[0].numpy() - expected)) < 0.004 < np.std(expected)
    assert OldModels([], SIGNAL).gain(torch.from_numpy(features)[None]) is None


def _trained(folder: Path, old: list[Model], steps: int = 40, **options: float) -> fit.Trainer:
    torch.manual_seed(0)
    given = fit.TrainOptions(**{"rate": 5e-3, "warm_up": 1, "quantise_from": 0} | options)
    trainer = fit.Trainer(load_int8(_model(3)), ShardStream(folder, 4), given, old)
    _go_on(trainer, steps)
    return trainer


def _go_on(trainer: fit.Trainer, until: int) -> None:
    for batch in trainer.stream:
        trainer.train_step(batch)
        if trainer.step == until:
            return


@torch.no_grad()
def _distance(network: Network, old: OldModels, folder: Path) -> float:
    batch = next(iter(ShardStream(folder, 4, seed=9)))
    features = torch.from_numpy(batch["features"])
    return float((torch.sigmoid(network(features)[0]).sqrt() - old.gain(features).sqrt()).square().mean())


def test_training_stays_near_the_old_model(shards: Path) -> None:
    old = [_model(4)]
    near, free = _trained(shards, old, alpha=20.0, beta=0.0), _trained(shards, [])
    reference = OldModels(old, SIGNAL)
    assert _distance(near.network, reference, shards) < 0.5 * _distance(free.network, reference, shards)


def test_a_step_tells_its_parts(shards: Path) -> None:
    trainer = fit.Trainer(load_int8(_model(3)), ShardStream(shards, 4), fit.TrainOptions(old_heads=0.5), [_model(4)])
    parts = trainer.train_step(next(iter(trainer.stream)))
    assert 0 < parts["good"] < 1 and parts["congruence"] > 0 and parts["old_heads"] > 0
    plain = fit.Trainer(load_int8(_model(3)), ShardStream(shards, 4)).train_step(next(iter(ShardStream(shards, 4))))
    assert set(plain) == {"loss", "gain", "strength", "vad"} and plain["loss"] < parts["loss"]


@pytest.mark.parametrize("option", [{"over": 1.0}, {"under": 1.0}, {"high": 0.5}])
def test_options_of_the_loss_reach_it(shards: Path, option: dict[str, float]) -> None:
    first = [
        fit.Trainer(load_int8(_model(3)), ShardStream(shards, 4), fit.TrainOptions(**given)) for given in ({}, option)
    ]
    plain, changed = (trainer.train_step(next(iter(trainer.stream))) for trainer in first)
    assert changed["loss"] != plain["loss"] and ("under" in changed) == ("under" in option)


def test_old_heads_keep_working_on_the_new_body(shards: Path) -> None:
    """Their loss on the trained body is lower when it was trained for, and the old heads themselves stay."""
    old = _model(4)
    losses = []
    for weight in (0.0, 1.0):
        trainer = _trained(shards, [old], alpha=0.0, beta=0.0, old_heads=weight)
        reference = OldModels([old], SIGNAL, trainer.network.spec)
        batch = {name: torch.from_numpy(array) for name, array in next(iter(ShardStream(shards, 4, seed=9))).items()}
        with torch.no_grad():
            (logits,) = reference.heads_on(trainer.network.run(batch["features"]))
            losses.append(percepnet_loss(*logits, batch)[0].item())
    assert losses[1] < 0.95 * losses[0]
    names = {name for name, _ in trainer.network.named_parameters()}
    assert not any("old" in name for name in names)


def test_heads_on_another_body_in_torch_and_numpy() -> None:
    old, new = _model(4), _model(5)
    features = random_features(new.network.spec, np.random.default_rng(2))
    network = load_int8(new)
    network.quantise = True
    with torch.no_grad():
        body = network.run(torch.from_numpy(features)[None])
        (logits,) = OldModels([old], SIGNAL, new.network.spec).heads_on(body)
    whole = {name: np.rint(127 * x[:, 0].numpy()) for name, x in body.items()}
    for found, expected in zip(heads_on(old.network, whole), logits, strict=True):
        np.testing.assert_allclose(found, torch.sigmoid(expected[0]).numpy(), atol=1e-5)
    own = new.network(features, new.network.new_memory())
    for found, head in zip(heads_on(new.network, own), ("gain", "strength", "vad"), strict=True):
        np.testing.assert_array_equal(found, own[head].squeeze())


def _remembering() -> NetworkSpec:
    layers = (LayerSpec("x", "dense", ("features",), 8, "clamp"), LayerSpec("gain", "conv", ("x",), 34, "sigmoid", 2))
    layers += tuple(
        LayerSpec(name, "dense", ("x",), units, "sigmoid") for name, units in (("strength", 34), ("vad", 1))
    )
    return NetworkSpec(SIGNAL.num_features, layers)


def test_heads_that_do_not_fit_are_refused_by_name(shards: Path) -> None:
    check_heads(named_shape("default", SIGNAL), named_shape("default", SIGNAL))
    for old, new, match in (
        (named_shape("tiny", SIGNAL), named_shape("default", SIGNAL), r"'gain' sees 'conv2': 64 units.*has 256 units"),
        (named_shape("tiny", SIGNAL), _remembering(), r"'gain' sees 'conv2': .*no such layer"),
        (_remembering(), named_shape("tiny", SIGNAL), r"head 'gain' is a conv, which remembers"),
    ):
        with pytest.raises(ValueError, match=match):
            check_heads(old, new)
    stream = ShardStream(shards, 2)
    other = load_model(small_weights(SignalSpec(34, 0)))
    for old, options, match in (
        ([_model(4, gru=9)], {"old_heads": 1.0}, r"old model 'weights-.*': head 'gain' sees 'gru1': 9 units"),
        ([other], {}, r"lookahead_frames=0.*; the shards have .*lookahead_frames=2"),
        ([], {"old_heads": 1.0}, "of no old model"),
    ):
        with pytest.raises(ValueError, match=match):
            fit.Trainer(load_int8(_model(3)), stream, fit.TrainOptions(**options), old)


def test_a_checkpoint_with_an_old_model_goes_on_exactly(shards: Path, tmp_path: Path) -> None:
    old = [_model(4), _model(5)]
    straight, first = (_trained(shards, old, steps, old_heads=1.0) for steps in (12, 6))
    first.save(tmp_path / "run.pt")
    second = _trained(shards, old, 1, old_heads=1.0)
    second.load(tmp_path / "run.pt")
    _go_on(second, 12)
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    with pytest.raises(ValueError, match=r"holds old .*; this run has \(none\)"):
        _trained(shards, [], 1).load(tmp_path / "run.pt")


def test_command_line(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old.safetensors"
    old.write_bytes(small_weights(SIGNAL))
    arguments = ["--shards", str(shards), "--out", str(tmp_path / "run.pt"), "--start", str(old), "--steps", "10"]
    arguments += ["--batch", "2", "--frames", "10", "--dtype", "float32", "--threads", "1"]
    fit.main([*arguments, "--old", str(old), "tiny", "--alpha", "0.5", "--beta", "2", "--good-within", "0.2"])
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    assert saved["step"] == 10 and len(saved["old"].split()) == 2
    with pytest.raises(SystemExit):
        fit.main([*arguments, "--old", "tiny", "--old-heads", "1"])
    assert "'tiny': head 'gain' sees 'conv2': 64 units, tanh; the other body has 7 units" in capsys.readouterr().err
