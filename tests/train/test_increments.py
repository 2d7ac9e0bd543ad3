"""Lean frames that go on from the last full one by products of low rank."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pyenhance import Enhancer, load_model
from pyenhance.dsp import SignalSpec
from pyenhance.train import increments
from pyenhance.train.increments import KINDS, Factors, IncrementalNetwork, enhanced, factors, joint, moments
from pyenhance.train.network import answers, load_int8

from ..conftest import noisy_voice, voiced
from .shards import make_shard

MODEL = load_model("tiny")
HOPS = noisy_voice(4)[: 480 * 390].reshape(-1, 480)


@pytest.fixture(scope="module")
def features() -> tuple[torch.Tensor, torch.Tensor]:
    """Of a voice, shape (1, T, inputs): to find the factors by, and to judge them by."""
    heard = torch.from_numpy(Enhancer(MODEL).estimate(HOPS).frames.features[None].copy())
    return heard[:, :260], heard[:, 260:]


@pytest.fixture(scope="module")
def found(features: tuple[torch.Tensor, torch.Tensor]) -> dict:
    return moments(IncrementalNetwork(MODEL), features[0], KINDS)


@torch.no_grad()
def _away(network: IncrementalNetwork, heard: torch.Tensor) -> float:
    """How far gains are from the full network's, mean square of their roots."""
    full, lean = (torch.sigmoid(answers(n.run(heard))[0]).sqrt() for n in (IncrementalNetwork(MODEL), network))
    return float(((full - lean) ** 2).mean())


def _lean(found: dict, period: int, share: float, kinds: tuple[str, ...] = ("gru",)) -> IncrementalNetwork:
    network = IncrementalNetwork(MODEL)
    wanted = {layer.name: found[layer.name] for layer in network.spec.layers if layer.kind in kinds}
    network.go_on(period, factors(network, wanted, period, share))
    return network


def test_full_frames_are_the_models(features: tuple[torch.Tensor, torch.Tensor], found: dict) -> None:
    plain = load_int8(MODEL)
    plain.quantise = True
    with torch.no_grad():
        expected = plain.run(features[1])["gain"]
        np.testing.assert_array_equal(IncrementalNetwork(MODEL).run(features[1])["gain"], expected)
        lean = _lean(found, 3, 0.2, KINDS).run(features[1])["gain"]
    np.testing.assert_allclose(lean[0], expected[0], atol=1e-4)  # the first frame; other orders of sums
    assert (lean[1] != expected[1]).any()


def test_clips_are_enhanced_as_the_model_does() -> None:
    """Full frames alone, and clips of two lengths at once: but for single steps of int8."""
    clips = [HOPS[:250].ravel(), HOPS[100:].ravel()[: 480 * 150 - 77]]
    for noisy, found in zip(clips, enhanced(IncrementalNetwork(MODEL), MODEL, clips), strict=True):
        stream = Enhancer(MODEL)
        expected = np.concatenate((stream.process(noisy), stream.flush()))[stream.latency_samples :]
        assert found.shape == expected.shape and np.std(found - expected) < 0.01 * np.std(expected)


def test_both_matrices_as_one() -> None:
    network = load_int8(MODEL)
    layer = next(layer for layer in network.spec.layers if layer.name == "strength_gru")
    own, units, inputs = network.get_submodule(layer.name), layer.units, network.spec.inputs_of(layer)
    matrix, bias = joint(network, layer)
    x, h = torch.randn(inputs), torch.randn(units)
    with torch.no_grad():
        of_input, of_state = own.weight_ih @ x + own.bias_ih, own.weight_hh @ h + own.bias_hh
    sums = matrix @ torch.cat((x, h)) + bias
    torch.testing.assert_close(sums[: 2 * units], (of_input + of_state)[: 2 * units])
    torch.testing.assert_close(sums[2 * units :], torch.cat((of_input[2 * units :], of_state[2 * units :])))


@pytest.mark.parametrize("kinds", [("gru",), ("conv",)])
def test_more_ranks_and_fewer_lean_frames_come_nearer(
    features: tuple[torch.Tensor, torch.Tensor], found: dict, kinds: tuple[str, ...]
) -> None:
    few, more = (_away(_lean(found, 3, share, kinds), features[1]) for share in (0.1, 0.3))
    assert few > 2 * more > 0
    assert _away(_lean(found, 2, 0.1, kinds), features[1]) < few


def test_what_matters_counts(features: tuple[torch.Tensor, torch.Tensor], found: dict) -> None:
    """Ranks by the gradients of the answers do less harm than ranks by how sums change."""
    alike = {name: (covariances, torch.eye(len(outer))) for name, (covariances, outer) in found.items()}
    assert _away(_lean(found, 3, 0.2), features[1]) < 0.7 * _away(_lean(alike, 3, 0.2), features[1])


def test_multiply_adds_are_those_of_the_matrices(found: dict) -> None:
    spec = MODEL.network.spec
    network = IncrementalNetwork(MODEL)
    assert network.mean_multiply_adds == spec.multiply_adds
    grus = {layer.name: (layer.units, spec.inputs_of(layer)) for layer in spec.layers if layer.kind == "gru"}
    parts = {n: Factors(torch.zeros(4, i + u), torch.zeros(4 * u, 4)) for n, (u, i) in grus.items()}
    network.go_on(4, parts)
    lean = spec.multiply_adds + sum(4 * (i + 5 * u) - 3 * u * (i + u) for u, i in grus.values())
    assert network.mean_multiply_adds == pytest.approx((spec.multiply_adds + 3 * lean) / 4)
    of_convs = sum(layer.units * layer.frames * spec.inputs_of(layer) for layer in spec.layers if layer.kind == "conv")
    for share in (0.2, 0.5):
        made = factors(network, found, 3, share).values()
        of_full = of_convs + sum(3 * u * (i + u) for u, i in grus.values())
        assert 0.9 * share < sum(part.multiply_adds for part in made) / of_full <= share
        assert all(part.into.shape[0] == part.out.shape[1] >= 4 for part in made)


def test_the_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = make_shard(tmp_path / "shards", SignalSpec(), sequences=2, frames=40)
    for kind, sound in (("clean", voiced(2)), ("noisy", noisy_voice(2))):
        (tmp_path / kind).mkdir()
        soundfile.write(tmp_path / kind / "a.wav", sound, 48_000, subtype="FLOAT")
    given = ["tiny", "--shards", str(shards), "--pairs", str(tmp_path), "--try", "4,0.25", "--try", "2,0.1"]
    increments.main([*given, "--kinds", *KINDS])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    assert [row[0].strip() for row in rows] == ["full frames", "---", "1 in 1", "1 in 4", "1 in 2"]
    spec = MODEL.network.spec
    assert rows[2][2].strip() == f"{spec.multiply_adds:,} (100%)" and "+-" not in rows[2][3]
    assert len(rows[3][1].split(",")) == 7 and "+-" in rows[3][5]


@pytest.mark.parametrize("text", ["1,0.5", "4,1", "4", "x,0.5", "4,nan"])
def test_what_is_no_try_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        increments.main(["tiny", "--shards", str(tmp_path), "--pairs", str(tmp_path), "--try", text])
    assert f"'{text}'; accepted: PERIOD,SHARE such as 4,0.25" in capsys.readouterr().err
