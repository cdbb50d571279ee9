"""One plain spelling for a sentence of a report, so that the closed vocabulary need not list every form of a word or phrase."""

import re
import unicodedata

_PLAIN = str.maketrans({"‘": "'", "’": "'", "–": ",", "—": ",", "‐": "-", "‑": "-", "“": '"', "”": '"'})
_BRITISH = re.compile(r"(visual|recogn|character|summar|optim|minim|categor)is(?=e|ing|ation|able|ably)")
_CONTRACTED = re.compile(r"(?<=[a-z])n't\b")
_NUMBER_WORDS = ("one", "two", "three", "four")
_NUMBER_WORD = re.compile(
    r"\b((?:scored?|scores|graded?|rated|rating)(?: (?:is|was|of|as|at))? )(one|two|three|four)"
    r"(?=\W*$|[.,;)]| (?:out )?of )"
)
#: What noise and the like is compared with, in all its wordings, reads as "usual".
_USUAL = re.compile(
    r"\b(than|above|below|beyond|beneath|exceed(?:s|ing)?|surpass(?:es|ing)?"
    r"|(?:to|from|with|within|in|inside|is|was|are)(?= the| that| what))(?: the| that| what| is)* "
    r"(?:usually (?:is |seen\b|expected\b)?|usual|average|normal|expected|typical|customary|ordinary|norm\b)"
    r"(?: (?:level|range|amount|standard|degree|one|limits|encountered|seen)s?\b)?"
)
#: "Compared with the usual level, noise is lower": as "noise is lower than usual".
_FRONTED = re.compile(
    r"^(?:when )?(?:compared|relative|in comparison) (?:to|with) usual,? "
    r"(.*?\b(?:lower|less|higher|greater|better|worse))\b(?! than)"
)


def normalise(text: str) -> str:
    """Return text in lower case and plain spelling: no hyphens, American endings, plain quotes and dashes, digits for scores."""
    text = unicodedata.normalize("NFKC", text).lower().translate(_PLAIN)
    text = re.sub(r"\b(sub|non)-(?=optimal|standard|diagnostic)", r"\1", text)
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text)
    text = text.replace("non diagnostic", "nondiagnostic").replace("sub optimal", "suboptimal")
    text = _BRITISH.sub(r"\1iz", text).replace("favour", "favor").replace("calibre", "caliber")
    text = _CONTRACTED.sub(" not", text.replace("can't", "cannot")).replace("'s ", " ")
    text = _FRONTED.sub(r"\1 than usual", _USUAL.sub(r"\1 usual", text))
    text = _NUMBER_WORD.sub(lambda found: found[1] + str(_NUMBER_WORDS.index(found[2]) + 1), text)
    text = re.sub(r"\b([1-4]) (?:out )?of (?:4|four)\b", r"\1/4", text)
    text = re.sub(r"\bi\.e\.,?", ",", re.sub(r"\be\.g\.,?", "for example", text))
    return text.replace('"', "").replace(" per cent", " %")
