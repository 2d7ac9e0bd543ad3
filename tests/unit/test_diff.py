"""Diffs between models: exact or refused, small, and nothing in between."""

import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyenhance.cli import main
from pyenhance.model import apply_diffs, load_model, make_diff, read_header, rice
from pyenhance.model.diff import MAGIC, bucket_of, changed_share, weights_bytes

BASE = weights_bytes("tiny")


def _split(data: bytes) -> tuple[dict, bytearray]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])


def _join(header: dict, body: bytes) -> bytes:
    header["__metadata__"]["sha256"] = hashlib.sha256(body).hexdigest()
    text = json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + body


def changed(data: bytes, share: float, seed: int = 0, *, scales: bool = False) -> bytes:
    """A weights file, a share of its int8 weights moved by whole steps and of its biases by a little."""
    rng = np.random.default_rng(seed)
    header, body = _split(data)
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        dtype = "i1" if entry["dtype"] == "I8" else "<f4"
        values = np.frombuffer(bytes(body[begin:end]), dtype).astype(np.float64)
        chosen = rng.random(len(values)) < share
        if dtype == "i1":
            step = rng.choice((-1, 1), len(values)) * np.minimum(rng.geometric(0.7, len(values)), 9)
            values = np.clip(values + chosen * step, -127, 127)
        elif scales or not name.endswith("_scale"):
            values += chosen * rng.normal(0, 0.01, len(values))
        body[begin:end] = values.astype(dtype).tobytes()
    header["__metadata__"]["training_commit"] = f"{seed:040}"
    return _join(header, bytes(body))


def hashed(data: bytes, buckets: int, seed: int, among: str = "gru") -> bytes:
    """A weights file whose int8 tensors of such a name moved by the steps of buckets; some hit the edge."""
    steps = np.random.default_rng(seed).integers(-9, 10, buckets)
    header, body = _split(data)
    for name, entry in header.items():
        if among in name and entry.get("dtype") == "I8":
            begin, end = entry["data_offsets"]
            old = np.frombuffer(bytes(body[begin:end]), np.int8).astype(int)
            new = np.clip(old + steps[bucket_of(name, len(old), buckets, seed)], -127, 127)
            body[begin:end] = new.astype(np.int8).tobytes()
    return _join(header, bytes(body))


NEW = changed(BASE, 0.02)
DIFF = make_diff(BASE, NEW)
HASHED_NEW = hashed(BASE, 500, 7)
HASHED = make_diff(BASE, HASHED_NEW, kind="hashed", buckets=500, seed=7)


@pytest.mark.parametrize("share", [0, 1e-5, 0.014, 0.3, 1])
@pytest.mark.parametrize("scales", [False, True])
def test_exact_to_the_last_byte(share: float, scales: bool) -> None:
    new = changed(BASE, share, scales=scales)
    diff = make_diff(BASE, new)
    assert apply_diffs(BASE, [diff]) == new
    header = read_header(diff)
    assert header.kind == "sparse" and header.base == hashlib.sha256(BASE).hexdigest()
    assert header.result == hashlib.sha256(new).hexdigest()


def test_the_same_model_takes_a_few_bytes() -> None:
    diff = make_diff(BASE, BASE)
    assert len(diff) < 400 and apply_diffs(BASE, [diff]) == BASE


def test_sizes_of_updates_of_the_default_model() -> None:
    base = weights_bytes("default")
    weights = load_model("default").weights
    for share, most in ((0.1, 0.0940 * weights), (0.02, 0.0268 * weights), (0.014, 0.0206 * weights)):  # bytes
        new = changed(base, share)
        assert changed_share(base, new) == pytest.approx(share, rel=0.05)
        assert len(make_diff(base, new)) <= most


def test_what_is_hashed_takes_a_byte_a_bucket_at_most() -> None:
    assert apply_diffs(BASE, [HASHED]) == HASHED_NEW
    assert read_header(HASHED).kind == "hashed" and len(HASHED) < 500 + 500
    assert changed_share(BASE, HASHED_NEW) > 0.5


def test_what_is_not_of_such_buckets_is_refused() -> None:
    for options in ({"buckets": 500, "seed": 8}, {"buckets": 499, "seed": 7}):
        with pytest.raises(ValueError, match="is not the base"):
            make_diff(BASE, HASHED_NEW, kind="hashed", **options)
    for options in ({"buckets": 0}, {"buckets": 5, "seed": -1}):
        with pytest.raises(ValueError, match="accepted: 1 to"):
            make_diff(BASE, HASHED_NEW, kind="hashed", **options)


def test_buckets_are_all_used_about_alike_and_never_change() -> None:
    own = bucket_of("gru1.weight_hh", 100_000, 100, 3)
    counts = np.bincount(own, minlength=100)
    assert len(counts) == 100 and 800 < counts.min() and counts.max() < 1200
    other = bucket_of("gru1.weight_hh", 100_000, 100, 4), bucket_of("gru2.weight_hh", 100_000, 100, 3)
    assert all(abs((own == column).mean() - 0.01) < 0.002 for column in other)
    start = zlib.crc32(b"gru1.weight_hh", 3)  # and by MurmurHash3's published finaliser, one at a time:
    for i in range(50):
        h = (i + start) % 2**32
        h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
        h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
        assert own[i] == (h ^ h >> 16) * 100 >> 32


def test_chains() -> None:
    files, diffs = [BASE], []
    for i in range(5):
        files.append(changed(files[-1], 0.01, seed=i + 1))
        diffs.append(make_diff(files[-2], files[-1]))
    assert apply_diffs(BASE, diffs) == files[-1] and apply_diffs(files[2], diffs[2:4]) == files[4]
    with pytest.raises(ValueError, match=r"diff 2 of 4 .* a gap"):
        apply_diffs(BASE, diffs[:1] + diffs[2:])
    with pytest.raises(ValueError, match=r"diff 1 of 2 .* the base is"):
        apply_diffs(BASE, [diffs[1], diffs[0]])
    with pytest.raises(ValueError, match="no diffs"):
        apply_diffs(BASE, [])


def test_models_that_differ_too_much_or_are_none() -> None:
    with pytest.raises(ValueError, match="send the new one whole"):
        make_diff(BASE, weights_bytes("default"))
    with pytest.raises(ValueError, match="weights"):
        make_diff(BASE, b"nothing")
    with pytest.raises(ValueError, match="kind is 'zip'"):
        make_diff(BASE, NEW, kind="zip")


def _signed(kind: str, payload: bytes, *, base: bytes = BASE, **header: object) -> bytes:
    """A diff with any payload, its sums right: what someone could publish."""
    length = int.from_bytes(base[:8], "little")
    squeeze = zlib.compressobj(9, zdict=base[8 : 8 + length])
    facts = {"kind": kind, "base": hashlib.sha256(base).hexdigest(), "result": "0" * 64, "size": len(payload)}
    text = json.dumps(facts | header).encode()
    rest = len(text).to_bytes(4, "little") + text + squeeze.compress(payload) + squeeze.flush()
    return MAGIC + hashlib.sha256(rest).digest() + rest


def _payload(diff: bytes) -> bytes:
    length = int.from_bytes(diff[40:44], "little")
    inflating = zlib.decompressobj(zdict=BASE[8 : 8 + int.from_bytes(BASE[:8], "little")])
    return inflating.decompress(diff[44 + length :])


def _head() -> bytes:
    """The beginning of a payload that leads to the base itself."""
    text = BASE[8 : 8 + int.from_bytes(BASE[:8], "little")]
    return len(text).to_bytes(4, "little") + text


@pytest.mark.parametrize("place", [0, 7, 8, 39, 40, 44, 60, 200, -1])
def test_flipped_bytes(place: int) -> None:
    broken = bytearray(DIFF)
    broken[place] ^= 4
    with pytest.raises(ValueError, match="diff"):
        apply_diffs(BASE, [bytes(broken)])


@pytest.mark.parametrize("length", [0, 5, 8, 39, 40, 43, 100, len(DIFF) - 1])
def test_cut_files(length: int) -> None:
    with pytest.raises(ValueError, match="diff"):
        read_header(DIFF[:length])


def test_a_wrong_base() -> None:
    with pytest.raises(ValueError, match="another base"):
        apply_diffs(NEW, [DIFF])


def test_bombs() -> None:
    many = bytes(50_000_000)
    with pytest.raises(ValueError, match=r"50000000 bytes; accepted for this base"):
        apply_diffs(BASE, [_signed("sparse", many)])
    with pytest.raises(ValueError, match="more"):
        apply_diffs(BASE, [_signed("sparse", many, size=100)])
    with pytest.raises(ValueError, match="not the 100000 bytes"):
        apply_diffs(BASE, [_signed("sparse", bytes(100), size=100_000)])


def test_places_and_steps_out_of_range() -> None:
    header, _ = _split(BASE)
    order = sorted((e["data_offsets"][0], name, e["dtype"]) for name, e in header.items() if name != "__metadata__")
    floats, integers = ([dtype for _, _, dtype in order].index(wanted) for wanted in ("F32", "I8"))
    first = b"\x00" * floats + b"\x03"  # floats that change, 64 of them
    with pytest.raises(ValueError, match=rf"{order[floats][1]} changes entry 64 of 64"):
        apply_diffs(BASE, [_signed("sparse", _head() + first + rice.encode(np.array([64])) + bytes(4))])
    with pytest.raises(ValueError, match="65 values"):
        apply_diffs(BASE, [_signed("sparse", _head() + first + rice.encode(np.zeros(65, int)))])
    before = b"\x00" * integers  # what comes before stays
    step = b"\x02" + rice.encode(np.array([0])) + rice.encode(np.array([253]))
    for sign in (b"\x00", b"\x80"):
        with pytest.raises(ValueError, match=rf"a step takes {order[integers][1]} to -?\d+; accepted: -127 to 127"):
            apply_diffs(BASE, [_signed("sparse", _head() + before + step + sign)])
    with pytest.raises(ValueError, match="1 places and 0 steps"):
        step = b"\x02" + rice.encode(np.array([0])) + rice.encode(np.zeros(0, int))
        apply_diffs(BASE, [_signed("sparse", _head() + before + step)])


def test_hostile_payloads() -> None:
    def refused(payload: bytes, match: str, kind: str = "sparse", **header: object) -> None:
        with pytest.raises(ValueError, match=match):
            apply_diffs(BASE, [_signed(kind, payload, **header)])

    tensors = len(_split(BASE)[0]) - 1
    same = bytes(tensors)
    refused(_head() + same, "the result's sum")
    refused(_head() + same + b"x", "1 bytes follow")
    refused(_head() + same[1:], "cut or broken")
    refused(_head() + b"\x09" + same, "code 9")
    refused(_head() + b"\x04" + same, "code 4")
    refused(_head(), "bytes wanted", kind="hashed")
    refused((9).to_bytes(4, "little") + b"[" * 9, "no weights file's")
    refused((4000).to_bytes(4, "little") + b"[" * 4000, "no weights file's")
    big = b'{"x": {"dtype": "F32", "shape": [1000000, 1000000], "data_offsets": [0, 4000000000000]}}'
    refused(len(big).to_bytes(4, "little") + big + b"\x01", "4000000000000 bytes wanted")
    refused(len(big).to_bytes(4, "little") + big + b"\x00", "which the base has not")
    refused(_head() + same, "kind is 'odd'", kind="odd")
    refused(_head() + same, "result is 'x'", result="x")
    refused(_head() + same, "size is True", size=True)
    refused(_head() + same, "header is not as it must be", extra=1)
    refused(b"", "header of", note="x" * 5000)
    result = _signed("sparse", b"{}")
    with pytest.raises(ValueError, match="accepted"):
        read_header(b"PK\x03\x04" + result[4:])


def test_a_result_that_is_no_model_is_refused() -> None:
    header, body = _split(BASE)
    header["__metadata__"]["format"] = "other"
    odd = _join(header, bytes(body))
    text = odd[8 : 8 + int.from_bytes(odd[:8], "little")]
    payload = len(text).to_bytes(4, "little") + text + bytes(len(header) - 1)
    with pytest.raises(ValueError, match="format is 'other'"):
        apply_diffs(BASE, [_signed("sparse", payload, result=hashlib.sha256(odd).hexdigest())])


@settings(max_examples=200, deadline=None)
@given(which=st.sampled_from((DIFF, HASHED)), data=st.data())
def test_no_changed_file_is_applied(which: bytes, data: st.DataObject) -> None:
    """Bytes changed, dropped or added anywhere."""
    place = data.draw(st.integers(0, len(which) - 1))
    gone = data.draw(st.integers(0, 40))
    broken = which[:place] + data.draw(st.binary(max_size=40)) + which[place + gone :]
    if broken != which:
        with pytest.raises(ValueError, match="diff"):
            apply_diffs(BASE, [broken])


PAYLOADS = {"sparse": (_payload(DIFF), NEW), "hashed": (_payload(HASHED), HASHED_NEW)}


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(sorted(PAYLOADS)), data=st.data())
def test_no_changed_payload_is_applied_unless_exact(kind: str, data: st.DataObject) -> None:
    """The same within the payload, all sums of the file made right again."""
    payload, new = PAYLOADS[kind]
    result = hashlib.sha256(new).hexdigest()
    place = data.draw(st.integers(0, len(payload) - 1))
    gone = data.draw(st.integers(0, 8))
    broken = payload[:place] + data.draw(st.binary(max_size=8)) + payload[place + gone :]
    try:
        assert apply_diffs(BASE, [_signed(kind, broken, result=result)]) == new
    except ValueError:
        pass


@given(st.lists(st.integers(0, 3000), max_size=300))
def test_rice_codes_come_back(values: list[int]) -> None:
    reader = rice.Reader(rice.encode(np.array(values, int)))
    assert reader.rice(len(values)).tolist() == values
    reader.end()


def test_rice_codes_lie_near_the_entropy() -> None:
    for share in (0.014, 0.1):
        gaps = np.random.default_rng(0).geometric(share, 20_000) - 1
        bits = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
        assert 8 * len(rice.encode(gaps)) <= 1.04 * bits * (gaps.sum() + len(gaps))


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    new, diff, made = tmp_path / "new.safetensors", tmp_path / "d.diff", tmp_path / "made.safetensors"
    new.write_bytes(NEW)
    assert main(["model", "diff", "tiny", str(new), "-o", str(diff)]) == 0
    assert "2.0% of the weights change" in capsys.readouterr().out and diff.read_bytes() == DIFF
    assert main(["model", "verify", "tiny", str(new), str(diff)]) == 0
    assert "a sparse diff from" in capsys.readouterr().out
    assert main(["model", "apply", "tiny", str(diff), "-o", str(made)]) == 0
    assert made.read_bytes() == NEW and load_model(made).weights == load_model("tiny").weights
    assert hashlib.sha256(NEW).hexdigest() in capsys.readouterr().out
    assert main(["model", "apply", "tiny", str(diff), "-o", str(made)]) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["model", "apply", "tiny", str(diff), str(diff), "-o", str(tmp_path / "x.safetensors")]) == 1
    assert "diff 2 of 2" in capsys.readouterr().err
    diff.write_bytes(DIFF[:-1])
    assert main(["model", "verify", str(diff)]) == 1 and "changed or cut" in capsys.readouterr().err
    assert main(["model", "apply", "tiny", str(diff), "--force", "-o", str(made)]) == 1
    assert made.read_bytes() == NEW
    assert main(["model", "diff", "tiny", "none", "-o", str(diff)]) == 1 and "'none'" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d.diff", "made.safetensors", "new.safetensors"]
    assert main(["model", "list"]) == 0 and hashlib.sha256(BASE).hexdigest() in capsys.readouterr().out
