"""What a question in the dialogue is about, found by its words alone, so that equal questions get equal answers.

First step of `iqagpt.chat.dialogue`. English only. A question that fits nothing here is `Topic.OTHER`: it goes to the language
model if there is one, and is answered with what the dialogue can do if there is none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from iqagpt.criteria import KEYS

#: Longest question, characters.
LONGEST = 1000


class Topic(Enum):
    """What is asked for."""

    CHANGE = "change"
    REPORT = "report"
    RATE = "rate"
    CRITERION = "criterion"
    SCALE = "scale"
    CRITERIA = "criteria"
    CERTAINTY = "certainty"
    LIMITS = "limits"
    USE = "use"
    WHERE = "where"
    CAPTION = "caption"
    WARNINGS = "warnings"
    DIAGNOSIS = "diagnosis"
    HEADER = "header"
    COMPARE = "compare"
    IMPROVE = "improve"
    ABOUT = "about"
    PRIVACY = "privacy"
    HELP = "help"
    GREETING = "greeting"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it was understood.

    Attributes
    ----------
    topic : Topic
    keys : tuple of str
        Criteria that it names, in the order of `criteria.KEYS`; those of the question before where it says "it" or "that".
    score : int or None
        A score that it names, as in "what does a 3 mean".
    """

    topic: Topic
    keys: tuple[str, ...] = ()
    score: int | None = None


_CRITERION_WORDS = {
    "noise": r"nois\w*|grain\w*|fidelity|\bsnr\b|mottle",
    "small_structures": r"small\w* (?:structure|vessel|detail|lymph|blood)\w*|structures\b|vessels?\b|adrenals?\b|lymph nodes?"
    r"|fine details?|\bdetails?\b|sharp\w*|blur(?:red|ry)?\b|resolution",
    "lesion_conspicuity": r"lesions?\b|conspicuity|margins?\b",
    "diagnostic_confidence": r"diagnostic confidence|(?<!your )(?<!model )confidence\b",
}
_SCORE_WORD = r"scores?|rat(?:ed?|ings?|ing)|grades?|graded|points?"

#: The first topic that has a pattern which is found in the lower-case question.
_PATTERNS: dict[Topic, tuple[str, ...]] = {
    Topic.CHANGE: (
        r"\b(?:ignore|disregard|forget|bypass|override|overwrite)\b.*\b(?:instruction|rule|prompt|above|previous|score)",
        r"\b(?:ignore|disregard|forget|bypass|override|overwrite)\b.*\b(?:caption|rating|safety|everything)",
        r"\b(?:change|set|alter|raise|increase|lower|decrease|correct|adjust|edit|replace|make|bump)\b"
        rf".*\b(?:{_SCORE_WORD}|to (?:a )?[1-4]\b)",
        r"\bshould (?:be|have been|get) (?:an? )?[1-4]\b|\bupdate (?:it|this|that|the)\b|^(?:system|assistant|developer) ?:",
        r"\bmake (?:the |its )?(?:noise|confidence|lesion|quality|structures)\b",
        r"\bpretend\b|\bact as\b|system prompt|your (?:instructions|prompt)|\byou are now\b",
        r"\b(?:give|rate|score) (?:it|this|them|everything|all)(?: all)?(?: an?)? [1-4]\b",
        r"\b(?:say|claim|write|answer|report|state) (?:only )?that (?:the )?(?:noise|image|quality|lesion|confidence)",
        r"\b(?:say|claim|write|answer|report|state) (?:only )?that (?:the )?(?:it|all|scores?)\b",
    ),
    Topic.PRIVACY: (
        r"privacy|private|confidential|\bcloud\b|internet|network|\bopenai\b",
        r"where (?:does|do|is|are|will) .*\b(?:data|images?|questions?)\b.*\b(?:go|sent|stored|kept)\b",
        r"\b(?:store|stored|save|saved|keep|leave|leaves|upload(?:ed)?|sent?)\b.*\b(?:image|data|machine|computer|anywhere|file|it)\b",
    ),
    Topic.CERTAINTY: (
        r"\b(?:how|are you|is it|is that) (?:sure|certain|reliable|likely)|\bsure (?:are|about|of)",
        r"certain(?:ty)?\b|uncertain\w*|probab\w*|likel\w*|reliab\w*|accura\w*|\btrust\b|expected scores?",
        r"confident (?:are|is) (?:you|the model)|(?:your|model(?:'s)?) confidence",
    ),
    Topic.WARNINGS: (
        r"warning|out(?:side)? of (?:distribution|scope|range|what)|seen before",
        r"applicable to (?:this|head|lung|chest)",
    ),
    Topic.CAPTION: (r"\bcaptions?\b|^(?:please )?describe\b|\bdescription\b",),
    Topic.COMPARE: (
        r"\bcompar\w*|\b(?:better|worse|noisier|sharper) than\b",
        r"(?:other|previous|last|next|first|second|another|both|two) (?:image|slice|scan|one|series)s?",
    ),
    Topic.SCALE: (
        r"\bscales?\b|\bmean(?:s|ing)?\b|\bstands? for\b|out of (?:what|how)|\bdirection\b|1 to 4|1-4",
        r"\b(?:higher|lower|bigger|smaller|high|low)\b.*\b(?:better|worse|good|bad)\b",
        rf"\b(?:is|are) (?:a )?(?:{_SCORE_WORD} of )?[1-4]\b.*\b(?:good|bad|best|worst|better|worse|ok|okay)\b",
        rf"\b(?:best|worst|highest|lowest|maximum|minimum|possible) (?:possible )?(?:{_SCORE_WORD})",
    ),
    Topic.CRITERIA: (
        r"^(?!.*\b(?:worst|best|weak\w*|limit\w*)\b).*\bcriteri(?:a|on)\b|which aspects",
        r"what (?:do|does|did|can) (?:you|it|the (?:model|tool|system)) (?:assess|rate|score|measure|evaluate|check|judge)",
    ),
    Topic.WHERE: (
        r"\bheat ?maps?\b|\bgrad-?cam\b|\battention\b|\bmaps?\b|\bregions?\b|look(?:ed|ing|s)? at\b|what part",
        r"where (?:did|does|do|is|was|are|were) (?:it|you|the model|that|this)",
    ),
    Topic.DIAGNOSIS: (
        r"\bdiseas\w*|tumou?rs?\b|cancer\w*|metasta\w*|\bcysts?\b|\bstones?\b|patholog\w*|abnormal\w*|\bhealthy\b",
        r"\bfindings?\b|\btreat\w*|\bdiagnose\b|(?<!for )(?<!for a )(?<!hinder )(?<!impair )(?<!affect )(?<!limit )\bdiagnosis\b",
        r"malignan\w*|benign|inflamm\w*",
        r"fractures?|bleed\w*|\borgans?\b|\bliver\b|\bkidneys?\b|\bspleen\b|\bpancreas\b|\blungs?\b|\baorta\b|\bbowel\b",
        r"what (?:do|can) (?:you|we|i) see|what is (?:shown|visible|in (?:the|this) image)",
        r"is (?:there|he|she|the patient)\b.*\b(?:a |any )?(?:lesions?|ill|sick|ok)\b|(?:any|many) lesions?\b",
        r"(?:where|how (?:big|large)|what kind)\b.*\blesions?\b",
    ),
    Topic.HEADER: (
        r"\bpatient\b|\bhow old\b|\bage\b|\bsex\b|\bname\b|\bdate\b|\bwhen was\b|\bhospital\b",
        r"\bscanner\b|\bvendor\b|\bmanufacturer\b|\bdose\b|\bkvp?\b|\bmas\b|\bkernel\b|\bthickness\b",
        r"\bcontrast (?:agent|medium|phase)\b",
    ),
    Topic.IMPROVE: (
        r"\bhow (?:can|could|do|would|to)\b.*\b(?:reduce|suppress|remove|get rid of|lower)\b",
        r"\bimprov\w*|\benhanc\w*|denois\w*|\bfix\b|\brepeat\w*|\brescan\w*|\breacquir\w*|should (?:i|we)",
        r"recommend\w*|\bprotocol\b",
    ),
    Topic.USE: (
        r"\busable\b|\buseful\b|\buse (?:it|this|the)\b|good enough|\bsufficient\w*|\badequate\w*|\bacceptable\b",
        r"diagnostic(?:ally)? (?:quality|use|acceptable|value|interpretation|purposes?)|for (?:a )?diagnos\w*",
        r"\bread(?:able)? (?:it|this)|interpretable|clinical(?:ly)? us|\b(?:it|this|image|slice|scan) diagnostic\b(?! confid)",
    ),
    Topic.REPORT: (r"\breports?\b|\bsummar\w*|\bimpression\b|\bconclusion\b|radiolog\w*",),
    Topic.LIMITS: (
        r"\bwhy\b|\blimit\w*|\bproblems?\b|\bissues?\b|\bworst\b|\bweak\w*|\bwrong\b|\bbest\b|\bstrength\w*",
        r"\breasons?\b|how come|\bdrawback\w*|\bsuffer\w*",
    ),
    Topic.ABOUT: (
        r"\b(?:who|what) are you\b|\bare you (?:a|an|chatgpt|gpt)\b|\bwhich (?:language )?model\b|\bversion\b|\bweights\b",
        r"\bwho (?:made|built|wrote|created)\b|how (?:was|were|is|are) .*\b(?:computed|calculated|obtained|produced|made)\b",
        r"how (?:do you|does (?:it|this)) work|chatgpt|\bllm\b|language model|\btrained\b|\biqagpt\b",
    ),
    Topic.HELP: (r"\bhelp\b|what (?:can|could|may|else) (?:you|i)\b|can you do|how do i\b|what to ask",),
}
_RATE = (
    rf"\b(?:{_SCORE_WORD})\b|\bassess\w*|\bevaluat\w*|\bjudge\w*|\bquality\b|how (?:good|bad|is|does)|\boverall\b|\bresults?\b"
    r"|\b(?:good|bad|poor) (?:image|slice|scan|ct)\b|\b(?:is|are) (?:it|that|this|they) (?:good|bad|ok|okay|fine)\b"
)
_GREETING = r"^(?:hi|hello|hey|good (?:morning|afternoon|evening|day)|thanks?|thank you|ok|okay|great|bye)\b[^?]{0,20}$"
_POINTING = r"\b(?:it|its|that|this|those|these|they|them|one)\b"
_PLAIN_PRONOUN = r"\bwhat (?:does|do|is) (?:it|this|that|all this|all that)(?: all)? mean"
_CARRIED = (Topic.SCALE, Topic.CERTAINTY, Topic.LIMITS, Topic.WHERE, Topic.RATE, Topic.USE)


def understand(text: str, previous: Sequence[str] = ()) -> Question:
    """Find out what a question is about.

    Parameters
    ----------
    text : str
    previous : sequence of str
        Earlier questions of the same dialogue, oldest first: "what does that score mean?" points back at them.

    Returns
    -------
    Question
    """
    question = _alone(text)
    if not question.keys and question.topic in _CARRIED and _points_back(text):
        for earlier in reversed(previous):
            keys = _alone(earlier).keys
            if keys:
                topic = Topic.CRITERION if question.topic is Topic.RATE else question.topic
                return replace(question, keys=keys, topic=topic)
    if question == Question(Topic.SCALE) and re.search(_PLAIN_PRONOUN, text.lower()):
        # Without an earlier question that tells what "it" is, "what does it mean?" asks for the result in words.
        return Question(Topic.RATE)
    return question


def _alone(text: str) -> Question:
    lower = " ".join(text.lower().replace("’", "'").split())
    keys = tuple(key for key in KEYS if re.search(_CRITERION_WORDS[key], lower))
    found = re.search(r"(?<![\d.,-])([1-4])(?![\d.,]*\d)", lower)
    score = int(found[1]) if found else None
    return Question(_topic(lower, keys), keys, score)


def _topic(lower: str, keys: tuple[str, ...]) -> Topic:
    if re.search(_GREETING, lower):
        return Topic.GREETING
    for topic, patterns in _PATTERNS.items():
        if any(re.search(pattern, lower) for pattern in patterns):
            return topic
    if keys:
        return Topic.CRITERION
    return Topic.RATE if re.search(_RATE, lower) else Topic.OTHER


def _points_back(text: str) -> bool:
    # "This image" points at the image, not at the question before.
    lower = re.sub(r"\b(?:this|the|that) (?:image|slice|scan|picture|ct)\b", "", text.lower())
    return bool(re.search(_POINTING, lower)) or len(lower.split()) <= 3
