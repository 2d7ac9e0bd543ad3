"""Shards of numbers that a network can learn something from."""

from pathlib import Path

import numpy as np

from pyenhance.dsp import SignalSpec


def make_shard(folder: Path, signal: SignalSpec, *, sequences: int = 4, frames: int = 30, seed: int = 0) -> Path:
    """A folder with one shard, in which gains and strengths follow the features."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    gain = rng.random((sequences, frames, signal.num_bands)).astype(np.float32)
    features = np.concatenate((gain, gain, gain), -1)[..., : signal.num_features]
    levels = np.rint(gain * 255).astype(np.uint8)
    np.savez(
        folder / "shard-00000.npz",
        features=features.astype(np.float16),
        gain=levels,
        strength=levels,
        vad=(gain.mean(-1) > 0.5).astype(np.uint8),
        band_mask=np.ones((sequences, signal.num_bands), np.uint8),
    )
    (folder / "signal.json").write_text(signal.to_json())
    return folder
