"""The closed vocabulary in which a report may be written, and what each word says about the four criteria.

A report may use these words and no others: that is how every organ, finding, name, device, date or advice that was not given
is refused without listing any. Words are of four kinds: *cues* name a criterion (or a facet of one, such as a lesion's margins),
*grades* state a concept, *negations* turn a grade round, and the rest is neutral. `MEANING` says which scores a concept allows
for a facet.

In phrases ``a|b`` stands for either word. Spellings are normalised before (`iqagpt.chat.reading`): lower case, no hyphens,
``visualised`` as ``visualized``.

Sources: the scales of paper section 2.1 and its Figure 4; wording of published reader studies (noise "less than average",
"visualization of small structures", "ill-defined margins") and of dictated reports ("degraded by", "limits evaluation of").
"""

import itertools

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

_GRADES = {
    "top": """excellent|excellently outstanding|outstandingly superb|superbly exceptional|exceptionally optimal|optimally
        exquisite|exquisitely ideal|perfect|perfectly flawless very+good very+well very+clear|clearly high+quality
        remarkably+good unsurpassed pristine extremely+well exceedingly+well""",
    "better": """better+than+usual|average|normal|typical|expected|customary|standard superior
        superior+to+average|usual superior|better+to|than+the+usual|average|normal|typical+standard|level|one
        superior|better+to|than+the+average|norm|standard more+than+acceptable|adequate|satisfactory""",
    "good": """good well clear|clearly readily easily crisp|crisply distinct|distinctly sharp|sharply favorable conspicuous
        without+difficulty fully+preserved faithful|faithfully nicely highly+conspicuous
        stands|standing+out well+preserved unequivocally unambiguously""",
    "sharp": """well|sharply|clearly|crisply|distinctly+defined|demarcated|outlined|circumscribed|contoured|marginated
        well+visualized+margins""",
    "fair": """acceptable|acceptably adequate|adequately satisfactory|satisfactorily sufficient|sufficiently fair
        tolerable|tolerably
        suitable passable decent to+an+acceptable+degree|extent|level|standard fully+acceptable|adequate
        an+acceptable+degree|extent|level|standard""",
    "average": """average usual typical typically standard ordinary routine customary as+expected expected conventional
        comparable comparable+to+usual|average within+the+usual|normal|expected+range|limits usual|normal|typical+range medium""",
    "normal": "normal",
    "moderate": "moderate|moderately reasonable|reasonably fairly+good fairly intermediate",
    "suboptimal": """suboptimal|suboptimally limited restricted confined mediocre marginal less+than|then+optimal|ideal
        of+limited partial|partially partly incomplete|incompletely below+par substandard less+well diminished
        sufficient|acceptable|adequate|suitable+for+limited sufficient|acceptable|adequate|suitable+only+for+limited
        not+optimal|ideal|optimally""",
    "degraded": """degraded impaired compromised hampered hindered deteriorated impeded affected restrict|restricts
        difficult hard""",
    "poor": "poor|poorly unfavorable bad|badly",
    "failed": """unacceptable|unacceptably nondiagnostic inadequate|inadequately unsuitable unusable uninterpretable
        insufficient|insufficiently very|extremely|exceedingly+poor|poorly|low|bad severely|markedly|heavily+limited|degraded
        severely+reduced|compromised|impaired|restricted|deteriorated|affected preclude|precludes|precluding
        prevent|prevents|preventing prohibit|prohibits|prohibiting too+poor|low|limited impossible
        is|are|was|were+lacking useless unreadable undiagnostic unfit no+confidence no+diagnostic+confidence not+diagnostic""",
    "lost": """lost loss severe|complete|total|marked+loss severe|severely+lost obscured
        practically|virtually|almost|nearly+invisible|unrecognizable|lost|indiscernible unrecognizable|unrecognizably invisible
        imperceptible indiscernible undetectable unidentifiable""",
    "blurred": """blurred blurry blurring blur smeared severe|severely|marked|markedly|heavy|heavily+blurred|blurring|smeared""",
    "indistinct": """indistinct|indistinctly ill+defined hazy vague|vaguely fuzzy unclear unclearly unsharp|unsharply
        imprecise|imprecisely
        ill|poorly+demarcated|outlined|marginated|delineated poorly+defined|circumscribed|visualized+margins""",
    "faint": """faint|faintly subtle inconspicuous barely|hardly|scarcely|just+seen|visible|discernible|perceptible|recognizable
        difficult|hard+to+see|discern|identify|recognize|make|detect|appreciate difficult|hard+to+make+out
        can|could+hardly|barely|scarcely+be+seen|discerned|identified""",
    "seen": """seen see visible visibly visualized visualize depicted delineated demarcated outlined defined demonstrated displayed
        shown identified identifiable recognized recognizable discerned discernible made+out distinguished distinguishable
        evaluated assessable resolved detectable perceptible appreciated detected evaluable discern|identify""",
    "usable": """usable interpretable readable possible allow|allows|allowing permit|permits|permitting enable|enables|enabling
        can|could+be+used can+be+read|interpreted used permitted allowed diagnostic+quality
        be+read|interpreted|used""",
    "limiting": """limiting limits|limit limited+by interfere|interferes|interfering hinder|hinders|hindering hamper|hampers
        impair|impairs|impairment degrade|degrades restricting limitation+by overwhelm|overwhelms reduce|reduces|reducing
        compromise|compromises""",
    "above": """above+average|usual|normal above+the+usual|average|normal+level|range
        higher|greater|more+than+usual|average|normal|expected
        increased elevated more+pronounced|marked|evident|visible+than+usual|average|normal|expected
        exceed|exceeds|exceeding+the+usual|average|normal+level|range|noise raised
        higher|greater+than+the+usual|average|normal+level""",
    "high": "high considerable|considerably substantial pronounced marked markedly+increased|elevated strong heavy",
    "below": """below+average|usual|normal below+the+usual|average|normal+level|range
        lower|less|smaller+than+usual|average|normal|expected|typical
        reduced decreased lower|less+than+the+usual|average|normal+level|one|amount""",
    "low": "low remarkably|exceptionally|pleasingly+low",
    "minimal": """minimal|minimally very|exceptionally|extremely|remarkably|unusually+low|little
        hardly|barely|scarcely+any negligible
        little very+limited slight|slightest""",
    "severe": """severe|severely extreme|extremely excessive|excessively prohibitive|prohibitively overwhelming massive
        too+high|much|severe|strong|great|excessive too+noisy intolerable|intolerably""",
    "complete": """complete|completely full|fully total|totally entire|entirely absolute|absolutely highest
        unrestricted unreserved|unreservedly
        without+reservation|restriction|reservations|restrictions|qualification unqualified utmost certain maximal
        maximum definite""",
    "probable": "probable probably likely presumably",
    "entity": """kidney+stone|stones calcified+lesion|lesions large|larger+lesion|lesions large+or+calcified+lesion|lesions
        large+and+calcified+lesion|lesions""",
    "unscored": """not+applicable n/a does|do+not+apply not+scored|rated|assessed|graded|evaluated|given
        not+been+scored|rated|assessed|graded|evaluated no+score|rating|grade unscored unrated was+no+score
        not+be+scored|rated|graded cannot+be+scored|rated|graded inapplicable na""",
    "rated": "is|was|are|were+scored|rated|graded|assessed",
    "unknown": "could|can+not+be+determined cannot+be+determined undetermined not+determined was+not+determined",
}
_CUES = {
    "title": """image|noise+and+structural+fidelity image+noise+and+structural+fidelity noise+and+fidelity
        structural+fidelity+and+noise""",
    "noise": """noise image+noise noise+level|levels level|levels|amount|degree+of+noise level|levels|amount|degree+of+image+noise
        graininess grain mottle noise+texture quantum+noise|mottle""",
    "fidelity": """structural+fidelity fidelity structure structures anatomical|anatomic+structure|structures structural+detail
        structural+preservation preservation+of+structure|structures image+structure|structures""",
    "small": """small|fine|tiny|smallest|finest|smaller|finer|minute+structure|structures|detail|details|anatomy|vessel|vessels
        small|fine|tiny|smallest|smaller|minute+anatomical|anatomic+structure|structures|detail|details
        small+blood+vessel|vessels small+lymph+node|nodes small+node|nodes adrenal+gland|glands lymph+node|nodes nodes
        vessels adrenals
        fine|small+structural+detail|details small+parts anatomical|anatomic+detail|details visibility+of+small+structures""",
    "conspicuity": """lesion+conspicuity subjective+visual+lesion+conspicuity visual+lesion+conspicuity conspicuity
        subjective+lesion+conspicuity conspicuity+of+the|a+lesion conspicuity+of+lesion|lesions lesion+visibility""",
    "lesion": "lesion lesions",
    "margins": """margin|margins border|borders edge|edges outline|outlines contour|contours boundary|boundaries demarcation
        lesion+margin|margins|border|borders margin|margins|border|borders|edge|edges|contour|contours|outline+of+the+lesion""",
    "confidence": """confidence diagnostic+confidence certainty diagnostic+certainty diagnostic+reliability
        limited+clinical+entity|entities
        clinical+entity|entities clinical+question|questions entities confidence+level level+of+confidence
        level+of+diagnostic+confidence degree+of+confidence""",
    "overall": """image+quality overall+image+quality overall+quality quality+of+the+image|slice overall+impression
        quality""",
}
#: Words that name a criterion and grade it at once.
_CUED_GRADES = {
    ("noise", "noisy"): "noisy grainy somewhat+noisy rather+noisy",
    ("noise", "above"): "noisier+than+usual|average|normal|expected grainier+than+usual|average|normal",
    (
        "noise",
        "below",
    ): "less|lower+noise+than+usual|average|normal|expected less|lower+image+noise+than+usual|average|normal|expected",
    ("noise", "minimal"): """nearly|almost|virtually|practically|largely+free+of|from+noise free+of|from+noise
        nearly|almost|virtually|practically|largely+free+of|from+disturbing|visible|relevant+noise
        nearly|almost|virtually|practically+no+noise nearly|almost|virtually|practically+noise+free""",
    ("noise", "severe"): "too|extremely|excessively|severely|very+noisy|grainy",
    ("confidence", "confident"): "confident|confidently with+confidence reliable|reliably",
    ("confidence", "minimal"): "little+confidence little+diagnostic+confidence",
}
_NEGATIONS = """not no without never neither nor cannot can+not can|could+no+longer no+longer rather+than less+than
        lack|lacks|lacking
    lack+of fail|fails+to far+from absence+of none"""
#: Between two clauses: a criterion named afterwards takes over.
_BREAKS = """, ; : ( ) but and or while whereas although though however yet which that with despite so because as+a+result
    owing+to due+to because+of therefore thus hence accordingly nevertheless nonetheless for in by at from on to as such+as
    so+that than given resulting+in leading+to rendering renders render making makes in+spite+of along+with together+with"""
_VERBS = """is are was were be been remain remains remained appear appears has have had shows show exhibits exhibit demonstrates
    demonstrate presents present+with does do can could meets meet reaches reach yields yield offers offer provides provide
    benefits benefit supports support carries carry"""
_NEUTRAL = """a an the this that|these|those these it its their both each all of also additionally addition in+addition furthermore
    moreover overall finally only even too just quite rather somewhat slightly mildly relatively very more itself themselves
    here there throughout still being other remaining respectively further consequently altogether moreover similarly likewise
    image images imaging slice slices scan ct axial study examination exam picture section
    assessment assess assessed automated automatic automatically evaluation appraisal review reviewed under submitted examined
    criterion criteria scale score scored scores grade graded rating rated rate given four+criteria one+axial single
        one+ct one+slice
    four+point report describes describe described summary in+summary conclusion in+conclusion technique impression
    visibility visualization depiction delineation representation reproduction clarity presentation display appearance definition
    recognition identification preservation preserved reproduced evaluate interpretation interpret interpreted interpretations
    interpreting read reading reader readers diagnosis diagnostic diagnostically diagnoses information use purposes purpose value
    assessing answer answered level levels degree extent standard+of amount regard with+regard+to respect with+respect+to
    concerning regarding terms in+terms+of anatomic anatomical features certain+entities subjective visual subjectively
    present+in for+example for+instance example instance e+g such gross obvious few clinical clinically
    statement statements concern concerns refer refers alone quality+criteria result results these+limitations limitations
    limitation consistent as+a+whole as+well as+well+as taken+together thereby into+account obtained obtain
    accordance judged considered deemed found regarded+as noted characterized seen+as expressed stated made make makes
    allowing+for when where in+which entity findings+such+as presence+of+noise desired kind sort like including
    does+not+exclude+a|any+lesion not+exclude+a|any+lesion does+not+exclude+lesions|the+presence+of+a+lesion
    does+not+rule+out+a|any+lesion not+ruling+out+a|any+lesion does+not+mean|imply|indicate+that+no+lesion+is+present
    no|not+a+statement+on|about+the+presence+of+a+lesion no+statement+on|about+the+presence+of+a+lesion
    without+excluding+a|any+lesion a+lesion+is+not+excluded|thereby+excluded no+conclusion+about|on+the+presence+of+a+lesion
    presence+of+image+noise is+present are+present present suitable+only+for only+suitable+for
    sufficient+only+for adequate+only+for acceptable+only+for only+sufficient+for only+for limited+to+use
    lies lie lying make+out following follows follow gives give giving gave consequence consequences
    no+statement|comment|conclusion+is|was+made|drawn|given no+statement|comment+is+made+on|about+clinical+findings
    mention mentioned note including+the detail details available drawn draw view views viewed account way ways case cases
    part parts aspect aspects area areas
    field main mainly particular particularly especially notably generally general usually mostly largely primarily essentially
    otherwise already same similar similarly both either or+other another every any some several various number set use
    used using based basis according accordingly according+to about across along among around between within+the+image over
    upon via per during after before when where while+still it+is there+is there+are show seem seems seemed suggest+that
    indicate indicates indicating reflect reflects reflecting mean means meaning imply implies allow+for cause causes causing
    caused lead leads led leave leaves leaving left take takes taken come comes go find finds look looks need needs
    answer address addressed reached reach drawn+from derive derived identify+and determine establish established form
    formed perform performed performs performing work task tasks question questions point points purpose aim intended
    expressed word words term concern concerned observed impression+of feature element elements component components
    content contents circumstance circumstances
    characteristic characteristics property properties parameter parameters measure rank ranked category categories class
    qualitatively qualitative visually perception perceived observer observers user users who they them we our you your
    can+be could+be may+be+read be+seen being+read by+the+reader whose made run runs desired+level achieved attained observed"""

Phrase = tuple[str, ...]


def _expand(text: str) -> list[Phrase]:
    return [phrase for entry in text.split() for phrase in itertools.product(*(w.split("|") for w in entry.split("+")))]


def _entries() -> dict[Phrase, tuple[str, str, str]]:
    entries: dict[Phrase, tuple[str, str, str]] = {}
    for kind, text in (("neutral", _NEUTRAL), ("verb", _VERBS), ("break", _BREAKS), ("negation", _NEGATIONS)):
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
