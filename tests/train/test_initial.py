"""`pyenhance train initial`: a model that begins as in the middle of speech."""

from pathlib import Path

import numpy as np
import pytest

from pyenhance.dsp import SignalSpec
from pyenhance.model import load_model
from pyenhance.train import export, initial
from pyenhance.train.dataset import read_shard
from pyenhance.train.network import load_int8

from ..networks import small_weights

SIGNAL = SignalSpec(24, 1)


def _shard(folder: Path, speaking: bool = True) -> Path:
    rng = np.random.default_rng(0)
    shard = {"features": rng.normal(size=(3, 420, SIGNAL.num_features)).astype(np.float16)}
    shard |= {name: np.zeros((3, 420, SIGNAL.num_bands), np.uint8) for name in ("gain", "strength")}
    shard |= {"vad": np.full((3, 420), 255 * speaking, np.uint8), "band_mask": np.ones((3, SIGNAL.num_bands), np.uint8)}
    shard["vad"][0, 299] = 0
    np.savez(folder / "shard-00000.npz", **shard)
    (folder / "signal.json").write_text(SIGNAL.to_json())
    return folder


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "old.safetensors"
    path.write_bytes(small_weights(SIGNAL, training_commit="abc", training_data="none"))
    return path


def test_it_begins_with_the_mean_of_what_is_remembered_in_speech(tmp_path: Path, model_file: Path) -> None:
    """By its definition, frame by frame; the weights stay as they are."""
    out = tmp_path / "new.safetensors"
    initial.main(["--shards", str(_shard(tmp_path)), "--model", str(model_file), "-o", str(out)])
    old, new, memories = load_model(model_file), load_model(out), []
    shard = read_shard(tmp_path / "shard-00000.npz")
    for k, features in enumerate(shard["features"].astype(np.float32)):
        memory = old.network.new_memory()
        for t, frame in enumerate(features, 1):
            old.network(frame[None], memory)
            if t in (250, 300, 350, 400) and (k, t) != (0, 300):  # where nobody speaks
                memories.append(memory.copy())
    assert len(memories) == 11
    expected, found = np.mean(memories, 0), new.network.new_memory()
    for place, _ in old.network.spec.memory.values():
        unit = 1 if np.abs(expected[place]).max(initial=0) > 1 else 127
        np.testing.assert_allclose(unit * found[place], unit * expected[place], atol=0.51)
    for name in old.network.spec.tensors:
        np.testing.assert_array_equal(new.tensors[name], old.tensors[name])
    assert new.metadata["training_commit"] == "abc" and new.metadata["training_data"] == "none"
    for name, tensor in export.int8_tensors(load_int8(new)).items():  # which training leaves as it is
        if name in new.network.spec.initial:
            np.testing.assert_array_equal(tensor, new.tensors[name])


def test_shards_that_do_not_do_are_refused(
    tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new.safetensors"
    arguments = ["--shards", str(_shard(tmp_path, speaking=False)), "-o", str(out)]
    for model, message in ((model_file, "nobody speaks in 3 sequences"), ("tiny", "accepted for tiny: SignalSpec")):
        with pytest.raises(SystemExit):
            initial.main([*arguments, "--model", str(model)])
        assert message in capsys.readouterr().err
    assert not out.exists()
