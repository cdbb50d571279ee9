"""Random streams that belong to a named item, so that adding a patient changes no other patient's draws."""

import hashlib

import numpy as np


def item_rng(seed: int, *names: str) -> np.random.Generator:
    """Return the generator of one item.

    Parameters
    ----------
    seed : int
        A stage's seed, >= 0.
    *names : str
        What the stream is for, such as ``"lesion", "L067_003"``; other names give independent streams.

    Returns
    -------
    numpy.random.Generator
    """
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.default_rng(np.random.SeedSequence([seed, *np.frombuffer(digest, dtype="<u4").tolist()]))
