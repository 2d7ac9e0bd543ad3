"""Foreign bytes as audio files: a result that can be read or one clear error, and never a file half made.

`PYENHANCE_FUZZ_EXAMPLES=20000 PYENHANCE_FUZZ_SEED=1 python -m pytest --timeout 0 tests/unit/test_fuzz_files.py` goes on
for hours.
"""

import io
import os
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from pyenhance.files import denoise_file
from pyenhance.files.headers import read_chunks, unfinished
from pyenhance.model import load_model

from ..conftest import av_file

EXAMPLES = int(os.environ.get("PYENHANCE_FUZZ_EXAMPLES", "25"))
SEED = int(os.environ.get("PYENHANCE_FUZZ_SEED", "12"))
DEADLINES_MS = (None, None) if EXAMPLES > 25 else (20_000, 2_000)
"""None in a run of hours, which may be held up for other work."""
NOISE = np.random.default_rng(0).normal(0, 0.1, 2_400)
KINDS = {
    "WAV": "PCM_16",
    "WAVEX": "PCM_24",
    "RF64": "FLOAT",
    "AIFF": "PCM_16",
    "FLAC": "PCM_16",
    "OGG": "VORBIS",
    "MP3": "MPEG_LAYER_III",
    "CAF": "PCM_16",
    "W64": "PCM_16",
    "AU": "PCM_16",
}
PLACES = st.one_of(st.integers(0, 120), st.integers(0, 20_000))
VALUES = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"data", b"LIST", b"cue ", b"id3 ", b"\0\0\0\x80"]),
)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["put", "insert", "cut", "delete"]), PLACES, VALUES), min_size=1, max_size=6
)


def _whole(kind: str) -> bytes:
    """A small file with chunks and tags."""
    if kind in ("m4a", "webm"):
        with tempfile.TemporaryDirectory() as folder:
            codec = "aac" if kind == "m4a" else "libopus"
            return av_file(Path(folder, f"a.{kind}"), codec, NOISE, title="Talk").read_bytes()
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 48_000, 1, format=kind, subtype=KINDS[kind]) as file:
        if kind in ("FLAC", "OGG", "WAV", "WAVEX", "AIFF", "CAF", "MP3"):
            file.title = "Talk"
        file.write(NOISE)
    raw = buffer.getvalue()
    if kind.startswith("WAV"):
        cues = struct.pack("<4sIIII4sIII", b"cue ", 28, 1, 1, 100, b"data", 0, 0, 100)
        raw = raw[:4] + struct.pack("<I", len(raw) + len(cues) - 8) + raw[8:] + cues
    return raw


def _changed(raw: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for how, place, value in changes:
        place %= max(len(raw), 1)
        if how == "put":
            raw = raw[:place] + value + raw[place + len(value) :]
        elif how == "insert":
            raw = raw[:place] + value + raw[place:]
        elif how == "delete":
            raw = raw[:place] + raw[place + len(value) :]
        else:
            raw = raw[:place] if place > 12 else raw
    return raw


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    return {kind: _whole(kind) for kind in (*KINDS, "m4a", "webm")}


@pytest.mark.parametrize("kind", [*KINDS, "m4a", "webm"])
def test_a_result_or_one_error(whole: dict[str, bytes], kind: str) -> None:
    model = load_model("tiny")

    @seed(SEED)
    @settings(max_examples=EXAMPLES, deadline=DEADLINES_MS[0], database=None, suppress_health_check=list(HealthCheck))
    @given(changes=CHANGES, suffix=st.sampled_from([".wav", ".flac", ".ogg"]))
    def check(changes: list[tuple[str, int, bytes]], suffix: str) -> None:
        with tempfile.TemporaryDirectory() as name:
            source, target = Path(name, "in"), Path(name, f"out{suffix}")
            source.write_bytes(_changed(whole[kind], changes))
            try:
                facts = denoise_file(source, target, model=model)
            except (ValueError, OSError) as error:
                assert str(error) and "\n" not in str(error) and ".pyenhance" not in str(error)
                assert os.listdir(name) == ["in"]
            else:
                found = soundfile.info(target)
                assert found.frames == round(facts["seconds"] * facts["sample_rate"])
                assert (found.samplerate, found.channels) == (facts["sample_rate"], facts["channels"])
                assert sorted(os.listdir(name)) == ["in", target.name]

    check()


@seed(SEED)
@settings(max_examples=10 * EXAMPLES, deadline=DEADLINES_MS[1], database=None)
@given(
    raw=st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda a, b: a + b,
            st.sampled_from(
                [b"RIFF\0\0\0\0WAVE", b"RF64\xff\xff\xff\xffWAVEds64", b"FORM\0\0\0\0AIFF", b"caff\0\1\0\0", b".snd"]
            ),
            st.binary(max_size=200),
        ),
    )
)
def test_chunks_of_anything(raw: bytes) -> None:
    file = io.BytesIO(raw)
    for chunk in read_chunks(file).chunks:
        assert 0 < chunk.at <= len(raw)
    for place, patch in unfinished(file).items():
        assert 0 <= place and patch
