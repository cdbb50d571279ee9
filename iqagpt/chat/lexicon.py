"""The closed vocabulary in which a report may be written, and what each word says about the four criteria.

A report may use these words and no others: that is how every organ, finding, name, device, date or advice that was not given
is refused without listing any. Words are of four kinds: *cues* name a criterion (or a facet of one, such as a lesion's margins),
*grades* state a concept, *negations* turn a grade round, and the rest is neutral. `MEANING` says which scores a concept allows
for a facet.

In phrases ``a|b`` stands for either word, ``a|`` for one that may be left out. Words that rate nothing: `iqagpt.chat.words`.
Spellings are made plain before (`iqagpt.chat.spelling`): lower case, no hyphens, ``visualised`` as ``visualized``.

Sources: the scales of paper section 2.1 and its Figure 4; wording of published reader studies (noise "less than average",
"visualization of small structures", "ill-defined margins") and of dictated reports ("degraded by", "limits evaluation of").
"""

import itertools

from iqagpt.chat.words import BREAKS, NEGATIONS, NEUTRAL, VERBS

#: Facet of a report's statement -> the criterion it belongs to; ``overall`` belongs to none.
FACETS = {
    "title": "noise",  # "image noise and structural fidelity": more is neither better nor worse
    "noise": "noise",
    "fidelity": "noise",
    "small": "small_structures",
    "conspicuity": "lesion_conspicuity",
    "lesion": "lesion_conspicuity",
    "margins": "lesion_conspicuity",
    "confidence": "diagnostic_confidence",
    "overall": "overall",
    "every": "every",  # each of the four, as in "all criteria are acceptable"
    "none": "every",  # "no criterion is limited": refused
}

#: Concept -> facets -> scores, as ``allowed/stated!allowed when negated``. *Allowed* scores are not contradicted. *Stated*
#: scores are said outright, by default the one allowed score. Negated, by default, the other scores are allowed; a facet
#: without an entry, or an empty one, makes no sense with the concept, and the sentence is refused.
#: ``n`` not applicable, ``u`` could not be determined.
MEANING: dict[str, dict[str, str]] = {
    "top": {"title noise fidelity small conspicuity confidence overall lesion margins": "1"},
    "better": {"title noise fidelity small conspicuity confidence overall": "1"},
    "good": {"title fidelity small conspicuity lesion confidence overall": "12", "noise": "12", "margins": "1"},
    "sharp": {"lesion margins conspicuity": "1", "small fidelity overall": "12"},
    "fair": {
        "title noise fidelity overall": "12/2!4",
        "small conspicuity": "2!4",
        "lesion": "12!34",
        "confidence": "2!34",
    },
    "average": {"title noise fidelity small conspicuity overall": "2", "confidence": "2"},
    "normal": {"title noise": "2"},
    "moderate": {"noise overall": "23", "small conspicuity title fidelity": "23", "confidence": "2"},
    "suboptimal": {"title noise fidelity small conspicuity lesion confidence overall": "3", "margins": "23"},
    "degraded": {"title noise fidelity small conspicuity lesion confidence overall": "34/3", "margins": "234"},
    "incomplete": {"title noise fidelity small conspicuity lesion overall": "3", "margins": "23", "confidence": "234"},
    "imperfect": {"title noise fidelity small conspicuity lesion margins confidence overall": "234"},
    "poor": {"title noise fidelity small conspicuity overall": "34", "lesion": "3", "margins": "23", "confidence": "4"},
    "failed": {"title noise fidelity small conspicuity lesion margins confidence overall": "4"},
    "lost": {"title fidelity small margins confidence": "4"},
    "blurred": {"lesion conspicuity": "4", "margins": "234!1", "small fidelity overall": "34"},
    "indistinct": {"lesion margins": "23", "conspicuity": "3", "small": "34/3"},
    "faint": {"lesion conspicuity": "3", "margins": "23", "small": "34"},
    "seen": {
        "small margins": "123!4",
        "lesion": "1234!",
        "title noise fidelity conspicuity confidence overall": "1234!",
    },
    "usable": {"title noise fidelity small confidence overall": "123!4", "lesion margins conspicuity": "1234!"},
    "limiting": {"title noise fidelity small conspicuity lesion margins confidence overall": "34!12"},
    "above": {"noise": "3", "fidelity conspicuity confidence overall": "1"},
    "high": {"noise": "34", "fidelity small conspicuity confidence overall": "1"},
    "below": {"noise": "1", "fidelity small conspicuity confidence overall": "3"},
    "low": {"noise": "1", "fidelity small conspicuity overall": "34", "confidence": "34/4"},
    "minimal": {"noise": "1", "confidence": "4"},
    "severe": {"noise title": "4", "overall": "4"},
    "noisy": {"noise": "34"},
    "complete": {"confidence": "1"},
    "probable": {"confidence": "2"},
    "confident": {"confidence": "123!4", "title noise fidelity small overall": "123!4"},
    "entity": {"confidence": "3!"},
    "rated": {"title noise fidelity small conspicuity lesion margins confidence overall": "1234!"},
    "unscored": {"conspicuity lesion": "n!"},
    "unknown": {"title noise fidelity small conspicuity lesion confidence": "u!"},
}

#: Parts of phrases: how a structure or lesion is seen, and how strongly it is degraded.
_SEEN = (
    "seen|visible|discernible|perceptible|recognizable|visualized|depicted|delineated|detectable|identifiable|noticeable|"
    "distinguishable|resolved|shown|displayed|appreciated|discerned|identified|recognized|detected|perceived|traced"
)
_TO_SEE = (
    "see|discern|identify|recognize|detect|appreciate|distinguish|trace|follow|resolve|perceive|delineate|visualize|define|"
    "outline"
)
_OUTLINED = "defined|demarcated|outlined|circumscribed|contoured|marginated|delimited|bounded"
_STRONGLY = "severe|severely|marked|markedly|heavy|heavily|strongly|badly|grossly|extremely|considerably|substantially"

_GRADES = {
    "top": """excellent|excellently|excellence outstanding|outstandingly superb|superbly exceptional|exceptionally
        optimal|optimally exquisite|exquisitely ideal|ideally perfect|perfectly flawless|flawlessly beautiful|beautifully
        impeccable|impeccably faultless|faultlessly splendid|splendidly magnificent|magnificently first+rate|class
        top+quality|class|notch very+good|well|clear|clearly extremely|exceedingly|remarkably|extraordinarily+good|well
        high+quality unsurpassed unmatched second+to+none pristine""",
    "better": """better|superior+than|to+usual compare|compares+favorably+to|with+usual superior more+favorable+than+usual
        more+than+acceptable|adequate|satisfactory""",
    "good": """good well nicely clear|clearly|cleanly readily easy|easily crisp|crisply distinct|distinctly sharp|sharply
        favorable|favorably conspicuous|conspicuously pleasing|pleasingly clean clear+cut evident|evidently plain|plainly
        definite|definitely unmistakable|unmistakably without+difficulty|trouble with+no+difficulty|trouble with+ease
        fully+preserved
        faithful|faithfully highly+conspicuous stands|stand|standing+out well|+preserved|maintained unequivocally
        unambiguously unproblematic no|without+concern|concerns|complaint|complaints+about|regarding|with""",
    "sharp": f"""well|sharply|clearly|crisply|distinctly|precisely|cleanly|neatly+{_OUTLINED} well+visualized+margins""",
    "fair": """acceptable|acceptably adequate|adequately satisfactory|satisfactorily sufficient|sufficiently fair all+right
        tolerable|tolerably suitable passable|passably decent|decently respectable serviceable workable good+enough fit+for
        up+to+the|+standard fully+acceptable|adequate to|with+an+acceptable+degree|extent|level|standard
        an+acceptable+degree|extent|level|standard""",
    "average": """average|averagely usual|usually typical|typically standard ordinary routine customary as+expected expected
        conventional unexceptional medium middling
        comparable comparable|similar|equal|equivalent|identical|close+to|with+that|+usual
        in|on+line|par|keeping+with+usual within|in|inside+usual
        within|in|inside+the|+normal|usual|average|expected|typical+range|limits|bounds normal|usual|typical|expected+range|limits
        neither|no+better|lower|higher|more|less+nor|or+worse|lower|higher|more|less+than+usual
        does|do+not+differ|deviate|depart+appreciably|much|significantly|+from+usual no|not+different+from|to|than+usual""",
    "normal": "normal",
    "moderate": "moderate|moderately reasonable|reasonably fairly+good fairly intermediate",
    "suboptimal": """suboptimal|suboptimally limited restricted confined mediocre marginal of+limited partial|partially partly
        below+par|standard|optimal|ideal substandard less+well diminished not+optimal|ideal|optimally
        less+than|then+optimal|optimally|ideal|ideally|desirable
        fall|falls|falling|fell+short+of+the|an|+optimal|ideal|optimum short+of+optimal|ideal
        less+well|clearly|clear+seen|defined|+than+is|would|+be|+optimal|ideal|desirable|desired
        sufficient|acceptable|adequate|suitable+only|+for+limited
        no|nothing+more|better|beyond+than|+limited|suboptimal at+most|best+limited|suboptimal""",
    "incomplete": "incomplete|incompletely",
    "imperfect": "imperfect|imperfectly could+be+better less+than+perfect leaves|leave|leaving+room+for+improvement",
    "degraded": """degraded impaired compromised hampered hindered deteriorated impeded affected restrict|restricts
        difficult hard""",
    "poor": """poor|poorly unfavorable|unfavorably bad|badly unsatisfactory|unsatisfactorily disappointing|disappointingly
        inferior deficient|deficiently weak|weakly worse|inferior+than|to+usual""",
    "failed": f"""unacceptable|unacceptably nondiagnostic inadequate|inadequately unsuitable unusable uninterpretable
        insufficient|insufficiently very|extremely|exceedingly+poor|poorly|low|bad severely|markedly|heavily+limited|degraded
        severely+reduced|compromised|impaired|restricted|deteriorated|affected preclude|precludes|precluding|precluded
        prevent|prevents|preventing|prevented prohibit|prohibits|prohibiting|prohibited
         too+poor|low|limited|degraded impossible
        impossible+to+{_TO_SEE} is|are|was|were+lacking useless worthless unreadable undiagnostic illegible unfit
        not+diagnostic of|+no|without+any|+diagnostic+use|value|quality
        should|must|can|could|may+not|never+be+used|interpreted|read|reported|relied+on|upon|""",
    "lost": """lost loss severe|complete|total|marked+loss severe|severely|markedly+lost obscured obliterated|effaced destroyed
        erased hidden swamped|drowned|buried+in|by|
        practically|virtually|almost|nearly+invisible|unrecognizable|lost|indiscernible unrecognizable|unrecognizably
        invisible|invisibly imperceptible indiscernible undetectable unidentifiable indistinguishable""",
    "blurred": f"""blurred blurry blurring blur blurs smeared smudged out+of+focus unfocused
        {_STRONGLY}+blurred|blurry|blurring|smeared|smudged""",
    "indistinct": f"""indistinct|indistinctly ill+defined hazy vague|vaguely fuzzy unclear|unclearly unsharp|unsharply
        imprecise|imprecisely ill|poorly|imprecisely|vaguely|hazily|incompletely+{_OUTLINED}|delineated
        poorly+visualized+margins""",
    "faint": f"""faint|faintly dim|dimly subtle|subtly inconspicuous|inconspicuously
        barely|hardly|scarcely|just|dimly|vaguely|faintly|indistinctly|marginally+{_SEEN}
        difficult|hard+to+{_TO_SEE} difficult|hard+to+make+out easily+overlooked|missed only|+with+difficulty
        can|could+hardly|barely|scarcely|just+be+{_SEEN}""",
    "seen": f"""{_SEEN}|see|visibly|visualize|demarcated|outlined|defined|demonstrated|distinguished|viewable|observable
        evaluated assessable evaluable made+out picked+out followed followable traceable rendered portrayed captured
        legible legibly discernable separable differentiated spotted noticed discern|identify|recognize|detect|perceive|trace""",
    "usable": """usable interpretable readable possible allow|allows|allowing permit|permits|permitting enable|enables|enabling
        can|could+be+used can+be+read|interpreted|reported used permitted allowed diagnostic+quality
        be+read|interpreted|used|reported|relied+on|upon|""",
    "limiting": """limiting limits|limit limited+by interfere|interferes|interfering hinder|hinders|hindering hamper|hampers
        impair|impairs|impairment|impairing degrade|degrades|degrading restricting limitation+by overwhelm|overwhelms
        reduce|reduces|reducing compromise|compromises|compromising disturb|disturbs|disturbing impede|impedes|impeding
        detract|detracts|detracting""",
    "above": """above|beyond+usual exceed|exceeds|exceeding|surpasses|surpassing+usual
        higher|greater|more|stronger|larger+than+usual increased|elevated|raised+relative|compared|+to|with|+usual
        increased elevated raised more+pronounced|marked|evident|visible|prominent+than+usual
        greater|higher|more+than+one|+would|+wish|desired|desirable|ideal""",
    "high": """high on+the+high|higher+side considerable|considerably substantial|substantially pronounced marked
        markedly+increased|elevated strong heavy""",
    "below": """below|beneath+usual lower|less|smaller|fewer+than+usual reduced decreased lowered
        reduced|decreased|lowered|low|lower+relative|compared|+to|with|+usual""",
    "low": "low remarkably|exceptionally|pleasingly+low",
    "minimal": """minimal|minimally very|exceptionally|extremely|remarkably|unusually+low|little
        hardly|barely|scarcely+any negligible
        little very+limited slight|slightest""",
    "severe": """severe|severely extreme|extremely excessive|excessively prohibitive|prohibitively overwhelming massive
        far|much|+too+high|much|severe|strong|great|excessive|noisy intolerable|intolerably""",
    "complete": """complete|completely full|fully total|totally entire|entirely absolute|absolutely wholly unlimited highest
        unrestricted unreserved|unreservedly unconditional|unconditionally unqualified utmost certain maximal maximum definite
        without+any|+reservation|restriction|reservations|restrictions|qualification|limitation|hesitation|doubt beyond+doubt""",
    "probable": "probable probably likely presumably in+all+likelihood|probability",
    "entity": """kidney+stone|stones calcified+lesion|lesions large|larger+lesion|lesions large+or+calcified+lesion|lesions
        large+and+calcified+lesion|lesions""",
    "unscored": """not+applicable|applied n/a does|do+not+apply|arise|pertain
        not+scored|rated|assessed|graded|evaluated|given|assigned
        not+been+scored|rated|assessed|graded|evaluated|given|assigned unscored|unrated|ungraded left+unscored|unrated|ungraded
        no+score|rating|grade|scoring|grading|assessment|evaluation was+no+score nonapplicable|inapplicable na
        no+score|rating|grade|scoring|grading|assessment|evaluation+is|was|has+made|given|performed|assigned|been|+given|made|
        no+score|rating|grade+applies|apply not+be+scored|rated|graded cannot+be+scored|rated|graded""",
    "rated": "is|was|are|were+hence|therefore|thus|still|also|however|nevertheless|indeed|+scored|rated|graded|assessed",
    "unknown": "could|can+not+be+determined cannot+be+determined undetermined not+determined was+not+determined",
}
_CUES = {
    "title": """image|noise+and+structural+fidelity image+noise+and+structural+fidelity noise+and+fidelity
        structural+fidelity+and+noise""",
    "noise": """noise image+noise level|levels|amount|degree|quantity+of+image|+noise graininess|granularity|noisiness grain mottle
        quantum+noise|mottle image|+noise+level|levels|texture|content|pattern|magnitude|burden|performance|appearance|intensity""",
    "fidelity": """structural+fidelity fidelity structure structures anatomical|anatomic+structure|structures structural+detail
        anatomy structural+preservation|integrity preservation+of+structure|structures image+structure|structures
        signal|+to+noise+ratio snr""",
    "small": """small|fine|tiny|smallest|finest|smaller|finer|minute+structure|structures|detail|details|anatomy|vessel|vessels
        small|fine|tiny|smallest|smaller|minute+anatomical|anatomic+structure|structures|detail|details
        small+blood|caliber+vessel|vessels small+lymph+node|nodes small+node|nodes adrenal+gland|glands lymph+node|nodes nodes
        small|fine+structure+detail|details|visibility|visualization|depiction|delineation|conspicuity|anatomy
        vessels adrenals
        fine|small+structural+detail|details small+parts anatomical|anatomic+detail|details visibility+of+small+structures""",
    "conspicuity": """lesion+conspicuity|visibility|detectability|visualization|depiction subjective+visual+lesion+conspicuity
        visual|subjective+lesion+conspicuity conspicuity conspicuity+of+the|a+lesion conspicuity+of+lesion|lesions""",
    "lesion": "lesion",
    "margins": """margin|margins border|borders edge|edges outline|outlines contour|contours boundary|boundaries demarcation
        lesion+margin|margins|border|borders|edge|edges
        margin|margins|border|borders|edge|edges|contour|contours|outline+of+the+lesion""",
    "confidence": """diagnostic|+confidence|certainty|assurance|reliability entities
        clinical+entity|entities clinical+question|questions
        confidence+level level|degree+of+diagnostic|+confidence|certainty""",
    "overall": """image+quality overall+image+quality overall+quality quality+of+the+image|slice overall+impression
        quality""",
    "every": """all+criteria|parameters|aspects|respects every+criterion|parameter|aspect|respect each+criterion|parameter|aspect
        all|each+of+the|+four|+criteria all+four|+criteria criteria+are|were+all""",
    "none": "no+criterion|criteria none|neither+of+the|these|+four|+criteria",
}
#: Words that name a criterion and grade it at once.
_CUED_GRADES = {
    ("noise", "noisy"): "noisy grainy somewhat|rather+noisy|grainy",
    (
        "noise",
        "above",
    ): "noisier|grainier+than+usual more+noisy|grainy+than+usual more|higher|greater|increased+image|+noise+than+usual",
    ("noise", "below"): """less|lower|reduced|decreased+image|+noise+than+usual less+noisy|grainy+than+usual
        quieter+than+usual""",
    (
        "noise",
        "minimal",
    ): """nearly|almost|virtually|practically|largely|+free+of|from+disturbing|visible|relevant|+noise
        nearly|almost|virtually|practically+no+noise nearly|almost|virtually|practically+noise+free""",
    ("noise", "severe"): """too|extremely|excessively|severely|very+noisy|grainy
        swamped|drowned|buried|obscured|overwhelmed|hidden|masked+in|by+image|+noise""",
    ("conspicuity", "unscored"): "no+lesion+conspicuity+score|rating|grade",
    ("margins", "lost"): "severe|complete|total|marked|+margin|border|edge|contour+loss",
    ("confidence", "confident"): "confident|confidently|sure|assured with+confidence reliable|reliably",
    ("confidence", "minimal"): "little+diagnostic|+confidence",
    ("confidence", "failed"): """no|without+any|+diagnostic|+confidence confidence+:+none|nil
        lack|lacks|lacking+any|+diagnostic|+confidence
        lack|absence+of+any|+diagnostic|+confidence not+have|hold|feel|inspire+any|+diagnostic|+confidence""",
    ("confidence", "suboptimal"): "limited|restricted|circumscribed+clinical|+entity|entities",
}

Phrase = tuple[str, ...]


def _expand(text: str) -> list[Phrase]:
    """Return the phrases of a table's text; in ``a|b+c`` the first word may be left out."""
    chosen = (itertools.product(*(words.split("|") for words in entry.split("+"))) for entry in text.split())
    phrases = (tuple(word for word in phrase if word) for phrases in chosen for phrase in phrases)
    return [phrase for phrase in phrases if phrase]


def _entries() -> dict[Phrase, tuple[str, str, str]]:
    entries: dict[Phrase, tuple[str, str, str]] = {}
    for kind, text in (("neutral", NEUTRAL), ("verb", VERBS), ("break", BREAKS), ("negation", NEGATIONS)):
        entries |= {phrase: (kind, "", "") for phrase in _expand(text)}
    for concept, text in _GRADES.items():
        entries |= {phrase: ("grade", "", concept) for phrase in _expand(text)}
    for facet, text in _CUES.items():
        entries |= {phrase: ("cue", facet, "") for phrase in _expand(text)}
    for (facet, concept), text in _CUED_GRADES.items():
        entries |= {phrase: ("cue", facet, concept) for phrase in _expand(text)}
    return entries


#: Phrase -> kind (cue, grade, negation, break, verb, neutral), facet, concept.
ENTRIES = _entries()
LONGEST_PHRASE = max(map(len, ENTRIES))
