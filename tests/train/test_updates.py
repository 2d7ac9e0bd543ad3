"""Updates in a row, as diffs and as full models: the experiment's bookkeeping, and a small rerun of its table."""

import json
from pathlib import Path

import pytest

from pyenhance.dsp import SignalSpec
from pyenhance.model import apply_diffs
from pyenhance.model.diff import weights_bytes
from pyenhance.train import dataset, updates
from pyenhance.train.loss import OVER

from ..networks import small_weights
from .shards import make_shard

SIGNAL = SignalSpec()


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Two updates of a few steps."""
    (tmp_path / "base.safetensors").write_bytes(small_weights(SIGNAL))
    parts = [str(make_shard(tmp_path / f"part-{seed}", SIGNAL, seed=seed)) for seed in (1, 2)]
    tests = [str(make_shard(tmp_path / f"test-{seed}", SIGNAL, seed=seed)) for seed in (3, 4)]
    options = ["--base", str(tmp_path / "base.safetensors"), "--shards", *parts, "--tests", *tests]
    options += ["--steps", "10", "--batch", "2", "--frames", "10", "--warm-up", "1", "--dtype", "float32"]
    return [*options, "--threads", "1", "--shares", "0.1", "-o", str(tmp_path / "runs")]


def test_chains(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    updates.main(arguments)
    first = capsys.readouterr()
    runs = tmp_path / "runs"
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in first.out.splitlines()]
    assert [row[0] for row in table] == ["chain", "---", "base", "full", "sparse-0.1", "hashed-0.1"]
    for row in table[3:]:
        facts = [json.loads((runs / row[0] / f"{number}.json").read_text()) for number in (1, 2)]
        assert [cell.split()[0] for cell in row[1:3]] == [f"{update['gain']:.4f}" for update in facts]
    full = [float(cell) for cell in table[3][1:3]]
    for name, row in (("sparse-0.1", table[4]), ("hashed-0.1", table[5])):
        relative = [float(cell.split("(")[1].rstrip("%)")) for cell in row[1:3]]
        found = [float(cell.split()[0]) for cell in row[1:3]]
        assert relative == pytest.approx([100 * (a / b - 1) for a, b in zip(found, full, strict=True)], abs=0.1)
        diffs = [(runs / name / f"{number}.diff").read_bytes() for number in (1, 2)]
        assert apply_diffs(small_weights(SIGNAL), diffs) == (runs / name / "2.safetensors").read_bytes()
    assert not list(runs.rglob("*.pt"))

    updates.main(arguments)  # nothing is left to do
    again = capsys.readouterr()
    assert again.out == first.out and not again.err
    weights = runs / "sparse-0.1" / "2.safetensors"
    before = weights.read_bytes()
    for path in (runs / "sparse-0.1").glob("2.*"):
        path.unlink()
    updates.main(arguments)  # what was cut off is done again, to the same bits
    again = capsys.readouterr()
    assert again.out == first.out and weights.read_bytes() == before and "sparse-0.1 2:" in again.err


def test_other_settings_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    updates.main([*arguments, "--kinds", "sparse"])
    for others, message in (
        (["--steps", "20"], "holds updates with steps 10; asked for: 20"),
        (["--base", "tiny"], "holds updates with base"),
        (["--shares", "3"], "share is 3.0; accepted"),
        (["--tests", "one"], "1 tests of 2 updates"),
    ):
        with pytest.raises(SystemExit):
            updates.main([*arguments, *others])
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_table_in_small(corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two updates of `tiny`, each for another speaker and noise: every chain learns, within its bytes."""
    monkeypatch.setattr(dataset, "SEQUENCES_PER_SHARD", 8)
    for number in (1, 2):
        for name, seed in (("part", 0), ("test", 1)):
            options = ["--data", str(corpus_folder), "--out", str(tmp_path / f"{name}-{number}"), "--seed", str(seed)]
            options += ["--cache", str(tmp_path / f"audio-{number}"), "--part", f"{number}/2", "--workers", "1"]
            dataset.main([*options, "--hours", str(8 * 3 / 3600), "--seconds", "3"])
    folders = {name: [str(tmp_path / f"{name}-{number}") for number in (1, 2)] for name in ("part", "test")}
    options = ["--base", "tiny", "--shards", *folders["part"], "--tests", *folders["test"], "--shares", "0.1"]
    options += ["--steps", "10", "--batch", "4", "--warm-up", "2", "--rate", "1e-3", "--dtype", "float32"]
    updates.main([*options, "--threads", "1", "-o", str(tmp_path / "runs")])
    base = updates.gain_loss(weights_bytes("tiny"), [Path(folder) for folder in folders["test"]], OVER)
    for name, most in (("full", 1.0), ("sparse-0.1", 0.15), ("hashed-0.1", 0.15)):
        facts = json.loads((tmp_path / "runs" / name / "2.json").read_text())
        assert facts["gain"] < base, name
        assert facts["bytes"] <= most * len(weights_bytes("tiny")), name
