"""What 10 ms of sound cost in Chromium, by model and kernel: the network alone and all of it, in a row and every 10 ms.

    python -m tests.perf.hop_cost default tiny my.safetensors --rounds 40        after ./build.sh site

A model is one that ships or a weights file, which need not have learnt anything. All of them take turns, so that what
else the machine does is as hard on each; the least of the rounds tells them apart. Of a model with lean layers there
are rows of full and of lean frames, too.
"""

import argparse
import threading
from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Browser, Route, sync_playwright

from pyenhance import load_model
from pyenhance.model import write_weights
from pyenhance.model.image import write_image
from pyenhance.nn import FULL_EVERY
from tests.browser.conftest import ROOT, launch, make_server

KERNELS = ("simd", "relaxed")
HOPS = 100
_PAGE = "<!doctype html><meta charset=utf-8><title>cost</title>"
_ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}  # a fine clock
_MEASURE = """async ([models, kernels, hops, rounds, paced, every]) => {
  const { Instance } = await import("/engine/instance.js");
  const { Lean } = await import("/engine/lean.js");
  const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
  const rows = [];
  for (const kernel of kernels) {
    const library = await WebAssembly.compile(await bytes(`/engine/models/${kernel}.wasm`));
    for (const [at, model] of models.entries()) {
      const [image, weights] = [await bytes(`/cost/${at}/image`), await bytes(`/cost/${at}/weights`)];
      const instance = await Instance.open(library, image, weights);
      instance.block("input").set(Float32Array.from({ length: 480 }, (_, n) => 0.1 * Math.sin(0.03 * n + n * n)));
      const { header, exports } = instance;
      const lean = header.lean && new Lean(instance.memory, header.lean);
      for (const effort of lean ? ["auto", "full", "lean"] : ["auto"]) {
        const whole = () => {
          lean?.ask(effort);
          exports.process(header.stream, 1);
        };
        const number = lean ? header.lean.efforts[effort] : 0;
        const network = () => exports.estimate(header.network, header.memory, 1, 0, number);
        rows.push({ model, kernel, effort, steps: { network, whole }, us: { network: [], whole: [], paced: [] } });
      }
    }
  }
  const took = (step, count) => {
    const begin = performance.now();
    for (let k = 0; k < count; k++) step();
    return (1000 * (performance.now() - begin)) / count;
  };
  for (let round = -2; round < rounds; round++) // at first engines compile once more
    for (const { steps, us } of rows)
      for (const [name, step] of Object.entries(steps)) {
        const one = took(step, hops);
        if (round >= 0) us[name].push(one);
      }
  for (let hop = 0; hop < paced; hop += every)
    for (const { steps, us } of rows) {
      let sum = 0;
      for (let k = 0; k < every; k++) {
        await new Promise((done) => setTimeout(done, 10));
        sum += took(steps.whole, 1);
      }
      us.paced.push(sum / every);
    }
  return rows.map(({ model, kernel, effort, us }) => ({ model, kernel, effort, us }));
}"""


def measure(
    browser: Browser,
    address: str,
    models: Sequence[str],
    kernels: Sequence[str] = KERNELS,
    hops: int = HOPS,
    rounds: int = 40,
    paced: int = 100,
) -> list[dict[str, Any]]:
    """Microseconds a hop.

    Parameters
    ----------
    browser, address
        The address is of a server of the site.
    models : sequence of str
        Names of shipped models, or paths of weights files.
    kernels : sequence of str
        Among `KERNELS`.
    hops, rounds : int
        Hops in a row, and how often.
    paced : int
        Single hops, each 10 ms after what was computed before it; means of `nn.FULL_EVERY` of them, as frames may take
        turns.

    Returns
    -------
    list of dict
        model; kernel; effort, as of `nn.choose`; multiply_adds a frame; us: of "network", "whole" and "paced" the
        sorted times.
    """
    files: dict[str, bytes] = {}
    multiply_adds = {}
    for at, name in enumerate(models):
        model = load_model(name, "numpy")
        spec = model.network.spec
        shares = {"auto": 1 / FULL_EVERY, "full": 1.0, "lean": 0.0}
        multiply_adds[name] = {effort: spec.mean_multiply_adds(share) for effort, share in shares.items()}
        weights = write_weights(model.signal, model.network.spec, model.tensors, {})
        files |= {f"{at}/weights": weights, f"{at}/image": write_image(load_model(weights, "numpy"))}

    def serve(route: Route) -> None:
        route.fulfill(body=files[route.request.url.split("/cost/")[1]], content_type="application/octet-stream")

    page = browser.new_page()
    page.route("**/cost.html", lambda route: route.fulfill(body=_PAGE, content_type="text/html", headers=_ISOLATED))
    page.route("**/cost/**", serve)
    page.goto(f"{address}cost.html")
    rows = page.evaluate(_MEASURE, [list(models), list(kernels), hops, rounds, paced, FULL_EVERY])
    page.close()
    for row in rows:
        row["multiply_adds"] = multiply_adds[row["model"]][row["effort"]]
        row["us"] = {name: sorted(times) for name, times in row["us"].items()}
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """As Markdown: least and median of each."""
    titles = ("model", "frames", "million multiply-adds", "kernel", "network, µs", "whole, µs", "paced, µs")
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    frames = {"auto": "as live", "full": "full", "lean": "lean"}
    for row in rows:
        cells = [f"{us[0]:.0f} / {us[len(us) // 2]:.0f}" if us else "-" for us in row["us"].values()]
        about = (row["model"], frames[row["effort"]], f"{row['multiply_adds'] / 1e6:.2f}", row["kernel"])
        lines.append(f"| {' | '.join((*about, *cells))} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, default=KERNELS)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--paced", type=int, default=100, metavar="HOPS")
    arguments = parser.parse_args()
    server = make_server(ROOT / "dist" / "site", 0, quiet=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        address = f"http://127.0.0.1:{server.server_port}/"
        rows = measure(browser, address, arguments.models, arguments.kernels, HOPS, arguments.rounds, arguments.paced)
        print(f"Chromium {browser.version}; least / median\n")
        print(table(rows))
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
