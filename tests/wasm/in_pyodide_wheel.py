"""Run by test_wheel.py inside Pyodide: the wheel enhances, and any split gives the same bits."""

import json
import sys

import numpy as np

from pyenhance import Enhancer, __version__, enhance
from pyenhance.bench import benchmark

x = (0.05 * np.sin(1e-5 * np.arange(48_000.0) ** 2)).astype(np.float32)
y = enhance(x, 48_000)
hops = x.reshape(-1, 480)
once = Enhancer().process_hops(hops)
e = Enhancer()
split = np.concatenate([e.process_hops(hops[i : i + 7]) for i in range(0, 100, 7)])
json.dumps(
    {
        "version": __version__,
        "platform": sys.platform,
        "numpy": np.__version__,
        "same": bool((once == split).all()),
        "bench": benchmark("untrained-tiny", seconds=0.2),
        "y": y[::100].tolist(),
    }
)
