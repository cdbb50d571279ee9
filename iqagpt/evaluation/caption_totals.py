"""BLEU, METEOR, ROUGE-L and CIDEr of a corpus as functions of sums over its images, so that images can be resampled.

BLEU and METEOR are no means over images: both are computed from counts that add up. ROUGE-L and CIDEr are means. `captions`
makes the counts, one row an image. A resampled corpus keeps CIDEr's document frequencies of the whole one.

Formulas: BLEU as in pycocoevalcap; METEOR 1.5 with the ranking parameters for English (Denkowski and Lavie, WMT 2014), as
pycocoevalcap runs it.
"""

import numpy as np

#: Keys of the text metrics, in the order of the paper's Table 1.
METRICS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider")
BLEU_ORDER = 4
#: Lengths, function words, then content and function words matched by each of four modules, chunks, matches.
METEOR_FIELDS = 23
#: Images, ROUGE-L, CIDEr; of BLEU n-grams correct and given, and two lengths; METEOR's fields.
COLUMNS = 3 + 2 * BLEU_ORDER + 2 + METEOR_FIELDS

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
#: Of a match by word, stem, synonym, paraphrase.
_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])
_SMALL, _TINY = 1e-9, 1e-15


def corpus_scores(totals: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the text metrics of corpora.

    Parameters
    ----------
    totals : ndarray, (R, `COLUMNS`), float64
        For each of R corpora the sums over its images.

    Returns
    -------
    dict
        For each of `METRICS` (R,): CIDEr from 0 to 10, all others from 0 to 1; higher is better.
    """
    images, rouge, cider = totals[:, :3].T
    edge = 3 + 2 * BLEU_ORDER + 2
    bleu = _bleu(totals[:, 3:edge])
    scores = {f"bleu_{n}": bleu[:, n - 1] for n in range(1, BLEU_ORDER + 1)}
    # Without any image, as when the only patient is left out, the means are NaN.
    with np.errstate(invalid="ignore"):
        scores |= {"meteor": _meteor(totals[:, edge:]), "rouge_l": rouge / images, "cider": cider / images}
    return {name: scores[name] for name in METRICS}


def _bleu(counts: np.ndarray) -> np.ndarray:
    correct, given = counts[:, :BLEU_ORDER], counts[:, BLEU_ORDER : 2 * BLEU_ORDER]
    length, reference = counts[:, -2], counts[:, -1]
    precision = np.cumprod((correct + _TINY) / (given + _SMALL), axis=1) ** (1 / np.arange(1, BLEU_ORDER + 1))
    ratio = (length + _TINY) / (reference + _SMALL)
    with np.errstate(over="ignore"):
        brevity = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    return precision * brevity[:, None]


def _meteor(counts: np.ndarray) -> np.ndarray:
    precision, recall = (_weighted_share(counts, side) for side in (0, 1))
    chunks, matched = counts[:, 20], counts[:, 21:23].mean(axis=1)
    weighted = (1 - _ALPHA) * recall + _ALPHA * precision
    mean = np.divide(precision * recall, weighted, out=np.zeros(len(counts)), where=weighted > 0)
    fragmentation = np.divide(chunks, matched, out=np.zeros(len(counts)), where=matched > 0)
    return mean * (1 - _GAMMA * fragmentation**_BETA)


def _weighted_share(counts: np.ndarray, side: int) -> np.ndarray:
    """Return the weighted part of the words that match: of the candidate, side 0, or of the reference, side 1."""
    function = counts[:, 2 + side]
    length = _DELTA * (counts[:, side] - function) + (1 - _DELTA) * function
    content_matches, function_matches = counts[:, 4 + side : 20 : 4], counts[:, 6 + side : 20 : 4]
    matches = (_DELTA * content_matches + (1 - _DELTA) * function_matches) @ _WEIGHTS
    return np.divide(matches, length, out=np.zeros(len(counts)), where=length > 0)
