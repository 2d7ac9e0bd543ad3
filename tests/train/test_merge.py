"""Several networks as one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pyenhance import load_model
from pyenhance.dsp import SignalSpec
from pyenhance.model import Model, named_shape, with_backward_part
from pyenhance.train import export, merge
from pyenhance.train.network import Network, load_int8

FINE = SignalSpec(8, 1, 6)


def _model(path: Path, signal: SignalSpec, seed: int, backward: int = 0) -> Model:
    torch.manual_seed(seed)
    spec = named_shape("tiny", signal)
    path.write_bytes(
        export.weights_bytes(signal, Network(with_backward_part(spec, backward) if backward else spec), {})
    )
    return load_model(path)


def test_heads_answer_the_mean(tmp_path: Path) -> None:
    """One of them knows no fine bins, another goes backward."""
    models = [
        _model(tmp_path / "a.safetensors", replace(FINE, fine_bins=0), 0),
        _model(tmp_path / "b.safetensors", FINE, 1, backward=8),
        _model(tmp_path / "c.safetensors", FINE, 2),
    ]
    network = merge.merged(models)
    assert merge.merged_signal(models) == FINE and network.spec.inputs == FINE.num_features
    features = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 20, FINE.num_features)).astype(np.float32))
    network.quantise = False
    answers = network(features)
    alone = [load_int8(model)(features[..., : model.signal.num_features]) for model in models]
    for found, expected in zip(answers, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(expected).mean(0), atol=1e-5, rtol=1e-5)
        assert (found - expected[0]).abs().max() > 1e-2


def test_a_merged_model_is_a_file_as_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(tmp_path / f"{name}.safetensors") for name in "ab"]
    for seed, name in enumerate(names):
        _model(Path(name), FINE, seed)
    out = tmp_path / "m.safetensors"
    merge.main([*names, "-o", str(out), "--data", "noise"])
    model = load_model(out)
    assert model.metadata["training_data"] == "noise" and model.signal == FINE
    assert f"{2 * load_model(names[0]).weights:,} weights" in capsys.readouterr().out
    features = np.random.default_rng(0).uniform(-1, 1, (20, FINE.num_features)).astype(np.float32)
    found = model.estimate(features, model.network.new_memory())
    alone = [(m := load_model(name)).estimate(features, m.network.new_memory()) for name in names]
    for value, *expected in zip(found, *alone, strict=True):  # of logits, and int8
        np.testing.assert_allclose(value, np.mean(expected, 0), atol=0.02)
    before = out.read_bytes()
    with pytest.raises(SystemExit):
        merge.main([*names, "-o", str(out)])
    assert out.read_bytes() == before and "m.safetensors" in capsys.readouterr().err


def test_models_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    one, other = (_model(tmp_path / f"{bands}.safetensors", SignalSpec(bands), 0) for bands in (8, 10))
    with pytest.raises(ValueError, match="1 models; accepted: two or more"):
        merge.merged([one])
    with pytest.raises(ValueError, match=r"10 has .*num_bands=10.*; accepted beside 8: .*num_bands=8"):
        merge.merged([one, other])
