"""What `pyenhance adapt` is worth: users of a corpus adapt, and are scored on what they did not record.

A user is a speaker of the split "valid", who reads at most half a minute and keeps other sentences for the test; the
room is a noise recording, whose first half is recorded and whose second half is the test's. Noise has the bandwidth of
the speech, as one microphone would have it. The other room is another noise.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.signal import butter, sosfilt

from ..align import enhance_aligned
from ..audio import read_audio
from ..dsp import SAMPLE_RATE
from ..enhancer import Enhancer
from ..evaluate.metrics import Scorer
from ..model import load_model
from ..model.adapt import adapt
from ..model.recordings import make_mixes
from .corpus import GROUPS, manifest_rows

SNRS_DB = (0, 5, 10)
MIN_NOISE_S, MIN_SPEECH_S, TEST_S, NOISE_S = 11.0, 19.0, 8, 20
ROOMS = ("own", "other")
MEASURES = ("pesq_wb", "si_sdr")


class User(NamedTuple):
    """Recordings, float32 at 48 kHz; `rooms` has noise for the test."""

    name: str
    noise_names: dict[str, str]
    voice: np.ndarray
    noise: np.ndarray
    sentences: np.ndarray
    rooms: dict[str, np.ndarray]


def users(data: Path, count: int, voice_s: float, groups: tuple[str, ...], seed: int = 5) -> Iterator[User]:
    """So many users, or as many as there are speakers with enough speech; ValueError where there is but one noise."""
    speakers = _grouped(manifest_rows([data], "speech", "valid", groups), "speaker", MIN_SPEECH_S)
    speakers = {name: rows for name, rows in speakers.items() if len(rows) > 1}
    noises = list(_grouped(manifest_rows([data], "noise", "valid", groups), "src_file", MIN_NOISE_S).values())
    if len(noises) < 2:
        raise ValueError(f"{data} has {len(noises)} noises of {MIN_NOISE_S:g} s; accepted: two or more")
    order = np.random.default_rng(seed).permutation(len(speakers))[:count]
    for i, which in enumerate(order.tolist()):
        name, rows = list(speakers.items())[which]
        clips = [read_audio(row["path"]) for row in rows]
        bandwidth_hz = min(float(row["eff_bw"] or SAMPLE_RATE / 2) for row in rows)
        shift = (2 + i // len(noises)) % (len(noises) - 1)
        # Every noise is some user's own room, and its neighbours, one after the other, are the others.
        rooms = {"own": noises[i % len(noises)], "other": noises[(i + 1 + shift) % len(noises)]}
        sounds = {room: _limited(rows, bandwidth_hz) for room, rows in rooms.items()}
        yield User(
            name,
            {room: rows[0]["category"] for room, rows in rooms.items()},
            np.concatenate(clips[:-1])[: int(voice_s * SAMPLE_RATE)],
            sounds["own"][: len(sounds["own"]) // 2][: NOISE_S * SAMPLE_RATE],
            clips[-1][-TEST_S * SAMPLE_RATE :],
            {room: x[len(x) // 2 :] for room, x in sounds.items()},
        )


def _grouped(rows: list[dict[str, Any]], column: str, least_s: float) -> dict[str, list[dict[str, Any]]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return {name: own for name, own in sorted(groups.items()) if sum(float(row["dur"]) for row in own) >= least_s}


def _limited(rows: list[dict[str, Any]], bandwidth_hz: float) -> np.ndarray:
    x = np.concatenate([read_audio(row["path"]) for row in rows])
    if bandwidth_hz < 20_000:
        x = sosfilt(butter(8, bandwidth_hz, fs=SAMPLE_RATE, output="sos"), x)
    return (x * 0.05 / np.sqrt(np.mean(x**2) + 1e-12)).astype(np.float32)


def run(user: User, model: str, scorer: Scorer) -> dict[str, Any]:
    """Adapt one user's model and score it; where it is not kept, the shipped model stays, and so do the scores."""
    facts: dict[str, Any] = {"user": user.name, "noise": user.noise_names, "kept": True}
    models = {"before": load_model(model)}
    try:
        result = adapt(model, user.voice, user.noise)
        models["after"] = load_model(result.weights)
        facts |= {"bytes": len(result.diff), "anchor_frames": result.anchor_frames, "figures": result.figures}
    except ValueError as error:
        facts |= {"kept": False, "reason": str(error)}
    for room in ROOMS:
        voice = user.sentences[: len(user.sentences) // 480 * 480]
        mixes = make_mixes(voice, user.rooms[room], SNRS_DB)
        scores = {
            when: [scorer(mix.clean, enhance_aligned(Enhancer(used), mix.noisy)) for mix in mixes]
            for when, used in models.items()
        }
        means = {
            when: {measure: float(np.mean([score[measure] for score in own])) for measure in MEASURES}
            for when, own in scores.items()
        }
        facts[room] = {
            measure: (means["before"][measure], means.get("after", means["before"])[measure]) for measure in MEASURES
        }
    return facts


def as_text(results: list[dict[str, Any]]) -> str:
    """The table of the trial, and its means over all users: those whose model stayed count as unchanged."""
    lines = []
    for facts in results:
        cells = [
            f"{room} {_change(facts, room, 'pesq_wb'):+.3f} {_change(facts, room, 'si_sdr'):+.2f}" for room in ROOMS
        ]
        how = f"{facts['bytes']:,} bytes, {facts['anchor_frames']}" if facts["kept"] else facts["reason"]
        lines.append(f"{facts['user']:22.22} {facts['noise']['own']:16.16} {'  '.join(cells)}  {how}")
    lines.append(f"{len(results)} users, {sum(facts['kept'] for facts in results)} adapted")
    for room in ROOMS:
        for measure in MEASURES:
            change = np.array([_change(facts, room, measure) for facts in results])
            before = np.mean([facts[room][measure][0] for facts in results])
            spread = f"{change.min():+.3f} to {change.max():+.3f}"
            lines.append(
                f"{room:6}{measure:8} {before:.3f} {change.mean():+.3f} ({spread}), worse: {(change < 0).sum()}"
            )
    return "\n".join(lines)


def _change(facts: dict[str, Any], room: str, measure: str) -> float:
    before, after = facts[room][measure]
    return after - before


def main(argv: list[str] | None = None) -> None:
    """Try: ``pyenhance train trial --data CORPUS --users 30 -o trial.json``; one that was begun goes on."""
    parser = argparse.ArgumentParser(prog="pyenhance train trial", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="corpus: a folder with the manifests")
    parser.add_argument("--users", type=int, default=30)
    parser.add_argument("--voice-seconds", type=float, default=30)
    parser.add_argument("--model", default="default", help="a shipped model's name")
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), help="licences")
    parser.add_argument("--pesq-starts", type=int, default=2, help="see evaluate.metrics.Scorer")
    parser.add_argument("-o", "--output", type=Path, required=True, help="results (JSON), a user at a time")
    arguments = parser.parse_args(argv)
    scorer = Scorer(pesq_starts=arguments.pesq_starts)
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else []
    done = {facts["user"] for facts in results}
    for user in users(arguments.data, arguments.users, arguments.voice_seconds, tuple(arguments.groups)):
        if user.name not in done:
            results.append(run(user, arguments.model, scorer))
            arguments.output.write_text(json.dumps(results, indent=1))
            print(as_text(results[-1:]).splitlines()[0], flush=True)
    print(as_text(results))


if __name__ == "__main__":
    main()
