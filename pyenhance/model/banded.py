"""Networks whose weights the bands share: what is heard at one pitch is heard at another."""

from ..dsp import SignalSpec
from ..nn import INPUT, LayerSpec, NetworkSpec

_NEIGHBOURS = 2  # on either side: five bands


def banded(
    signal: SignalSpec,
    *,
    first: int,
    channels: int,
    blocks: int,
    squeeze: int,
    whole: int,
    out: int,
    both_ways: bool = False,
) -> NetworkSpec:
    """Blocks that look along frequency, along time, and at everything at once.

    Each block is a convolution over five neighbouring bands, a GRU over time that all bands share, and beside it a GRU
    of the whole frame, which sees a few numbers of each band and tells each band a few. That two axes are walked in
    turn is of dual-path networks (Luo et al., ICASSP 2020), one GRU for all bands of FullSubNet (Hao et al., 2021).

    Parameters
    ----------
    signal : SignalSpec
    first, channels, squeeze, out : int
        Numbers a band has: after the features, in a block, for the whole and from it, and before the heads.
    blocks : int
    whole : int
        Units of the GRU of the whole frame.
    both_ways : bool
        Each GRU has another beside it that goes backward; only whole recordings can be run then.

    Raises
    ------
    ValueError
        A width that is not accepted.
    """
    bands = signal.num_bands

    def near(name: str, sources: tuple[str, ...], units: int, reach: int = 0, frames: int = 1) -> LayerSpec:
        return LayerSpec(name, "band_conv", sources, bands * units, "tanh", frames, bands=bands, reach=reach)

    layers = [LayerSpec("dense", "dense", (INPUT,), bands * first, "clamp")]
    seen: tuple[str, ...] = ("dense",)
    heard: tuple[str, ...] = ()
    for k in range(1, blocks + 1):
        over_time, over_all = [f"time{k}"], [f"whole{k}"]
        layers.append(near(f"near{k}", seen, channels, _NEIGHBOURS, 2 if k == 1 else 1))
        layers.append(LayerSpec(f"time{k}", "band_gru", (f"near{k}",), bands * channels, "tanh", bands=bands))
        if both_ways:
            over_time.append(f"back{k}")
            layers.append(
                LayerSpec(f"back{k}", "band_gru", (f"near{k}",), bands * channels, "tanh", bands=bands, backward=True)
            )
        layers.append(near(f"squeeze{k}", tuple(over_time), squeeze))
        layers.append(LayerSpec(f"whole{k}", "gru", (f"squeeze{k}",), whole, "tanh"))
        if both_ways:
            over_all.append(f"whole_back{k}")
            layers.append(LayerSpec(f"whole_back{k}", "gru", (f"squeeze{k}",), whole, "tanh", backward=True))
        layers.append(LayerSpec(f"spread{k}", "dense", tuple(over_all), bands * squeeze, "tanh"))
        seen, heard = (*over_time, f"spread{k}"), tuple(over_all)
    layers += [
        near("out", (f"near{blocks}", *seen), out, 1),
        LayerSpec("gain", "dense", ("out", *heard), bands, "sigmoid"),
        LayerSpec("strength", "dense", ("out", *heard), bands, "sigmoid"),
        LayerSpec("vad", "dense", heard, 1, "sigmoid"),
    ]
    return NetworkSpec(signal.num_features, tuple(layers))
