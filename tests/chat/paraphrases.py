"""True reports in other words, for measuring how much true wording the verifier refuses.

Five parts that share no sentence. `DEVELOPED` was looked at while the verifier's lexicon was made. The others were written
before it met them, and each was looked at after its first measurement: of `HELD_OUT` 71.6 % of the grammar's reports passed at
first, of `UNSEEN` 62.8 %, of `FINAL` 30.6 % (33 of its 34 sentences, but three words of what surrounds them were unknown), of
`BLIND` 41.6 % (28 of its 34 sentences). See docs/reports.md.

By hand: a few sentences for each of the 17 scores of the four criteria, and whole reports in the style of dictated ones. By a
grammar: one report for every score tuple from these sentences, with openings, connectives and closings of the same part.
Vocabulary of published reader studies (noise "less than average", "grainy") and of dictated reports ("degraded by").
"""

import random
from dataclasses import dataclass

from iqagpt.criteria import KEYS, Scores, all_scores

Sentences = dict[str, dict[int | None, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Half:
    """Sentences by criterion and score, what may surround them, and whole reports with their scores."""

    sentences: Sentences
    openings: tuple[str, ...]
    connectives: tuple[str, ...]
    closings: tuple[str, ...]
    reports: tuple[tuple[tuple[int | None, ...], str], ...]


_DEVELOPED_SENTENCES: Sentences = {
    "noise": {
        1: (
            "Image noise is lower than usual and structural fidelity is excellent",
            "There is very little noise, and the slice is fully acceptable for diagnostic interpretation",
            "Noise and structural fidelity are better than average",
            "Minimal image noise with excellent preservation of structure",
        ),
        2: (
            "Image noise is average and does not interfere with diagnostic interpretation",
            "The noise level is as expected for a routine examination and is acceptable for diagnosis",
            "Noise and structural fidelity are of the usual standard, adequate for interpretation",
            "An average amount of noise is present, acceptable for reading",
        ),
        3: (
            "Image noise is sub-optimal; only limited diagnostic information can be obtained",
            "Above-average noise limits the diagnostic information of the slice",
            "The image is noisier than usual and structural fidelity is compromised",
            "Noise is increased and structural fidelity is suboptimal",
        ),
        4: (
            "Excessive noise renders the slice non-diagnostic",
            "Image noise is unacceptable and precludes diagnostic interpretation",
            "Severe noise with loss of structural fidelity; the image is unsuitable for diagnosis",
            "The level of noise is too high for diagnostic interpretation",
        ),
    },
    "small_structures": {
        1: (
            "Small structures such as small vessels are very clearly seen",
            "Excellent visualization of small blood vessels, adrenal glands and small lymph nodes",
            "Fine anatomical detail is depicted superbly",
            "Small structures are sharply delineated throughout, with excellent visibility",
        ),
        2: (
            "Small structures are adequately seen",
            "Visibility of small vessels and lymph nodes is satisfactory",
            "Acceptable depiction of small anatomical structures",
            "Fine detail is sufficiently visible",
        ),
        3: (
            "Small structures are only partially visible",
            "Suboptimal depiction of small vessels, adrenal glands and lymph nodes",
            "Visualization of fine detail is limited",
            "Evaluation of small structures is limited by reduced visibility",
        ),
        4: (
            "Small structures cannot be evaluated",
            "Visualization of small vessels and lymph nodes is unacceptable",
            "Small structures are not visible",
            "Fine anatomical detail is lost",
        ),
    },
    "lesion_conspicuity": {
        1: (
            "The lesion is well seen with sharply defined margins",
            "A clearly visible lesion with well-defined borders",
            "Lesion conspicuity is excellent; the margins are crisp",
            "The lesion is readily visible and its margins are clearly delineated",
        ),
        2: (
            "The lesion is well seen but its margins are poorly defined",
            "A clearly visible lesion with indistinct borders",
            "The lesion itself is easily seen; its margins, however, are ill-defined",
            "Good visibility of the lesion, although the margins are not well seen",
        ),
        3: (
            "The lesion is poorly seen and its margins are ill-defined",
            "A faint lesion with indistinct borders",
            "Lesion conspicuity is suboptimal, with poorly defined margins",
            "The lesion is difficult to see and its margins are poorly delineated",
        ),
        4: (
            "The lesion is blurred and its margins are lost",
            "A blurred lesion whose margins can no longer be made out",
            "Lesion conspicuity is unacceptable, with severe loss of margins",
            "Severe blurring of the lesion; the borders are not discernible",
        ),
        None: (
            "Lesion conspicuity was not scored on this slice",
            "Lesion conspicuity is not applicable",
            "Lesion conspicuity does not apply to this slice; this does not exclude a lesion",
            "The criterion of lesion conspicuity is N/A here",
        ),
    },
    "diagnostic_confidence": {
        1: (
            "Diagnostic confidence is complete",
            "The slice can be read with full confidence",
            "Interpretation is possible with complete diagnostic confidence",
            "The reader is completely confident in the interpretation",
        ),
        2: (
            "Diagnostic confidence is probable rather than complete",
            "The slice can be interpreted with reasonable confidence",
            "Diagnostic confidence is moderate, not complete",
            "The reader is probably confident",
        ),
        3: (
            "Diagnostic confidence is limited to gross findings such as a kidney stone, a calcified lesion or a large lesion",
            "Confidence is restricted to a limited clinical entity such as a large lesion",
            "The slice permits a confident reading only for limited clinical entities, such as a kidney stone",
            "Diagnostic confidence is limited",
        ),
        4: (
            "Diagnostic confidence is poor",
            "There is little diagnostic confidence",
            "The slice cannot be interpreted with confidence",
            "Confidence in the interpretation is very low",
        ),
    },
}

_HELD_OUT_SENTENCES: Sentences = {
    "noise": {
        1: (
            "Noise is below the usual level and anatomical structures are faithfully reproduced",
            "Image quality benefits from exceptionally low noise, acceptable for diagnostic interpretation",
            "Superior structural fidelity with hardly any image noise",
            "Less noise than usual, with well preserved structures",
        ),
        2: (
            "Noise is within the usual range and diagnostic interpretation is possible",
            "Typical noise level; structural fidelity is satisfactory for diagnosis",
            "The slice shows average noise without impairment of diagnostic reading",
            "Ordinary image noise, with acceptable structural fidelity",
        ),
        3: (
            "Considerable noise is present, which permits limited diagnostic information only",
            "Interpretation is hampered by suboptimal noise and structural fidelity",
            "The slice is grainy and yields only limited information for diagnosis",
            "Degraded structural fidelity and elevated noise restrict diagnostic use",
        ),
        4: (
            "Noise is so severe that the slice cannot be used for diagnosis",
            "The image is uninterpretable owing to extreme noise",
            "Prohibitive image noise; not acceptable for diagnostic interpretation",
            "Structural fidelity is unacceptable and noise overwhelms the image",
        ),
    },
    "small_structures": {
        1: (
            "Small vessels, adrenal glands and small lymph nodes are exquisitely demonstrated",
            "Outstanding visibility of fine structures",
            "Tiny structures can be identified without difficulty and with excellent clarity",
            "The smallest structures are shown in excellent detail",
        ),
        2: (
            "Small structures are visible to an acceptable degree",
            "Small vessels and nodes can be made out adequately",
            "Fair depiction of fine structures",
            "The visibility of small structures meets an acceptable standard",
        ),
        3: (
            "Small vessels and nodes are incompletely visualized",
            "Small structures are seen less well than desired; visibility is suboptimal",
            "Impaired delineation of fine structures",
            "The depiction of adrenal glands and small nodes is compromised",
        ),
        4: (
            "Small anatomical structures are obscured",
            "Fine structures are unrecognizable",
            "Inadequate visualization of small vessels, adrenal glands and nodes",
            "Small structures could not be identified",
        ),
    },
    "lesion_conspicuity": {
        1: (
            "The lesion stands out clearly and has distinct margins",
            "Highly conspicuous lesion with sharp borders",
            "The lesion and its contours are both well visualized",
            "The lesion is easily identified, its margins well demarcated",
        ),
        2: (
            "The lesion is clearly identified, yet its outline is hazy",
            "Well visible lesion with unsharp margins",
            "The lesion is conspicuous, but the borders are imprecise",
            "Although the lesion is readily seen, its edges are not clearly defined",
        ),
        3: (
            "The lesion is hard to discern, with vague margins",
            "A subtle lesion with poorly demarcated edges",
            "Both the lesion and its margins are poorly visualized",
            "The lesion is barely seen and its contours are unclear",
        ),
        4: (
            "The lesion is smeared, without recognizable margins",
            "Marked blurring of the lesion with complete loss of its borders",
            "The contours of the lesion have been lost and the lesion is blurred",
            "The lesion is severely blurred; its outline cannot be discerned",
        ),
        None: (
            "Rating of lesion conspicuity is not applicable for this image",
            "No score is given for lesion conspicuity",
            "Lesion conspicuity was not assessed, which is no statement on the presence of a lesion",
            "Conspicuity of lesions: not rated",
        ),
    },
    "diagnostic_confidence": {
        1: (
            "The image allows interpretation with the highest confidence",
            "Reading is possible without reservation, and confidence is full",
            "Complete certainty of interpretation",
            "Diagnostic confidence is unrestricted",
        ),
        2: (
            "Diagnostic confidence is fair",
            "A diagnosis can probably be made with confidence",
            "Confidence in interpretation is fairly good but not full",
            "There is reasonable, though not complete, diagnostic confidence",
        ),
        3: (
            "Only limited clinical questions, such as a kidney stone or a large lesion, can be answered confidently",
            "Confidence is confined to obvious entities such as a calcified lesion",
            "Diagnostic confidence is limited to a few clinical entities, for example kidney stones",
            "The diagnostic confidence is restricted",
        ),
        4: (
            "Diagnostic confidence is insufficient",
            "No confident interpretation is possible",
            "The level of diagnostic confidence is poor",
            "A confident diagnosis cannot be made",
        ),
    },
}

DEVELOPED = Half(
    sentences=_DEVELOPED_SENTENCES,
    openings=(
        "",
        "Image quality of a single axial CT slice was assessed. ",
        "TECHNIQUE: Automated image quality assessment of one axial CT slice.\nFINDINGS: ",
        "The CT image under review was assessed by four criteria. ",
    ),
    connectives=("", "In addition, ", "Furthermore, ", "Overall, "),
    closings=("", " Research use only; not for diagnosis.", " The scores refer to this slice only."),
    reports=(
        (
            (4, 4, None, 4),
            "The CT image reviewed exhibits unacceptable levels of image noise and structural fidelity, rendering it unsuitable "
            "for diagnostic interpretation. Additionally, the visualization of small structures is inadequate. Lesion "
            "conspicuity was not scored. As a result of these limitations, diagnostic confidence is poor.",
        ),
        (
            (1, 1, None, 1),
            "The CT image under review exhibits better-than-usual image noise and structural fidelity, allowing for diagnostic "
            "interpretation. The visibility of small structures is excellent. Lesion conspicuity is not applicable. Overall, "
            "there is complete diagnostic confidence.",
        ),
        (
            (3, 3, 3, 3),
            "IMAGE QUALITY: The slice is degraded by noise, which is suboptimal. Depiction of small vessels and lymph nodes is "
            "suboptimal. The lesion is poorly seen and has poorly defined margins.\nIMPRESSION: Limited study; diagnostic "
            "confidence is limited to large lesions and calcified lesions.",
        ),
        (
            (2, 2, 2, 2),
            "Average image noise, acceptable for diagnostic interpretation. Small structures are adequately visualized. The lesion "
            "is well seen, although its margins are indistinct. The slice can be read with reasonable confidence.",
        ),
        (
            (1, 2, 1, 1),
            "Image noise is less than usual. Small vessels, adrenal glands and lymph nodes are acceptably visualized. "
            "The lesion is "
            "clearly seen with sharp margins. Interpretation is possible with full confidence.",
        ),
        (
            (4, 3, 4, 4),
            "Nondiagnostic slice because of excessive noise. Small structures are suboptimally seen. The lesion is blurred with "
            "severe loss of its margins. Diagnostic confidence is poor.",
        ),
        (
            (2, 1, None, 1),
            "Noise is average and acceptable for diagnosis. There is excellent visualization of small structures. "
            "Lesion conspicuity "
            "was not rated, which does not exclude a lesion. Diagnostic confidence is complete.",
        ),
        (
            (3, 2, 2, 2),
            "FINDINGS: Image noise is higher than usual and allows limited diagnostic information only. Small structures are "
            "visible to an acceptable extent. The lesion is well visualized, but the margins are poorly visualized.\nIMPRESSION: "
            "The reader is probably confident.",
        ),
        (
            (3, 4, None, 3),
            "The noise is suboptimal, and small structures are not adequately seen. Lesion conspicuity is not applicable to this "
            "slice. The slice is suitable only for limited clinical entities such as a kidney stone; diagnostic confidence is "
            "limited.",
        ),
        (
            (2, 3, 3, 2),
            "Noise and structural fidelity are average. Visibility of small structures is suboptimal (score 3). The lesion is "
            "faint and its margins are poorly visualized. Diagnostic confidence is probable (score 2).",
        ),
    ),
)

HELD_OUT = Half(
    sentences=_HELD_OUT_SENTENCES,
    openings=(
        "",
        "One axial CT slice was reviewed for image quality. ",
        "TECHNIQUE: Image quality of an axial CT slice, rated on a scale from 1 (best) to 4 (worst).\nIMAGE QUALITY: ",
        "This report describes the quality of the submitted CT image. ",
    ),
    connectives=("", "Moreover, ", "With regard to the remaining criteria, ", "In summary, "),
    closings=("", " These statements concern image quality alone.", " Not intended for clinical use."),
    reports=(
        (
            (4, 4, 4, 4),
            "Severely degraded image. Noise is unacceptable for diagnostic interpretation. Small structures cannot be delineated. "
            "The lesion is blurred and its borders are lost. Confidence is poor.",
        ),
        (
            (1, 1, 1, 1),
            "High quality slice. Noise is remarkably low with excellent structural fidelity. Even the smallest vessels are clearly "
            "displayed. The lesion is sharply outlined and well seen. The examination can be interpreted with complete confidence.",
        ),
        (
            (2, 2, None, 2),
            "Noise is comparable to that of a usual examination and does not hinder interpretation. Small structures are seen "
            "acceptably. No rating was made for lesion conspicuity. The diagnosis is probably reliable; confidence is moderate.",
        ),
        (
            (3, 3, None, 3),
            "The image is somewhat noisy and of limited diagnostic value. Delineation of small vessels is suboptimal. Lesion "
            "conspicuity not applicable. Confidence is sufficient only for a limited clinical entity such as a large lesion.",
        ),
        (
            (1, 2, 2, 1),
            "Better than usual noise texture. Acceptable visibility of the small vessels. Lesion well seen; margins not sharply "
            "defined. Complete diagnostic confidence.",
        ),
        (
            (4, 3, None, 4),
            "The slice is too noisy to be diagnostic. Small structures are seen suboptimally. Lesion conspicuity: not applicable. "
            "Diagnostic confidence is very poor.",
        ),
        (
            (2, 3, 3, 3),
            "Noise is average, acceptable for diagnostic interpretation. Reduced visibility of small structures. The lesion is "
            "inconspicuous with poorly visible margins. Confident only for entities such as kidney stones or large lesions.",
        ),
        (
            (3, 4, 4, 4),
            "Suboptimal noise level, sufficient for limited diagnostic information only. Small structures are "
            "invisible. The lesion "
            "is blurred, and its margins have severely deteriorated. Low confidence.",
        ),
        (
            (2, 1, 1, 1),
            "Standard image noise. Small structures are excellently visualized. Lesion is well seen, margins are well visualized. "
            "The reader can be completely confident.",
        ),
        (
            (3, 2, 2, 3),
            "Noise exceeds the usual level and diagnostic information is limited. Small structures remain acceptably visible. "
            "The lesion is well seen but ill-defined. Diagnostic confidence is limited, for instance to a calcified lesion.",
        ),
    ),
)

_UNSEEN_SENTENCES: Sentences = {
    "noise": {
        1: (
            "The slice shows lower noise than usual, with excellent structural fidelity",
            "Image noise is minimal and structural fidelity is very well preserved",
            "Noise and structural fidelity are superior to the usual standard",
        ),
        2: (
            "Image noise and structural fidelity are average, which is sufficient for diagnostic interpretation",
            "There is a typical amount of image noise, not limiting diagnostic interpretation",
            "Noise is of average degree and acceptable",
        ),
        3: (
            "Image noise is greater than usual and the diagnostic information is limited",
            "Structural fidelity is suboptimal, so that only limited diagnostic information is available",
            "Suboptimal image noise limits the diagnostic value of this slice",
        ),
        4: (
            "Image noise and structural fidelity are not acceptable for interpretation",
            "Excessive image noise prevents a diagnostic interpretation",
            "The noise is unacceptable, making the image nondiagnostic",
        ),
    },
    "small_structures": {
        1: (
            "Small blood vessels and small lymph nodes are seen with excellent clarity",
            "The visibility of fine anatomical structures is outstanding",
            "Small structures are exceptionally well visualized",
        ),
        2: (
            "Small structures are shown with acceptable clarity",
            "The small vessels and adrenal glands are adequately delineated",
            "Visibility of small structures is adequate",
        ),
        3: (
            "Small structures are suboptimally visualized",
            "The visibility of small vessels, adrenal glands and lymph nodes is reduced",
            "Small structures such as lymph nodes are only partly discernible",
        ),
        4: (
            "Small structures cannot be recognized",
            "Visibility of small blood vessels and lymph nodes is inadequate",
            "Unacceptable visualization of small anatomical structures",
        ),
    },
    "lesion_conspicuity": {
        1: (
            "The lesion is clearly seen, and its borders are sharp",
            "There is a well-seen lesion with clear margins",
            "The lesion is very well visualized with well-defined margins",
        ),
        2: (
            "The lesion can be seen well; however, its borders are poorly visualized",
            "A well-defined view of the lesion is not possible at its margins, although the lesion is well seen",
            "The lesion is clearly visible, but its margins are blurry",
        ),
        3: (
            "The lesion is poorly visible and has indistinct margins",
            "Poor visualization of the lesion and of its margins",
            "The lesion is only faintly seen, and the margins are hazy",
        ),
        4: (
            "The lesion appears blurred, and its margins are severely degraded",
            "Blurring of the lesion with loss of margins",
            "The margins of the lesion are lost and the lesion appears blurred",
        ),
        None: (
            "Lesion conspicuity has not been rated for this slice",
            "Subjective visual lesion conspicuity: N/A",
            "Lesion conspicuity is not applicable, and no conclusion about the presence of a lesion is drawn",
        ),
    },
    "diagnostic_confidence": {
        1: (
            "Diagnostic confidence is full",
            "The interpretation can be made with complete confidence",
            "The diagnostic confidence is excellent",
        ),
        2: (
            "The slice can be read with probable confidence",
            "Diagnostic confidence is reasonable, although not complete",
            "Diagnostic confidence is rated as probable",
        ),
        3: (
            "The slice allows confident diagnosis only of limited clinical entities such as a kidney stone or a large lesion",
            "Diagnostic confidence is limited to clinical entities like a calcified lesion",
            "Confidence is limited, for example to a large lesion",
        ),
        4: (
            "The diagnostic confidence is very low",
            "Poor confidence in the diagnostic interpretation",
            "Diagnostic confidence is unacceptable",
        ),
    },
}

UNSEEN = Half(
    sentences=_UNSEEN_SENTENCES,
    openings=(
        "",
        "The quality of one axial CT slice was evaluated. ",
        "FINDINGS: ",
        "Quality assessment of a CT slice. ",
    ),
    connectives=("", "Consequently, ", "Accordingly, ", "Finally, "),
    closings=("", " For research use only.", " This assessment concerns the slice alone."),
    reports=(
        (
            (3, 2, None, 2),
            "Image noise is mildly increased with suboptimal structural fidelity. Small structures are acceptably seen. Lesion "
            "conspicuity was not assessed. The slice can probably be interpreted with confidence.",
        ),
        (
            (1, 1, 2, 1),
            "Excellent image quality. Noise is better than usual. Small structures are sharply and excellently depicted. The "
            "lesion is well seen with ill-defined margins. Full diagnostic confidence.",
        ),
        (
            (4, 4, 4, 4),
            "The image is nondiagnostic due to severe noise. Small structures are not discernible. The lesion is severely blurred "
            "and its margins are lost. Diagnostic confidence is very poor.",
        ),
        (
            (2, 3, 3, 3),
            "Noise is average. The visualization of small vessels is suboptimal. The lesion is poorly visualized with poorly "
            "defined borders. Confidence is limited to large or calcified lesions.",
        ),
        (
            (2, 2, None, 1),
            "Usual image noise. Adequate visibility of small vessels and nodes. Lesion conspicuity is N/A. There is complete "
            "confidence in the diagnosis.",
        ),
        (
            (3, 4, 4, 4),
            "Noise is above average and the diagnostic information is limited. Small structures are obscured. Blurred lesion; "
            "margins are not recognizable. There is little confidence in interpretation.",
        ),
    ),
)

_FINAL_SENTENCES: Sentences = {
    "noise": {
        1: (
            "Noise is less than usual and structures are excellently preserved",
            "Image noise is low, structural fidelity is excellent and the slice is acceptable for interpretation",
        ),
        2: (
            "Noise is average for a CT slice and acceptable for diagnostic purposes",
            "Image noise and structural fidelity are typical and adequate for interpretation",
        ),
        3: (
            "Image noise is above average, so that the slice gives limited diagnostic information",
            "Noise and structural fidelity are suboptimal, which limits diagnostic interpretation",
        ),
        4: (
            "Image noise is severe and the slice is not diagnostic",
            "The slice is nondiagnostic owing to unacceptable noise and loss of structural fidelity",
        ),
    },
    "small_structures": {
        1: (
            "Small structures are excellently seen",
            "Small vessels and lymph nodes show excellent delineation",
        ),
        2: (
            "Small vessels, adrenal glands and lymph nodes are acceptably seen",
            "The depiction of small structures is acceptable",
        ),
        3: (
            "Small vessels and lymph nodes are suboptimally depicted",
            "There is limited visibility of small structures",
        ),
        4: (
            "Small vessels and lymph nodes are not visualized",
            "The visualization of small structures is not acceptable",
        ),
    },
    "lesion_conspicuity": {
        1: (
            "There is a well seen lesion, the margins of which are well defined",
            "Excellent conspicuity of the lesion with sharp margins",
        ),
        2: (
            "A well seen lesion with ill-defined margins",
            "The lesion is readily identified although its borders are indistinct",
        ),
        3: (
            "The lesion is faintly visible with poorly defined margins",
            "Poorly seen lesion with unclear margins",
        ),
        4: (
            "The lesion is blurred and its borders are severely lost",
            "The lesion is so blurred that its margins are no longer visible",
        ),
        None: (
            "Lesion conspicuity: not applicable",
            "Lesion conspicuity was not graded on this image",
        ),
    },
    "diagnostic_confidence": {
        1: (
            "The slice can be interpreted with full diagnostic confidence",
            "The reader's confidence is complete",
        ),
        2: (
            "Diagnostic confidence is probable",
            "The reader is fairly confident, though not completely",
        ),
        3: (
            "The reader can be confident only about limited clinical entities such as kidney stones",
            "Diagnostic confidence is restricted to a large lesion, a calcified lesion or a kidney stone",
        ),
        4: (
            "There is poor confidence in any diagnosis",
            "Diagnostic confidence is inadequate",
        ),
    },
}

FINAL = Half(
    sentences=_FINAL_SENTENCES,
    openings=(
        "",
        "Image quality report for one CT slice. ",
        "IMAGE QUALITY\n",
        "The following report concerns image quality. ",
    ),
    connectives=("", "Therefore, ", "As a consequence, ", "Taken together, "),
    closings=("", " Research use only.", " No statement is made on clinical findings."),
    reports=(),
)

_BLIND_SENTENCES: Sentences = {
    "noise": {
        1: (
            "The image is nearly free of disturbing noise and its structural fidelity is superb",
            "Image noise is below average and does not limit interpretation",
        ),
        2: (
            "Noise lies in the usual range, which is acceptable for diagnosis",
            "Average noise and structural fidelity; the slice is diagnostically acceptable",
        ),
        3: (
            "Because of suboptimal noise the slice provides only limited diagnostic information",
            "Image noise is more pronounced than usual and structural fidelity is suboptimal",
        ),
        4: (
            "The slice is unacceptable for diagnostic interpretation owing to noise",
            "Noise is unacceptably high and interpretation is not possible",
        ),
    },
    "small_structures": {
        1: (
            "Even small vessels and lymph nodes are excellently visualized",
            "The small structures are displayed with excellent definition",
        ),
        2: (
            "Small anatomical structures can be seen acceptably",
            "Small structures, such as vessels and adrenal glands, are visible to an adequate extent",
        ),
        3: (
            "Small structures are seen only suboptimally",
            "Visibility of fine structures is restricted",
        ),
        4: (
            "Small structures are practically invisible",
            "It is impossible to make out small vessels or lymph nodes",
        ),
    },
    "lesion_conspicuity": {
        1: (
            "The lesion is well delineated and its margins are sharp",
            "Lesion well seen, with clearly visible margins",
        ),
        2: (
            "The lesion is well seen; the margins are poorly delineated",
            "Although well seen, the lesion has blurry edges",
        ),
        3: (
            "The lesion can hardly be seen and its margins are poorly visualized",
            "Poor lesion visibility with indistinct contours",
        ),
        4: (
            "The lesion is markedly blurred with severe loss of its margins",
            "Only a blurred lesion is visible, its margins being lost",
        ),
        None: (
            "Lesion conspicuity has not been scored",
            "A score for lesion conspicuity is not applicable",
        ),
    },
    "diagnostic_confidence": {
        1: (
            "The interpretation is made with complete confidence",
            "Diagnostic confidence is total",
        ),
        2: (
            "Confidence in the diagnosis is probable",
            "The reader is reasonably but not completely confident",
        ),
        3: (
            "Confidence is limited to entities such as a kidney stone",
            "The reader is only confident for limited clinical entities, for example a large lesion",
        ),
        4: (
            "Diagnostic confidence is lacking",
            "The reader has poor confidence",
        ),
    },
}

BLIND = Half(
    sentences=_BLIND_SENTENCES,
    openings=("", "Assessment of a CT slice. ", "FINDINGS\n", "The CT slice was rated for image quality. "),
    connectives=("", "Hence, ", "As a result, ", "In conclusion, "),
    closings=("", " For research use only.", " The slice was assessed automatically."),
    reports=(),
)


def written_by_hand(half: Half) -> list[tuple[Scores, str]]:
    """Return the whole reports of one half with their scores."""
    return [(dict(zip(KEYS, scores, strict=True)), text) for scores, text in half.reports]


def written_by_grammar(half: Half, seed: int = 0) -> list[tuple[Scores, str]]:
    """Return one report for every score tuple: sentences drawn for each criterion, surrounded by words of the same half."""
    random_ = random.Random(seed)
    return [(scores, _report(half, scores, random_)) for scores in all_scores()]


def _report(half: Half, scores: Scores, random_: random.Random) -> str:
    parts = []
    for number, key in enumerate(KEYS):
        sentence = random_.choice(half.sentences[key][scores[key]])
        if number == len(KEYS) - 1:
            opening = random_.choice(half.connectives)
            sentence = opening + (sentence[0].lower() + sentence[1:] if opening else sentence)
        if scores[key] is not None and random_.random() < 0.5:
            sentence += f" (score {scores[key]})"
        parts.append(f"{sentence}.")
    return random_.choice(half.openings) + " ".join(parts) + random_.choice(half.closings)
