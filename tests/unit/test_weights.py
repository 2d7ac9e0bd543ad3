"""Weights files: what is refused, and why."""

import hashlib
import json
from importlib import resources
from pathlib import Path

import pytest

from pyenhance.model import TOPOLOGIES, Topology, available_models, load_model, read_weights


@pytest.fixture(scope="module")
def data() -> bytes:
    return (resources.files("pyenhance.weights") / "default.safetensors").read_bytes()


def _parts(data: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _join(header: dict, payload: bytes, *, sign: bool = True) -> bytes:
    if sign:
        header["__metadata__"]["sha256"] = hashlib.sha256(payload).hexdigest()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + payload


def test_default_model_is_as_it_must_be(data: bytes) -> None:
    topology, tensors, metadata = read_weights(data)
    assert topology == TOPOLOGIES["default"] and topology.weights <= 2_500_000
    assert set(tensors) == set(topology.tensors()) and metadata["training_commit"]
    assert "default" in available_models() and load_model().weights == topology.weights


def test_sizes_of_the_named_shapes() -> None:
    assert TOPOLOGIES["tiny"].weights <= 250_000
    assert 7_500_000 <= TOPOLOGIES["large"].weights <= 8_500_000


def test_tensors_cannot_be_written_to(data: bytes) -> None:
    _, tensors, _ = read_weights(data)
    with pytest.raises(ValueError, match="read-only"):
        tensors["dense.bias"][0] = 1


def test_any_changed_byte_of_the_payload_is_noticed(data: bytes) -> None:
    broken = bytearray(data)
    broken[-1234] ^= 1
    with pytest.raises(ValueError, match="sha256"):
        read_weights(bytes(broken))


@pytest.mark.parametrize("length", [0, 7, 8, 100, 5000])
def test_truncated(data: bytes, length: int) -> None:
    with pytest.raises(ValueError, match="weights"):
        read_weights(data[:length])


def test_hostile_headers(data: bytes) -> None:
    header, payload = _parts(data)

    def refused(change, match: str, **options: bool) -> None:
        copy = json.loads(json.dumps(header))
        body = change(copy) or payload
        with pytest.raises(ValueError, match=match):
            read_weights(_join(copy, body, **options))

    name = "gru1.weight_hh"
    refused(lambda h: h["__metadata__"].update(format="pyenhance-0"), "pyenhance-0")
    refused(lambda h: h["__metadata__"].update(sample_rate="16000"), "16000")
    refused(lambda h: h["__metadata__"].update(sha256="0" * 64), "sha256", sign=False)
    refused(lambda h: h["__metadata__"].update(topology="{"), "topology")
    refused(lambda h: h["__metadata__"].update(topology='{"dense": 1}'), "topology")
    refused(lambda h: h["__metadata__"].update(topology=TOPOLOGIES["tiny"].to_json()), "accepted")
    refused(lambda h: h.pop(name) and None, name)
    refused(lambda h: h.update(extra=h[name]), "extra")
    refused(lambda h: h[name].update(dtype="F64"), "F64")
    refused(lambda h: h[name].update(shape=[1, 1]), name)
    refused(lambda h: h[name].update(data_offsets=[0, 10**12]), name)
    refused(lambda h: h[name].update(data_offsets=[-1, 5]), "data_offsets")
    refused(lambda h: h[name].update(data_offsets="all"), "data_offsets")
    refused(lambda h: payload + b"tail", "4 bytes follow")
    with pytest.raises(ValueError, match="header"):
        read_weights((2**40).to_bytes(8, "little") + data[8:])
    with pytest.raises(ValueError, match="JSON"):
        read_weights((4).to_bytes(8, "little") + b"oops")


def test_nan_weights_are_refused(data: bytes) -> None:
    header, payload = _parts(data)
    begin, _ = header["dense.bias"]["data_offsets"]
    body = payload[:begin] + b"\x00\x00\xc0\x7f" + payload[begin + 4 :]
    with pytest.raises(ValueError, match="NaN"):
        read_weights(_join(header, body))


def test_topology_refuses_odd_widths() -> None:
    for value in (0, -1, 10**6, 2.5, True):
        with pytest.raises(ValueError, match=str(value)):
            Topology(value, 1, 1, 1, 1, 1)  # type: ignore[arg-type]


def test_models_by_path(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(data)
    assert load_model(path).name == "mine" and load_model(str(path)).weights == load_model().weights
    path.write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"mine\.safetensors"):
        load_model(path)
