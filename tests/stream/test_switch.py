"""Another model in the middle of a stream."""

from pathlib import Path

import numpy as np
import pytest

from pyenhance import Enhancer, load_model
from pyenhance.dsp import SignalSpec
from pyenhance.model import Model

from ..conftest import in_noise, spoken
from ..networks import small_weights

pytestmark = pytest.mark.usefixtures("with_native")

HOPS = in_noise(spoken(1, 4.4)).reshape(-1, 480)
AT, END = 200, 440
OTHERS = {
    "no look-ahead": SignalSpec(34, 0),
    "50 bands": SignalSpec(50, 2),
    "24 bands, 1 ahead": SignalSpec(24, 1),
    "more look-ahead": SignalSpec(34, 4),
}


def _model(name: str, kernel: str) -> Model:
    return load_model(small_weights(OTHERS[name]) if name in OTHERS else name, kernel)


def _largest_step(y: np.ndarray) -> float:
    return float(np.abs(np.diff(y.ravel())).max())


@pytest.fixture(params=["numpy", "native"])
def kernel(request: pytest.FixtureRequest) -> str:
    return request.param


PAIRS = [("tiny", "default"), ("default", "tiny"), *(("tiny", name) for name in OTHERS), *((n, "tiny") for n in OTHERS)]


@pytest.fixture(params=PAIRS, ids=" -> ".join)
def pair(request: pytest.FixtureRequest, kernel: str) -> tuple[Model, Model]:
    old, new = (_model(name, kernel) for name in request.param)
    return old, new


@pytest.mark.parametrize("k", [1, 8])
def test_a_switch_does_not_click_and_arrives(pair: tuple[Model, Model], k: int) -> None:
    old, new = pair
    e = Enhancer(old)
    y = [e.process_hops(HOPS[:AT])]
    e.switch(new)
    assert e.latency_samples == new.signal.latency_samples and e.model is new
    gains, right = [], []
    after = Enhancer(new)
    of_old, of_new = Enhancer(old).process_hops(HOPS), [after.process_hops(HOPS[:AT])]
    for i in range(AT, END, k):
        y.append(e.process_hops(HOPS[i : i + k]))
        of_new.append(after.process_hops(HOPS[i : i + k]))
        gains.append(e.last_hop.gain)
        right.append(after.last_hop.gain)
    y, of_new = np.concatenate(y), np.concatenate(of_new)
    np.testing.assert_array_equal(y[:AT], of_old[:AT])
    around = slice(AT - 5, AT + 20)
    # The fade adds what the two are apart, spread over a hop.
    apart = np.abs(of_old[AT] - of_new[AT]).max() / 480
    largest = max(_largest_step(of_old[around]), _largest_step(of_new[around]))
    assert _largest_step(y[around]) <= 1.05 * largest + apart
    late = 200 // k
    difference = np.abs(np.array(gains[late:]) - np.array(right[late:]))
    assert difference.mean() < 0.01 and difference.max() < 0.15
    assert np.std(y[AT + 200 :] - of_new[AT + 200 :]) < 0.01 * np.std(HOPS[AT + 200 : END])


def test_it_is_warm(kernel: str) -> None:
    """Right after the switch the gains are nearer to those of a stream that ran the model all along than cold ones."""
    new = load_model("default", kernel)
    warm, cold, always = Enhancer(load_model("tiny", kernel)), Enhancer(new), Enhancer(new)
    warm.process_hops(HOPS[:AT])
    always.process_hops(HOPS[:AT])
    warm.switch(new)
    gains = []
    for i in range(AT, AT + 20):
        for e in (warm, cold, always):
            e.process_hops(HOPS[i : i + 1])
        gains.append([e.last_hop.gain for e in (warm, cold, always)])
    of_warm, of_cold, right = np.array(gains).swapaxes(0, 1)
    assert np.abs(of_warm - right).mean() < 0.3 * np.abs(of_cold - right).mean()


def test_there_and_back_again(kernel: str) -> None:
    """Several switches without a hop between them: the sound goes over from what was heard to the last one's."""
    tiny, default = load_model("tiny", kernel), load_model("default", kernel)
    e, direct = Enhancer(tiny), Enhancer(tiny)
    for each in (e, direct):
        each.process_hops(HOPS[:AT])
    for model in (default, tiny, default):
        e.switch(model)
    direct.switch(default)
    np.testing.assert_array_equal(e.process_hops(HOPS[AT : AT + 50]), direct.process_hops(HOPS[AT : AT + 50]))


def test_the_same_model_changes_nothing(kernel: str) -> None:
    model = load_model("tiny", kernel)
    e, other = Enhancer(model), Enhancer(model)
    y = [e.process_hops(HOPS[:50])]
    e.switch(model)
    y.append(e.process_hops(HOPS[50:100]))
    np.testing.assert_array_equal(np.concatenate(y), other.process_hops(HOPS[:100]))


def test_before_the_first_hop_it_is_as_if_made_with_it(kernel: str) -> None:
    e = Enhancer(load_model("tiny", kernel))
    e.process(HOPS[0, :100])
    e.switch(load_model("default", kernel))
    other = Enhancer(load_model("default", kernel))
    np.testing.assert_array_equal(e.process(HOPS[:20].ravel()[100:]), other.process(HOPS[:20].ravel()))


def test_pending_samples_and_settings_stay(kernel: str) -> None:
    e = Enhancer(load_model("tiny", kernel), strength_db=0)
    x = HOPS[:100].ravel()
    y = [e.process(x[:9_700])]
    e.switch(load_model("default", kernel))
    y += [e.process(x[9_700:]), e.flush()]
    y = np.concatenate(y)
    assert len(y) == len(x) + 1440 and e.stats["hops"] == 0 and e.strength_db == 0
    np.testing.assert_allclose(y[1440:], x, atol=2e-6)


def test_reset_after_a_switch_forgets_it(kernel: str) -> None:
    e = Enhancer(load_model("tiny", kernel))
    e.process_hops(HOPS[:50])
    e.switch(load_model("default", kernel))
    e.reset()
    other = Enhancer(load_model("default", kernel))
    np.testing.assert_array_equal(e.process_hops(HOPS[:50]), other.process_hops(HOPS[:50]))


@pytest.mark.parametrize("lean", [True, False])
def test_a_switch_while_catching_up(kernel: str, lean: bool) -> None:
    e = Enhancer(load_model("tiny", kernel))
    e.process_hops(HOPS[:50])
    e.process_hops(HOPS[50:100], lean=True)
    e.switch(load_model("default", kernel))
    y = np.concatenate([e.process_hops(HOPS[i : i + 10], lean=lean) for i in range(100, 200, 10)])
    assert np.isfinite(y).all() and _largest_step(y) <= 1.5 * _largest_step(HOPS[100:200])
    assert e.stats["hops"] == 200


def test_linked_halves_fade_too(kernel: str) -> None:
    """`estimate` and `render` go over from the one to the other as `process_hops` does."""
    whole, halves = (Enhancer(load_model("tiny", kernel)) for _ in range(2))
    for e in (whole, halves):
        e.process_hops(HOPS[:AT])
        e.switch(load_model("default", kernel))
    for i in range(AT, AT + 30, 3):
        part = HOPS[i : i + 3]
        np.testing.assert_array_equal(halves.render(halves.estimate(part)), whole.process_hops(part))


@pytest.mark.parametrize("what", ["no-such-model", b"no weights", Path("missing.safetensors"), 5, None])
def test_a_model_that_is_none_leaves_the_stream_as_it_was(kernel: str, what: object) -> None:
    e, other = (Enhancer(load_model("tiny", kernel)) for _ in range(2))
    y = [e.process_hops(HOPS[:50])]
    with pytest.raises(ValueError, match="model"):
        e.switch(what)
    assert e.model.name == "tiny"
    y.append(e.process_hops(HOPS[50:100]))
    np.testing.assert_array_equal(np.concatenate(y), other.process_hops(HOPS[:100]))


def test_shared_models_do_not_touch_each_other(kernel: str) -> None:
    """A stream switches to the model that another one runs."""
    shared = load_model("tiny", kernel)
    one, other, alone = Enhancer(_model("50 bands", kernel)), Enhancer(shared), Enhancer(shared)
    for i in range(0, 100, 10):
        if i == 50:
            one.switch(shared)
        one.process_hops(HOPS[i : i + 10])
        np.testing.assert_array_equal(other.process_hops(HOPS[i : i + 10]), alone.process_hops(HOPS[i : i + 10]))
