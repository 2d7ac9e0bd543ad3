"""A small corpus of synthetic sounds, laid out as a real one."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ..conftest import voiced

torch.set_num_threads(1)  # of two threads one waits for the other, thirty times as long where the machine is busy


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, two noises and one room, with their manifests."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    room = rng.normal(size=9600) * np.exp(-np.arange(9600) / 1500)
    room[0] = 5
    sounds = {
        "speech": {"anna": voiced(6, 210), "bert": voiced(5, 110), "carl": voiced(4, 130)},
        "noise": {"hiss": 0.05 * rng.normal(size=96_000), "hum": 0.05 * np.sin(np.arange(96_000) / 50)},
        "rir": {"room": room / 10},
    }
    for kind, clips in sounds.items():
        (folder / kind).mkdir()
        with open(folder / f"manifest_{kind}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["file", "group", "split", "speaker", "eff_bw", "sex"])
            writer.writeheader()
            for name, samples in clips.items():
                path = f"{kind}/{name}.flac"
                soundfile.write(folder / path, np.clip(samples, -1, 1), 48_000)
                bandwidth = {"anna": 20_000, "bert": 8000}.get(name, "")
                split = "valid" if name == "carl" else "train"
                sex = {"anna": "F?", "bert": "M"}.get(name, "")
                row = {"file": path, "group": "permissive", "split": split, "speaker": name, "eff_bw": bandwidth}
                writer.writerow(row | {"sex": sex})
    return folder
