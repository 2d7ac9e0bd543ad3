"""Measure in headless Chromium and in CPython, print a table and write bench.json: ``./build.sh bench``."""

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import soundfile
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import tap
from tests.browser.conftest import READY_MS, ROOT, launch, make_server
from tests.perf import live_cpu
from tests.perf.peers import measure_peers

BLOCKS = (1, 2, 10)
HOUR = 3600
STARTS = 5
CLI = (sys.executable, "-m", "pyenhance.cli")
KERNELS = ("numpy", "simd", "relaxed")
OTHER_MODELS = ("tiny", "untrained-large")
FIRST_SAMPLE = """() => new Promise((resolve) => {
  const timer = setInterval(() => {
    if ((pyenhance.session?.node?.stats().hops ?? 0) < 1) return;
    clearInterval(timer);
    resolve(performance.now());
  }, 2);
})"""


def _start_ms(page: Page, address: str) -> tuple[float, float]:
    """From navigation to the first enhanced sample, the start button being pressed as soon as it is there; and until
    Python is there as well, which recordings wait for."""
    page.goto(address, wait_until="commit")
    page.click("#start")
    enhanced = page.evaluate(FIRST_SAMPLE)
    page.wait_for_selector("body[data-engine=ready]", timeout=READY_MS)
    return enhanced, page.evaluate("performance.now()")


def startup(new_browser: Callable[[], Browser], address: str) -> dict[str, Any]:
    """Time to the first enhanced sample, and to Python, on a first and on a second visit, medians of several new
    browsers; and what the first visit transfers for both."""
    cold, cached = [], []
    for _ in range(STARTS):
        browser = new_browser()
        context = browser.new_context()
        page = context.new_page()
        requests: list[Any] = []
        context.on("requestfinished", lambda request, requests=requests: requests.append(request))
        cold.append(_start_ms(page, address))
        # What the service worker stores for later is not waited for.
        first_visit = [r for r in requests if urlparse(r.url).scheme.startswith("http") and r.service_worker is None]
        sizes: dict[str, int] = {}
        for request in first_visit:
            name = unquote(urlparse(request.url).path).lstrip("/") or "index.html"
            sizes[name] = sizes.get(name, 0) + request.sizes()["responseBodySize"]
        page.wait_for_selector("#offline:not([hidden])")  # all is stored
        time.sleep(1)
        cached.append(_start_ms(page, address))
        browser.close()
    site = ROOT / "dist" / "site"
    (cold_ms, cold_python_ms), (cached_ms, cached_python_ms) = (np.median(t, axis=0).tolist() for t in (cold, cached))
    return {
        "cold_ms": cold_ms,
        "cold_python_ms": cold_python_ms,
        "cached_ms": cached_ms,
        "cached_python_ms": cached_python_ms,
        "bytes_total": sum(sizes.values()),
        "bytes_compressed": sum(len(gzip.compress((site / name).read_bytes())) for name in sizes),
        "bytes": dict(sorted(sizes.items(), key=lambda item: -item[1])),
    }


def live(page: Page, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """The (fake) microphone through the page for a while; the rows `live` and `latency_ms`."""
    page.click("#start")
    page.wait_for_selector("#ab:not([disabled])")
    tap.start(page)
    time.sleep(5)
    begin, end, heard, enhanced = tap.record(page, seconds)
    tap.stop(page)
    page.click("#start")
    row = {"seconds": seconds, "hops": end["hops"] - begin["hops"]}
    row |= {name: end[name] - begin[name] for name in ("underruns", "dropped_hops", "hurried_hops")}
    row |= {name: end[name] for name in ("us_mean", "us_p99")}
    latency = {
        "claimed": end["latency_algorithm_ms"] + end["latency_transport_ms"],
        "measured": _delay_ms(heard, enhanced),
        "algorithm": end["latency_algorithm_ms"],
        "transport": end["latency_transport_ms"],
    }
    return row, latency


def _delay_ms(x: np.ndarray, y: np.ndarray) -> float:
    """Delay of y against x by cross-correlation, at most 0.2 s."""
    size = 2 * len(x)
    correlation = np.fft.irfft(np.fft.rfft(y, size) * np.conj(np.fft.rfft(x, size)), size)
    return float(np.argmax(correlation[:9600])) / 48


def cpython(model: str, seconds: float, folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What CPython does, with numpy alone and compiled; the rows `hop` and `files`."""
    environment = os.environ | {"XDG_CACHE_HOME": str(folder)}  # the user's own stays as it is
    environment.pop("PYENHANCE_KERNEL", None)
    subprocess.run([*CLI, "compile"], check=True, capture_output=True, env=environment)
    blocks = map(str, BLOCKS)
    command = [*CLI, "bench", "--json", "--model", model, "--seconds", str(seconds), "-k", *blocks]
    rows = []
    for kernel in ("numpy", "native"):
        done = subprocess.run([*command, "--kernel", kernel], check=True, capture_output=True, env=environment)
        rows += json.loads(done.stdout)
    return rows, files(environment)


def files(environment: dict[str, str]) -> dict[str, Any]:
    """`pyenhance denoise` on one core, start of Python included: real-time factor and highest memory, by length; and
    many files over local Dask workers."""
    single = [
        _denoise(seconds, environment | {"PYENHANCE_KERNEL": kernel})
        for seconds, kernel in ((120, "numpy"), (120, "native"), (HOUR, "native"))
    ]
    return {"single": single, "cluster": [_cluster(workers, environment) for workers in (1, 2, 4)]}


def _denoise(seconds: int, environment: dict[str, str]) -> dict[str, Any]:
    code = (
        "import resource, sys; from pyenhance.cli import main; status = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024); sys.exit(status)"
    )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "noisy.wav"
        _write_noise(source, seconds)
        command = [sys.executable, "-c", code, "denoise", source, "-o", Path(folder) / "clean.wav", "--quiet"]
        begin = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        spent = time.perf_counter() - begin
    kernel = environment["PYENHANCE_KERNEL"]
    return {
        "kernel": kernel,
        "seconds": seconds,
        "real_time_factor": spent / seconds,
        "peak_mb": float(done.stdout.split()[-1]),
    }


def _cluster(workers: int, environment: dict[str, str], count: int = 16, seconds: int = 60) -> dict[str, Any]:
    """So many files; the start of the workers is part of it."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "noisy", Path(folder) / "clean"
        source.mkdir()
        for k in range(count):
            _write_noise(source / f"{k}.wav", seconds)
        command = [*CLI, "denoise", source, "-o", target, "--quiet", "--cluster", f"local:{workers}"]
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        spent = time.perf_counter() - begin
        assert len(list(target.glob("*.wav"))) == count
    return {"workers": workers, "files": count, "real_time_factor": spent / (count * seconds)}


def _write_noise(path: Path, seconds: int) -> None:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 48_000, 1) as file:
        for _ in range(seconds):
            file.write(rng.normal(0, 0.05, 48_000))


def overhead(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a call costs whatever it does, from one hop a call against ten; and what only memory's speed would allow.

    A call of K hops costs F + K V; a hop of it F / K + V.
    """
    weights = np.zeros(8_000_000, np.int8).view(np.int64)
    best = min(_seconds(lambda: np.add.reduce(weights)) for _ in range(20))
    bytes_a_us = weights.nbytes / best / 1e6
    cost = {(row["engine"], row["model"], row["kernel"], row["k"]): row for row in rows}
    facts = []
    for (engine, model, kernel, k), row in cost.items():
        if k != 1:
            continue
        fixed = (row["us_mean"] - cost[engine, model, kernel, 10]["us_mean"]) * 10 / 9
        facts.append(
            {
                "engine": engine,
                "model": model,
                "kernel": kernel,
                "fixed_us": fixed,
                "fixed_share": fixed / row["us_mean"],
                "reading_weights_us": row["weights"] / bytes_a_us,
            }
        )
    return facts


def _seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _numpy_calls(k: int) -> float:
    """Of the enhancer, a call with K hops, without compiled kernels."""
    code = f"from tests.perf.numpy_calls import numpy_calls; print(sum(numpy_calls({k}).values()))"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _show(result: dict[str, Any]) -> None:
    env, start = result["env"], result["startup"]
    print(f"{env['browser']} on {env['cores']} cores, {env['processor']}; numpy: {env['numpy_origin']}\n")
    stages = list(result["hop"][0]["breakdown_us"])
    columns = ["mean", "p50", "p99", "max", "RTF", *stages]
    print(f"us a hop  model            kernel    K {''.join(f'{name:>10}' for name in columns)}")
    for row in result["hop"]:
        values = [row["us_mean"], row["us_p50"], row["us_p99"], row["us_max"]]
        text = [f"{v:.0f}" for v in values] + [f"{row['real_time_factor']:.3f}"]
        text += [f"{row['breakdown_us'][stage]:.0f}" for stage in stages]
        print(
            f"{row['engine']:9} {row['model']:16} {row['kernel']:7} {row['k']:3d} {''.join(f'{v:>10}' for v in text)}"
        )
    for row in result["overhead"]:
        print(
            f"{row['engine']:9} {row['model']:16} {row['kernel']:7}  {row['fixed_us']:.0f} us a call are fixed, "
            f"{row['fixed_share']:.0%} of one with one hop; to read the weights {row['reading_weights_us']:.0f} us"
        )
    for row in result["peers"]:
        print(f"chromium  {row['us_mean']:38.0f}  {row['name']} ({row['package']} {row['version']})")
    print()
    for visit in ("cold", "cached"):
        enhanced, python = (start[f"{visit}_{until}"] / 1000 for until in ("ms", "python_ms"))
        print(f"start, {visit}: {enhanced:.1f} s to the first enhanced sample, {python:.1f} s to Python")
    print(f"{start['bytes_total'] / 1e6:.1f} MB, {start['bytes_compressed'] / 1e6:.1f} MB compressed:")
    for name, size in list(start["bytes"].items())[:6]:
        print(f"  {size / 1e6:6.2f} MB  {name}")
    live_cpu.show(result)
    print("live:    " + ", ".join(f"{k} {v:.0f}" for k, v in result["live"].items()))
    print("latency: " + ", ".join(f"{k} {v:.1f} ms" for k, v in result["latency_ms"].items()))
    for row in result["files"]["single"] + result["files"]["cluster"]:
        print("files:   " + ", ".join(f"{k} {v if isinstance(v, str) else f'{v:.4g}'}" for k, v in row.items()))
    print("numpy calls: " + ", ".join(f"{calls:.0f} with K = {k}" for k, calls in result["numpy_calls"].items()))


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=20, help="of audio for each row")
    parser.add_argument("--live-seconds", type=float, default=60, help="of live sound for each system")
    parser.add_argument("--model", default="default")
    parser.add_argument("--no-peers", action="store_true", help="do not fetch and measure RNNoise's npm packages")
    arguments = parser.parse_args()
    site = ROOT / "dist" / "site"
    manifest = json.loads((site / "engine" / "manifest.json").read_text())
    server = tap.offer(make_server(site, 0, quiet=True))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        microphone = Path(folder) / "microphone.wav"
        soundfile.write(microphone, *soundfile.read(site / "sample.flac", dtype="int16"), subtype="PCM_16")
        fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
        flags = (*fake, f"--use-file-for-fake-audio-capture={microphone}")
        start = startup(lambda: launch(playwright, *flags), address)
        browser = launch(playwright, *flags)
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("body[data-engine=ready]", timeout=READY_MS)
        bench = "([model, k, seconds, kernel]) => pyenhance.engine.bench({ model, k, seconds, kernel })"
        rows = [
            page.evaluate(bench, [model, k, arguments.seconds, kernel])
            for model in (arguments.model, *OTHER_MODELS)
            for kernel in KERNELS
            for k in BLOCKS
        ]
        running, latency = live(page, arguments.seconds)
        version = f"Chromium {browser.version}"
        peers = [] if arguments.no_peers else measure_peers(browser, Path(folder) / "peers")
        browser.close()
        server.shutdown()
        while_talking = live_cpu.measure(arguments.live_seconds, Path(folder), playwright)
        own_rows, file_rows = cpython(arguments.model, arguments.seconds, Path(folder) / "cache")
    rows += own_rows
    result = {
        "env": {
            "browser": version,
            "cores": os.cpu_count(),
            "processor": _processor(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "numpy_origin": manifest["numpy_origin"],
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "hop": rows,
        "overhead": overhead(rows),
        "peers": peers,
        "startup": start,
        "latency_ms": latency,
        "live": running,
        **while_talking,
        "files": file_rows,
        "numpy_calls": {k: _numpy_calls(k) for k in BLOCKS},
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    _show(result)


if __name__ == "__main__":
    main()
