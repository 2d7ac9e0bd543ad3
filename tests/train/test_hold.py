"""`python -m pyenhance.train.hold`: models whose layers hold, and what that saves."""

from pathlib import Path

import numpy as np
import pytest

from pyenhance.dsp import SignalSpec
from pyenhance.model import load_model
from pyenhance.nn import INPUT, LayerSpec, NetworkSpec
from pyenhance.train import hold

from ..networks import small_weights
from .shards import make_shard

SIGNAL = SignalSpec(8)


def test_the_weights_stay_and_all_effort_gives_what_it_gave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start, path = tmp_path / "start.safetensors", tmp_path / "held.safetensors"
    start.write_bytes(small_weights(SIGNAL, training_commit="abc"))
    hold.main([str(start), "--steps", "9", "-o", str(path)])
    old, new = load_model(start), load_model(path)
    assert new.tensors.keys() == old.tensors.keys() and new.metadata["training_commit"] == "abc"
    held = {layer.name for layer in new.network.spec.layers if layer.hold == 9}
    assert held == {"dense", "conv1", "conv2", "gru1", "gru2", "gru3", "gain_gru", "strength_gru"}
    features = np.random.default_rng(0).normal(size=(30, SIGNAL.num_features)).astype(np.float32)
    gains = [model.estimate(features, model.network.new_memory())[0] for model in (old, new)]
    np.testing.assert_array_equal(*gains)
    assert (new.estimate(features, new.network.new_memory(), effort="auto")[0] != gains[0]).any()
    with pytest.raises(SystemExit):
        hold.main([str(start), "--steps", "64", "-o", str(tmp_path / "none.safetensors")])
    assert "hold is 64; accepted: 0 to 63" in capsys.readouterr().err
    assert not (tmp_path / "none.safetensors").exists()


def test_multiply_adds_of_what_has_changed_by_hand() -> None:
    layers = (
        LayerSpec("a", "dense", (INPUT,), 3, "clamp"),
        LayerSpec("b", "conv", ("a",), 5, "tanh", frames=2),
        LayerSpec("c", "gru", ("a", "b"), 4, "tanh"),
    )
    spec = NetworkSpec(7, layers)
    outputs = {"a": np.array([[0, 1, 2], [0, 1, 3]]), "b": np.ones((2, 5)), "c": np.array([[1, 1, 0, 0], [1, 2, 3, 4]])}
    # Of a 2 and then 1 values are new, of b 5 and none, of c 2 and 3.
    expected = [7 * 3 + 2 * 2 * 5 + 12 * (2 + 5) + 12 * 2, 7 * 3 + 1 * 2 * 5 + 12 * 1 + 12 * 3]
    assert hold.multiply_adds(spec, outputs).tolist() == expected
    changed = {
        name: np.arange(2 * 7).reshape(2, 7)[:, : layer.units] + 1.0 for layer in layers for name in (layer.name,)
    }
    assert hold.multiply_adds(spec, changed).tolist() == [spec.multiply_adds] * 2


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = make_shard(tmp_path / "shards", SIGNAL, sequences=2, frames=40)
    path = tmp_path / "held.safetensors"
    path.write_bytes(hold.held_model(load_model(small_weights(SIGNAL)), 9))
    hold.main([str(path), "--shards", str(shards)])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    costs = [float(row[1].replace(",", "")) for row in rows]
    assert [row[0] for row in rows] == ["full", "auto", "lean"]
    assert costs[0] == load_model(path).network.spec.multiply_adds > costs[1] > costs[2]
    waits = np.array([[float(cell.split(",")[0]) for cell in row[7:]] for row in rows])
    assert (np.diff(waits, axis=1) <= 0).all() and waits[0, 0] > waits[1, 0] >= waits[2, 0]
