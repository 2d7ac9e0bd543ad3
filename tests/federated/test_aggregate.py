"""From what devices learnt to a model: files that are clipped, noised, checked and averaged."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pyenhance.cli import main
from pyenhance.evaluate import gate as gating
from pyenhance.federated.aggregate import MIN_UPDATES, aggregate
from pyenhance.federated.local import Change, norm
from pyenhance.federated.update import Update, make_update, read_update, write_update
from pyenhance.model import apply_diffs, load_model
from pyenhance.model.diff import make_diff, weights_bytes
from pyenhance.model.heads import changed_weights, head_logit
from pyenhance.model.summary import HEADS, read_summary, shipped_summary
from pyenhance.model.weights import join, split, write_weights
from pyenhance.nn import INITIAL

pytest.importorskip("dp_accounting", reason="the extra federated is not installed")

MODEL = "tiny"
BASE, SUMMARY = weights_bytes(MODEL), shipped_summary(MODEL)
PUBLIC = read_summary(SUMMARY)
CLIP = 2.0


def change(seed: int, size: float = 1.0) -> Change:
    """A random change of such a norm; numpy seeds make it."""
    rng = np.random.default_rng(seed)
    drawn = {
        name: rng.normal(size=(head.projection.shape[1] + 1, head.logit.shape[1])).astype(np.float32)
        for name, head in PUBLIC.heads.items()
    }
    factor = np.float32(size / norm(drawn))
    return {name: value * factor for name, value in drawn.items()}


def update(seed: int = 0, size: float = 1.0, **fields: object) -> bytes:
    return write_update(Update(PUBLIC.base, CLIP, 0.0, change(seed, size))._replace(**fields))


@pytest.fixture(scope="module")
def diff() -> bytes:
    """What a device learnt: some steps of every row."""
    return make_diff(BASE, changed_weights(load_model(MODEL), PUBLIC, change(7, 3.0)))


def test_an_exported_update_is_what_was_learnt(diff: bytes) -> None:
    """Both move a head's logits alike, for inputs that lie in the directions; clipped where it is too large."""
    rng = np.random.default_rng(0)
    options = {"noise_multiplier": 0.0, "normal": rng.standard_normal}
    found = read_update(make_update(BASE, diff, SUMMARY, clip=50, **options))
    assert (found.base, found.clip, found.noise_multiplier) == (PUBLIC.base, 50, 0)
    adapted = load_model(apply_diffs(BASE, [diff]))
    for name, head in PUBLIC.heads.items():
        x = (head.values[:, :-1] @ np.linalg.pinv(head.projection)).astype(np.float32)
        moved = head_logit(adapted.tensors, name, x) - head_logit(load_model(MODEL).tensors, name, x)
        np.testing.assert_allclose(head.values @ found.change[name], moved, atol=2e-3)
        assert np.abs(moved).max() > 0.5
    small = read_update(make_update(BASE, diff, SUMMARY, clip=0.5, **options))
    assert norm(small.change) == pytest.approx(0.5, rel=1e-5)
    for name in HEADS:
        np.testing.assert_allclose(
            small.change[name] * norm(found.change) / 0.5, found.change[name], rtol=1e-3, atol=1e-5
        )


def test_the_noise_is_as_large_as_it_says(diff: bytes) -> None:
    runs = [
        read_update(
            make_update(
                BASE, diff, SUMMARY, clip=0.5, noise_multiplier=2, normal=np.random.default_rng(seed).standard_normal
            )
        )
        for seed in range(2)
    ]
    apart = np.concatenate([(runs[0].change[name] - runs[1].change[name]).ravel() for name in HEADS])
    assert apart.std() == pytest.approx(2**0.5 * 2 * 0.5, rel=0.05)


def test_an_update_says_nothing_else(diff: bytes) -> None:
    data = make_update(BASE, diff, SUMMARY, clip=1, noise_multiplier=1, normal=np.random.default_rng(0).standard_normal)
    header, _ = split(data)
    assert set(header) == {"__metadata__", *HEADS}
    assert set(header["__metadata__"]) == {"format", "base", "sha256", "clip", "noise_multiplier"}
    assert write_update(read_update(data)) == data and len(data) < 40_000


def test_where_layers_begin_stays_on_the_device(diff: bytes) -> None:
    """Of a user's room it says more than heads do: a diff that changes it, too, makes the same update."""
    old, learnt = load_model(MODEL), load_model(apply_diffs(BASE, [diff]))
    begun = {f"{name}.{INITIAL}" for name in ("conv1", "gain_gru")}
    tensors = {
        name: np.clip(value + np.int8(3), -127, 127) if name in begun else value
        for name, value in learnt.tensors.items()
    }
    both = make_diff(BASE, write_weights(old.signal, old.network.spec, tensors))
    assert len(both) > len(diff)
    options = {"clip": 50, "noise_multiplier": 0, "normal": np.random.default_rng(0).standard_normal}
    made, plain = (read_update(make_update(BASE, one, SUMMARY, **options)) for one in (both, diff))
    for name in HEADS:
        np.testing.assert_array_equal(made.change[name], plain.change[name])


def test_only_heads_may_have_changed(diff: bytes) -> None:
    model = load_model(MODEL)
    tensors = {name: value.copy() for name, value in model.tensors.items()}
    tensors["dense.bias"][0] += 1
    other = make_diff(BASE, write_weights(model.signal, model.network.spec, tensors))
    options = {"clip": 1, "noise_multiplier": 0, "normal": np.random.default_rng(0).standard_normal}
    with pytest.raises(ValueError, match=r"the diff changes dense.bias; accepted: gain.bias"):
        make_update(BASE, other, SUMMARY, **options)
    with pytest.raises(ValueError, match=r"another base"):
        make_update(weights_bytes("default"), diff, shipped_summary("default"), **options)
    for terms, message in (
        ({"clip": 0}, r"clip is 0; accepted"),
        ({"noise_multiplier": -1}, r"noise multiplier is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            make_update(BASE, diff, SUMMARY, **(options | terms))


def test_the_mean_by_hand_in_any_order() -> None:
    updates = {f"u{i}": update(i) for i in range(5)}
    found = aggregate(BASE, updates, SUMMARY, clip=CLIP)
    mean = {name: np.mean([change(i)[name].astype(float) for i in range(5)], 0) for name in HEADS}
    assert found.weights == changed_weights(load_model(MODEL), PUBLIC, mean)
    assert found.weights != BASE and found.accepted == sorted(updates) and found.rejected == {}
    backwards = aggregate(BASE, dict(reversed(updates.items())), SUMMARY, clip=CLIP)
    assert backwards.weights == found.weights


def test_a_trimmed_mean_bears_a_wrong_device() -> None:
    """One of seven sends the opposite, as large as is accepted."""
    honest = change(0, 0.5)
    rng = np.random.default_rng(9)

    def near() -> Change:
        return {name: value + 0.001 * rng.normal(size=value.shape).astype(np.float32) for name, value in honest.items()}

    liar = {name: value * np.float32(-4 * 0.99) for name, value in honest.items()}
    files = {
        f"u{i}": write_update(Update(PUBLIC.base, CLIP, 0.0, own))
        for i, own in enumerate([*[near() for _ in range(6)], liar])
    }
    wanted = load_model(changed_weights(load_model(MODEL), PUBLIC, honest))

    def away(trim: float) -> float:
        model = load_model(aggregate(BASE, files, SUMMARY, clip=CLIP, trim=trim).weights)
        return sum(float(np.abs(model.tensors[f"{n}.bias"] - wanted.tensors[f"{n}.bias"]).sum()) for n in HEADS)

    assert away(0.2) < 0.1 * away(0)


def _bitten(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def _claims(data: bytes, **facts: str) -> bytes:
    header, payload = split(data)
    header["__metadata__"] |= facts
    return join(header, payload)


def _holed(value: float) -> bytes:
    own = change(1)
    own["gain"][3, 4] = value
    return write_update(Update(PUBLIC.base, CLIP, 0.0, own))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (lambda: _holed(np.nan), r"gain holds nan; accepted: finite numbers"),
        (lambda: _holed(-np.inf), r"gain holds -inf; accepted: finite numbers"),
        (lambda: update(1, 2.01), r"has a norm of 2.01; accepted: at most 2"),
        (lambda: update(1, base="f" * 64), r"is for model ffffffffffff; accepted: " + PUBLIC.base[:12]),
        (lambda: update(1, clip=9.0), r"clip 9 and noise multiplier 0; accepted: 2 and 0"),
        (lambda: update(1, noise_multiplier=0.5), r"clip 2 and noise multiplier 0.5; accepted: 2 and 0"),
        (lambda: update(1, change={n: v[1:] for n, v in change(1).items()}), r"gain has the shape .*; accepted: "),
        (lambda: _bitten(update(1)), r"its sum is not the one it says: changed or cut"),
        (lambda: update(1)[:-40], r"accepted: a whole file of format 'pyenhance-update-1'"),
        (lambda: _claims(update(1), format="pyenhance-update-9"), r"format 'pyenhance-update-9'"),
        (lambda: _claims(update(1), clip="nan"), r"clip is nan; accepted: a number > 0"),
        (lambda: update(0), r"is the same as good0"),
        (lambda: b"", r"accepted: a whole file of format"),
        (lambda: bytes(1_000_001), r"1,000,001 bytes; accepted: at most 1,000,000"),
        (lambda: BASE, r"accepted: a"),
    ],
)
def test_a_bad_update_is_named_and_left_out(bad: Callable[[], bytes], reason: str) -> None:
    good = {f"good{i}": update(i) for i in (0, 2, 3)}
    found = aggregate(BASE, good | {"bad": bad()}, SUMMARY, clip=CLIP)
    assert list(found.rejected) == ["bad"]
    with pytest.raises(ValueError, match=reason):
        raise ValueError(found.rejected["bad"])
    assert found.weights == aggregate(BASE, good, SUMMARY, clip=CLIP).weights


def test_noise_that_was_asked_for_is_not_oversized() -> None:
    """Its norm is some forty times the clip's; without noise, or with more of it, it would be refused."""
    rng = np.random.default_rng(1)
    noised = [
        {
            name: value + (0.5 * CLIP * rng.normal(size=value.shape)).astype(np.float32)
            for name, value in change(i).items()
        }
        for i in range(3)
    ]
    files = {f"u{i}": write_update(Update(PUBLIC.base, CLIP, 0.5, own)) for i, own in enumerate(noised)}
    assert aggregate(BASE, files, SUMMARY, clip=CLIP, noise_multiplier=0.5).rejected == {}
    loud = write_update(Update(PUBLIC.base, CLIP, 0.5, {name: 2 * value for name, value in noised[0].items()}))
    found = aggregate(BASE, files | {"loud": loud}, SUMMARY, clip=CLIP, noise_multiplier=0.5)
    assert "has a norm of" in found.rejected["loud"]


def test_too_few_to_hide_among() -> None:
    files = {"a": update(0), "b": update(1), "c": _bitten(update(2))}
    with pytest.raises(
        ValueError, match=rf"2 updates can be used; accepted: {MIN_UPDATES} or more \(c: .*changed or cut"
    ):
        aggregate(BASE, files, SUMMARY, clip=CLIP)
    with pytest.raises(ValueError, match=r"trim is 0.5; accepted"):
        aggregate(BASE, files, SUMMARY, clip=CLIP, trim=0.5)
    with pytest.raises(ValueError, match=r"the summary is of model"):
        aggregate(BASE, files, shipped_summary("default"), clip=CLIP)


@pytest.fixture
def folder(tmp_path: Path, diff: bytes) -> Path:
    """Three noised updates of one device's diff, and the diff."""
    (tmp_path / "mine.diff").write_bytes(diff)
    for i in range(3):
        options = {"clip": 0.5, "noise_multiplier": 0.1, "normal": np.random.default_rng(i).standard_normal}
        (tmp_path / f"{i}.update").write_bytes(make_update(BASE, diff, SUMMARY, **options))
    return tmp_path


def _aggregate(folder: Path, output: str, *more: str) -> int:
    files = sorted(map(str, folder.glob("*.update")))
    options = ["--base", MODEL, "--clip", "0.5", "--noise", "0.1", "-o", str(folder / output)]
    return main(["federated", "aggregate", *files, *options, *more])


def test_the_commands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = ["federated", "export", str(folder / "mine.diff"), "--base", MODEL, "--clip", "0.5", "--noise", "0.1"]
    assert main([*export, "-o", str(folder / "0.update"), "--force", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bytes"] == (folder / "0.update").stat().st_size and 40 < said["epsilon"] < 1000
    (folder / "broken.update").write_bytes(b"nothing")
    assert _aggregate(folder, "new.safetensors") == 0
    captured = capsys.readouterr()
    assert "broken.update: left out: accepted: a whole file" in captured.err and "of 3 updates" in captured.out
    assert _aggregate(folder, "new.diff", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["accepted"]) == 3 and list(facts["rejected"]) == [str(folder / "broken.update")]
    new = (folder / "new.safetensors").read_bytes()
    assert apply_diffs(BASE, [(folder / "new.diff").read_bytes()]) == new != BASE
    assert _aggregate(folder, "new.diff") == 1 and "--force overwrites it" in capsys.readouterr().err
    assert _aggregate(folder, "new.bin") == 1 and "new.bin: accepted: a name that ends in" in capsys.readouterr().err
    (folder / "1.update").unlink()
    assert _aggregate(folder, "other.diff") == 1 and "2 updates can be used" in capsys.readouterr().err
    assert not list(folder.glob("*other*")) + list(folder.glob("*.bin"))


def test_an_update_without_noise_has_no_epsilon(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["federated", "export", str(folder / "mine.diff"), "--base", MODEL, "--clip", "0.5"]
    assert main([*arguments, "-o", str(folder / "plain.update")]) == 0
    assert "there is no epsilon" in capsys.readouterr().out


@pytest.mark.parametrize("passed", [True, False])
def test_what_does_not_pass_the_gate_is_not_written(
    folder: Path, passed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gate itself is tested with the gate; here it is asked, with base and result, and obeyed."""
    asked = []

    def judge(old: str, new: str, pairs: list, **_: object) -> dict:
        asked.append((old, load_model(new).tensors, len(pairs)))
        return {"passed": passed, "verdict": "so it is"}

    monkeypatch.setattr(gating, "gate", judge)
    pairs = folder / "pairs"
    for side in ("clean", "noisy"):
        (pairs / side).mkdir(parents=True)
        (pairs / side / "a.wav").write_bytes(b"")
    capsys.readouterr()
    assert _aggregate(folder, "new.safetensors", "--pairs", str(pairs)) == (0 if passed else 1)
    captured = capsys.readouterr()
    assert "so it is" in (captured.out if passed else captured.err)
    assert (folder / "new.safetensors").exists() == passed and not list(folder.glob(".*"))
    ((old, tensors, count),) = asked
    assert old == MODEL and count == 1
    assert not np.array_equal(tensors["gain.bias"], load_model(MODEL).tensors["gain.bias"])
