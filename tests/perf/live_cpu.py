"""What enhancing costs while somebody talks: CPU time of live sound in Chromium, of hops every 10 ms, of the start.

    python -m tests.perf.live_cpu --seconds 60        after ./build.sh site; ./build.sh bench runs it too

Each system has a browser of its own, with the fake microphone. CPU time is read from /proc, for the renderer process as
a whole and for its worker threads; what a graph without any enhancer takes is taken off.
"""

import argparse
import contextlib
import json
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import soundfile
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from pyenhance.backend.check import meaningless_weights
from pyenhance.bench import untrained
from pyenhance.model import write_weights
from pyenhance.nn import FULL_EVERY, KINDS
from tests.browser.conftest import READY_MS, ROOT, launch, make_server
from tests.networks import full_alone
from tests.npm import unpack
from tests.perf.peers import PEERS

SETTLE_S = 8
PACED_HOPS = 400
_TICKS = os.sysconf("SC_CLK_TCK")
_SUPPRESSOR = (
    "@sapphi-red/web-noise-suppressor",
    "0.4.1",
    "fb2f23208991c9472c8323d58ede1c9c3232bdef61f6df9f92e56fe5b52342a9",
)
_PAGE = "<!doctype html><meta charset=utf-8><title>live</title>"

# Each makes `node` in an AudioContext `context`, and for ours `engine`.
_OURS = """const { createDenoiser } = await import("/engine/pyenhance.js");
  node = await createDenoiser(context, { model: %r, remember: false, thread: %r });
  await Promise.all([node.engine.ready, new Promise((done) => node.addEventListener("ready", done))]);"""
# Weights of one's own: such as ten times as many as are worth it today.
_OWN = """%s
  const file = await fetch("/%s.safetensors");
  const { model } = await node.engine.setModel(new Uint8Array(await file.arrayBuffer()));
  while (node.stats().model !== model) await new Promise((done) => setTimeout(done, 100));"""
_THEIRS = """const { %(node)s, %(load)s } = await import("/peer/dist/index.js");
  const wasmBinary = await %(load)s(%(files)s);
  await context.audioWorklet.addModule("/peer/dist/%(name)s/workletProcessor.js");
  node = new %(node)s(context, { wasmBinary, maxChannels: 1 });"""


def _peer(name: str, node: str, load: str, **files: str) -> str:
    urls = {key: f"/peer/dist/{file}" for key, file in files.items()}
    return _THEIRS % {"name": name, "node": node, "load": load, "files": json.dumps(urls)}


_COPY = """const source = `registerProcessor("copy", class extends AudioWorkletProcessor {
    process([input], [output]) { input.forEach((x, c) => output[c].set(x)); return true; } })`;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  node = new AudioWorkletNode(context, "copy");"""

PASS_THROUGH = "pass-through"
SYSTEMS: dict[str, tuple[str, bool]] = {
    PASS_THROUGH: ("node = new GainNode(context);", True),
    "an AudioWorklet that copies": (_COPY, True),
    "pyenhance tiny": (_OURS % ("tiny", "audio"), True),
    "pyenhance default": (_OURS % ("default", "audio"), True),
    "pyenhance default, every frame full": (_OWN % (_OURS % ("default", "audio"), "full"), True),
    "pyenhance large, untrained": (_OWN % (_OURS % ("default", "audio"), "large"), True),
    "pyenhance large, untrained, by turns": (_OWN % (_OURS % ("default", "audio"), "turns"), True),
    "pyenhance default, no shared memory": (_OURS % ("default", "audio"), False),
    "pyenhance tiny, in a worker": (_OURS % ("tiny", "worker"), True),
    "pyenhance default, in a worker": (_OURS % ("default", "worker"), True),
    "pyenhance default, in a worker, no shared memory": (_OURS % ("default", "worker"), False),
    "Speex": (_peer("speex", "SpeexWorkletNode", "loadSpeex", url="speex.wasm"), True),
    "RNNoise 2018": (
        _peer("rnnoise", "RnnoiseWorkletNode", "loadRnnoise", url="rnnoise.wasm", simdUrl="rnnoise_simd.wasm"),
        True,
    ),
    "GTCRN": (_peer("gtcrn", "GtcrnWorkletNode", "loadGtcrn", url="gtcrn.wasm"), True),
}
"""Name to the script that makes the node, and whether the page is isolated."""

_FIRST = """const { createDenoiser } = await import("/engine/pyenhance.js");
  node = await createDenoiser(context, { model: %r, remember: false });
  ready = node.ready;"""
STARTS: dict[str, str] = {
    PASS_THROUGH: SYSTEMS[PASS_THROUGH][0],
    **{f"pyenhance {model}": _FIRST % model for model in ("tiny", "default")},
    **{system: SYSTEMS[system][0] for system in ("Speex", "RNNoise 2018", "GTCRN")},
}
"""Name to the script that makes the node as soon as it can; of ours, which pass sound on before, also `ready`."""

_START = """async () => {
  const context = new AudioContext({ sampleRate: 48000 });
  const audio = { noiseSuppression: false, echoCancellation: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  let node, ready;
  %s
  new MediaStreamAudioSourceNode(context, { mediaStream: stream }).connect(node).connect(context.destination);
  Object.assign(globalThis, { context, node, ready });
}"""
_HEARD = """async () => {
  await globalThis.ready;
  const heard = new AnalyserNode(context, { fftSize: 128 });
  const samples = new Float32Array(128);
  for (node.connect(heard); !samples.some(Boolean); heard.getFloatTimeDomainData(samples))
    await new Promise((done) => setTimeout(done, 2));
  return performance.now();
}"""
_STATS = "() => globalThis.node.stats ? globalThis.node.stats() : null"


class Cpu:
    """CPU seconds and voluntary wake-ups of the renderers of one browser, so far; and of their worker threads."""

    def __init__(self, mark: str) -> None:
        parents = {pid: _stat(f"/proc/{pid}/stat")[1] for pid in map(int, filter(str.isdigit, os.listdir("/proc")))}
        family = {pid for pid in parents if mark in _text(f"/proc/{pid}/cmdline")}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        self.renderers = [pid for pid in family if "--type=renderer" in _text(f"/proc/{pid}/cmdline")]

    def read(self) -> dict[str, float]:
        """cpu_s and worker_cpu_s, seconds; wake_ups."""
        total = {"cpu_s": 0.0, "worker_cpu_s": 0.0, "wake_ups": 0.0}
        for pid in self.renderers:
            total["cpu_s"] += _stat(f"/proc/{pid}/stat")[2]
            for folder in _entries(f"/proc/{pid}/task"):
                name, _, spent = _stat(f"{folder}/stat")
                total["worker_cpu_s"] += spent if name.startswith("DedicatedWorker") else 0
                switches = _text(f"{folder}/status").partition("\nvoluntary_ctxt_switches:")[2].split() or ["0"]
                total["wake_ups"] += float(switches[0])
        return total


# Threads, and renderers that the browser keeps in reserve, end while they are read.
def _entries(folder: str) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _stat(path: str) -> tuple[str, int, float]:
    """Name, parent's number, and CPU seconds."""
    text = _text(path)
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split() or ["?", "0", *"0" * 20]
    return name, int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def served(folder: Path) -> Iterator[dict[bool, str]]:
    """The site, the peers' package and an empty page; addresses with and without the isolation headers."""
    root = folder / "served"
    shutil.copytree(ROOT / "dist" / "site", root)
    shutil.copytree(unpack(*_SUPPRESSOR, folder) / "package", root / "peer")
    (root / "live.html").write_text(_PAGE)
    large = untrained("large", "numpy")
    # Ranks of a third of the units: a lean frame takes a third of a full one's multiply-adds.
    lean = (layer for layer in large.network.spec.layers if KINDS[layer.kind].lean)
    ranks = {layer.name: layer.units // 3 for layer in lean}
    for name, spec in (("large", large.network.spec), ("turns", large.network.spec.with_lean(ranks))):
        (root / f"{name}.safetensors").write_bytes(write_weights(large.signal, spec, meaningless_weights(spec), {}))
    (root / "full.safetensors").write_bytes(full_alone("default"))
    servers = {isolation: make_server(root, 0, isolation=isolation, quiet=True) for isolation in (True, False)}
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {isolation: f"http://127.0.0.1:{server.server_port}/live.html" for isolation, server in servers.items()}
    for server in servers.values():
        server.shutdown()


def _open(playwright: Playwright, microphone: Path, address: str) -> tuple[Browser, Page, Cpu]:
    mark = f"--measured={uuid.uuid4().hex}"
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    browser = launch(playwright, *fake, f"--use-file-for-fake-audio-capture={microphone}", mark)
    page = browser.new_page()
    page.set_default_timeout(READY_MS)
    page.goto(address)
    return browser, page, Cpu(mark)


def live_cpu(
    playwright: Playwright,
    microphone: Path,
    addresses: dict[bool, str],
    seconds: float,
    rounds: int = 1,
    systems: Sequence[str] = tuple(SYSTEMS),
) -> list[dict[str, Any]]:
    """A row for the pass-through and for each of these `SYSTEMS`: of so many rounds through them all, the median by
    net_cpu_s.

    Returns
    -------
    list of dict
        system, seconds; cpu_s of the renderer, net_cpu_s without the pass-through's, worker_cpu_s, wake_ups; of ours
        lost_ms (untouched sound in the place of enhanced), us_mean and us_p99 a hop, model, kernel, shared_memory.
    """
    chosen = {name: it for name, it in SYSTEMS.items() if name == PASS_THROUGH or name in systems}
    found = [_round(playwright, microphone, addresses, seconds, chosen) for _ in range(rounds)]
    return [sorted(rows, key=lambda row: row["net_cpu_s"])[rounds // 2] for rows in zip(*found, strict=True)]


def _round(
    playwright: Playwright,
    microphone: Path,
    addresses: dict[bool, str],
    seconds: float,
    systems: dict[str, tuple[str, bool]],
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for system, (script, isolated) in systems.items():
        browser, page, cpu = _open(playwright, microphone, addresses[isolated])
        page.evaluate(_START % script)
        time.sleep(SETTLE_S)
        before, first, begin = cpu.read(), page.evaluate(_STATS), time.monotonic()
        time.sleep(seconds)
        after, last, spent = cpu.read(), page.evaluate(_STATS), time.monotonic() - begin
        browser.close()
        row = {"system": system, "seconds": spent} | {name: after[name] - before[name] for name in before}
        row["net_cpu_s"] = row["cpu_s"] - (rows[0]["cpu_s"] * spent / rows[0]["seconds"] if rows else row["cpu_s"])
        if first and last:
            lost = (
                last["underrun_samples"]
                - first["underrun_samples"]
                + 480 * (last["dropped_hops"] - first["dropped_hops"])
            )
            row |= {"lost_ms": lost / 48, "hops": last["hops"] - first["hops"]}
            row |= {name: last[name] for name in ("us_mean", "us_p99", "model", "kernel", "shared_memory")}
        rows.append(row)
    return rows


def starts(playwright: Playwright, microphone: Path, address: str, rounds: int = 5) -> list[dict[str, Any]]:
    """Rows system, start_ms of each of `STARTS`: from the beginning of an empty page's load to sound out of the node,
    enhanced, with nothing in any cache; medians of so many browsers in turn.
    """
    times: dict[str, list[float]] = {system: [] for system in STARTS}
    for _ in range(rounds):
        for system, script in STARTS.items():
            browser, page, _ = _open(playwright, microphone, address)
            page.evaluate(_START % script)
            times[system].append(page.evaluate(_HEARD))
            browser.close()
    return [{"system": system, "start_ms": sorted(found)[rounds // 2]} for system, found in times.items()]


# Of one hop at a time: as often as it can, and every 10 ms, the thread asleep between; us: medians of the means of so
# many, as frames may take turns.
_PACED = """async ([variants, hops, every]) => {
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const median = (values) => {
    const means = [];
    for (let at = 0; at + every <= values.length; at += every)
      means.push(values.slice(at, at + every).reduce((sum, value) => sum + value) / every);
    return means.sort((a, b) => a - b)[means.length >> 1];
  };
  const time = (run) => { const begin = performance.now(); run(); return 1000 * (performance.now() - begin); };
  const rows = [];
  for (const [name, run] of await globalThis.variants(variants)) {
    for (let i = 0; i < hops; i++) run();
    const hot = Array.from({ length: hops }, () => time(run));
    const paced = [];
    for (let next = performance.now(), i = 0; i < hops; i++) {
      next += 10;
      await sleep(Math.max(0, next - performance.now()));
      paced.push(time(run));
    }
    rows.push({ name, us_hot: median(hot), us_paced: median(paced) });
  }
  return rows;
}"""
_VARIANTS = """globalThis.variants = async (models) => {
  const found = [];
  const manifest = await (await fetch("/engine/manifest.json")).json();
  const { Instance } = await import("/engine/instance.js");
  const { Models } = await import("/engine/models.js");
  const { Python } = await import("/engine/python.js");
  const { loadPyodide } = await import("/engine/pyodide/pyodide.mjs");
  const models_ = new Models(manifest);
  const indexURL = new URL("/engine/pyodide/", location).href;
  const pyodide = await loadPyodide({ indexURL, packageBaseUrl: indexURL });
  await pyodide.loadPackage("pyenhance", { messageCallback: () => {} });
  const python = new Python(pyodide, models_);
  const noise = Float32Array.from({ length: 480 }, (_, n) => ((n * n) % 997 - 498) / 5000);
  for (const model of models) {
    await python.ensure(model);
    const engine = python.liveEngine(model, 16);
    engine.block("input").set(noise);
    found.push([`${model}: through Python`, () => engine.runner(1, false)]);
    found.push([`${model}: compiled, past Python`, () => engine.run(1, false)]);
    const first = await (await models_.instances(model)).open();
    first.block("input").set(noise);
    found.push([`${model}: compiled, an instance of its own`, () => first.run(1, false)]);
    found.push([`${model}: the same, two hops at once`, () => first.run(2, false)]);
    const { analyse, estimate, synthesise } = first.exports;
    const { stream, network, memory } = first.header;
    found.push([`${model}: of it analysis`, () => analyse(stream, 1)]);
    found.push([`${model}: of it network`, () => estimate(network, memory, 1)]);
    found.push([`${model}: of it synthesis`, () => synthesise(stream, 1, 1, 1)]);
  }
  return found;
};"""


def paced(playwright: Playwright, microphone: Path, address: str, models: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows name, us_hot, us_paced of a hop: through Python, past it, and by an instance of its own, and its stages."""
    browser, page, _ = _open(playwright, microphone, address)
    page.evaluate(f"() => {{ {_VARIANTS} }}")
    rows = page.evaluate(_PACED, [list(models), PACED_HOPS, FULL_EVERY])
    browser.close()
    return rows


def paced_peers(playwright: Playwright, microphone: Path, folder: Path) -> list[dict[str, Any]]:
    """The same of the peers that have a function of one frame (see `peers`)."""
    rows = []
    for name, package, version, sha256, script in PEERS:
        place = unpack(package, version, sha256, folder / "paced")
        (place / "live.html").write_text(_PAGE)
        server = make_server(place, 0, quiet=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser, page, _ = _open(playwright, microphone, f"http://127.0.0.1:{server.server_port}/live.html")
        page.evaluate(
            f"""() => {{ globalThis.variants = async ([name]) => {{
              const make = async () => {{ {script} }};
              const process = await make();
              const frame = Float32Array.from({{ length: 480 }}, (_, n) => 6 * ((n * n) % 997 - 498));
              return [[name, () => process(frame.slice())]];
            }}; }}"""
        )
        rows += page.evaluate(_PACED, [[name], PACED_HOPS, FULL_EVERY])
        browser.close()
        server.shutdown()
    return rows


def measure(
    seconds: float, folder: Path, playwright: Playwright, rounds: int = 1, systems: Sequence[str] = tuple(SYSTEMS)
) -> dict[str, list[dict[str, Any]]]:
    """The rows `live_cpu`, `starts` and `paced` of bench.json."""
    microphone = folder / "live.wav"
    soundfile.write(
        microphone, *soundfile.read(ROOT / "dist" / "site" / "sample.flac", dtype="int16"), subtype="PCM_16"
    )
    with served(folder) as addresses:
        return {
            "live_cpu": live_cpu(playwright, microphone, addresses, seconds, rounds, systems),
            "starts": starts(playwright, microphone, addresses[True]),
            "paced": [
                *paced(playwright, microphone, addresses[True], ("default", "tiny")),
                *paced_peers(playwright, microphone, folder),
            ],
        }


def show(result: dict[str, list[dict[str, Any]]]) -> None:
    """Print the two tables."""
    print("\nlive, CPU seconds of the renderer (net: without a pass-through's)")
    for row in result["live_cpu"]:
        share = row["net_cpu_s"] / row["seconds"]
        text = f"  {row['system']:48} {row['cpu_s']:6.2f} s, net {row['net_cpu_s']:6.2f} s, {share:6.1%} of a core"
        text += f", worker {row['worker_cpu_s']:5.2f} s, {row['wake_ups'] / row['seconds']:5.0f} wake-ups a second"
        if "hops" in row:
            text += f", {row['us_mean']:.0f} us a hop (p99 {row['us_p99']:.0f}), {row['lost_ms']:.0f} ms lost"
        print(text)
    print("from an empty page to enhanced sound, nothing in any cache")
    for row in result["starts"]:
        print(f"  {row['system']:44} {row['start_ms']:6.0f} ms")
    print("one hop, median us: in a row / one every 10 ms")
    for row in result["paced"]:
        print(f"  {row['name']:44} {row['us_hot']:6.0f} / {row['us_paced']:6.0f}")


def main() -> None:
    """Measure and print, JSON to --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of live sound for each system")
    parser.add_argument("--rounds", type=int, default=1, help="medians of so many")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=tuple(SYSTEMS), metavar="NAME")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        result = measure(arguments.seconds, Path(folder), playwright, arguments.rounds, arguments.systems)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    show(result)


if __name__ == "__main__":
    main()
