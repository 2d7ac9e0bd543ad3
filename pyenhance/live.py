"""The browser worker's door to the enhancer: fixed blocks of memory and one call, so no array crosses per hop."""

import numpy as np

from .dsp import HOP
from .enhancer import Enhancer


class LiveEngine:
    """An enhancer between preallocated blocks.

    Parameters
    ----------
    model : str
        Name of a shipped model or path of a weights file.
    max_hops : int
        Most hops of one `run`.

    Attributes
    ----------
    input, output : ndarray, shape (max_hops * 480,), float32
        Written by the caller before `run`, read after it. Never reallocated.
    facts : ndarray, shape (2 + bands,), float32
        Of the last hop: pitch period in samples, voice activity in [0, 1], the band gains.
    """

    def __init__(self, model: str = "default", max_hops: int = 16) -> None:
        if max_hops < 1:
            raise ValueError(f"max_hops is {max_hops}; accepted: 1 or more")
        self.enhancer = Enhancer(model)
        self.max_hops = max_hops
        self.input = np.zeros(max_hops * HOP, np.float32)
        self.output = np.zeros(max_hops * HOP, np.float32)
        self.facts = np.zeros(2 + self.enhancer.model.signal.num_bands, np.float32)

    def run(self, hops: int, lean: bool = False) -> None:
        """Enhance the first `hops` hops of `input` into `output` (1440 samples late).

        A sample that is no finite number counts as silence: a live stream must go on.

        Raises
        ------
        ValueError
            `hops` outside 1..max_hops.
        """
        if not 1 <= hops <= self.max_hops:
            raise ValueError(f"hops is {hops}; accepted: 1 to {self.max_hops}")
        block = self.input[: hops * HOP]
        if not np.isfinite(np.einsum("n->", block)):
            block = np.nan_to_num(block, posinf=0, neginf=0)
        self.output[: hops * HOP] = self.enhancer.process_hops(block.reshape(hops, HOP), lean=lean).ravel()
        self.facts[0], _, self.facts[1], self.facts[2:] = self.enhancer.last_hop
