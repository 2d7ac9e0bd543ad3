"""The site in Debian's Firefox: engine, second start, recordings, and the playable article.

Live sound is not tested: without a sound device Firefox does not run an AudioContext.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance import enhance

from ..conftest import noisy_voice
from .firefox import Firefox

pytestmark = pytest.mark.browser


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    executable = shutil.which("firefox-esr")
    if not executable:
        pytest.skip("no firefox-esr here")
    profile = tmp_path / "profile"
    profile.mkdir()
    with Firefox(executable, profile) as browser:
        yield browser


def test_firefox(firefox: Firefox, serve: Callable[[bool], str], tmp_path: Path) -> None:
    ready = "document.body?.dataset.engine"
    firefox.goto(serve(True))
    assert firefox.wait_for(ready) == "ready"
    facts = firefox.evaluate("pyenhance.engine.facts")
    assert facts["kernel"] in ("simd", "relaxed") and not facts["started_again"]
    x = noisy_voice(2.0)
    y = firefox.evaluate(f"pyenhance.engine.enhance([Float32Array.from({x.tolist()})]).then(([y]) => Array.from(y))")
    assert np.std(y - enhance(x, 48_000)) < 0.05 * np.std(x)
    for name in ("voice.wav", "voice.mp3"):
        soundfile.write(tmp_path / name, noisy_voice(12.0), 48_000)
        firefox.set_files("#file", tmp_path / name)
        firefox.wait_for(f"document.querySelector('#results strong')?.textContent === '{name}'")
        assert "12.0 s enhanced" in firefox.evaluate("document.getElementById('file-status').textContent")
        assert firefox.evaluate("document.querySelector('#results a').download") == "voice-enhanced.wav"
    kept = "caches.keys().then((names) => names.some((name) => name.startsWith('memory-of-pyenhance')))"
    firefox.wait_for(kept)
    firefox.goto(serve(True))
    assert firefox.wait_for(ready) == "ready"
    assert firefox.evaluate("pyenhance.engine.facts.started_again") is True
    firefox.goto(f"{serve(True)}how.html")
    assert firefox.wait_for(ready) == "ready"
