"""RNNoise's WebAssembly builds in the same browser as ours: microseconds for a frame of 10 ms."""

import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.browser.conftest import make_server
from tests.npm import unpack

# Name, npm package, version, sha256 of its archive, and a script that answers a function of one frame of 480 samples.
PEERS = (
    (
        "RNNoise 0.2",
        "@shiguredo/rnnoise-wasm",
        "2025.1.5",
        "8e0690aee3f83fd80f45fbe69a5a243808f7a5bd42e0e28501f34dbe14700bb1",
        """const { Rnnoise } = await import("/package/dist/rnnoise.js");
        const state = (await Rnnoise.load()).createDenoiseState();
        return (frame) => state.processFrame(frame);""",
    ),
    (
        "RNNoise, older weights",
        "@jitsi/rnnoise-wasm",
        "0.2.1",
        "c80b015b69701699868086a30015e5e680bee41a68df4c8ad2daed8b1bbc1173",
        """const { default: create } = await import("/package/dist/rnnoise.js");
        const module = await create({ locateFile: (name) => `/package/dist/${name}` });
        const state = module._rnnoise_create();
        const at = module._malloc(4 * 480);
        return (frame) => {
          module.HEAPF32.set(frame, at / 4);
          module._rnnoise_process_frame(state, at, at);
        };""",
    ),
)
_FRAMES = 3000
_MEASURE = """async () => {
  const make = async () => { %s };
  const process = await make();
  const sound = Float32Array.from({ length: 480 * 100 }, (_, i) => 3000 * Math.sin(i * i * 1e-5) * Math.random());
  const frame = new Float32Array(480);
  const run = (n) => {
    for (let i = 0; i < n; i++) {
      frame.set(sound.subarray(480 * (i %% 100), 480 * (i %% 100) + 480));
      process(frame);
    }
  };
  run(300);
  const begin = performance.now();
  run(%d);
  return (1000 * (performance.now() - begin)) / %d;
}"""


def measure_peers(browser: Browser, folder: Path) -> list[dict[str, Any]]:
    """Rows of `peers` in bench.json.

    Parameters
    ----------
    browser : Browser
    folder : Path
        Where the npm packages are unpacked.

    Raises
    ------
    ValueError
        A package is not the one that is pinned.
    """
    rows = []
    for name, package, version, sha256, script in PEERS:
        place = unpack(package, version, sha256, folder)
        (place / "index.html").write_text("<!doctype html><title>peer</title>")
        server = make_server(place, 0, quiet=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        us = page.evaluate(_MEASURE % (script, _FRAMES, _FRAMES))
        rows.append({"name": name, "package": package, "version": version, "us_mean": us})
        page.close()
        server.shutdown()
        server.server_close()
    return rows
