"""The statistics beyond the paper's tables as Markdown: rivals, ordinal measures, lesions, calibration, fidelity, audits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from iqagpt.criteria import ALWAYS_SCORED, CRITERIA, KEYS
from iqagpt.evaluation import fidelity
from iqagpt.evaluation.audits import READER
from iqagpt.evaluation.calibration import calibration_errors
from iqagpt.evaluation.comparison import IQAGPT, Comparison
from iqagpt.evaluation.estimates import MEAN
from iqagpt.evaluation.names import SHORT
from iqagpt.evaluation.ordinal import LESION, MEASURES
from iqagpt.evaluation.rivals import COMPARED, PRIMARY, smallest_p
from iqagpt.evaluation.tables import ORACLES, markdown, with_interval

_NAMES = {
    "mae": "MAE (lower is better)", "within_1": "Within one step", "kappa_quadratic": "Quadratic kappa",
    "balanced_accuracy": "Balanced accuracy", "accuracy": "accuracy", "plcc": "PLCC", "srocc": "SROCC",
    "captioning": "", "bleu_4": "BLEU-4", "cider": "CIDEr", "psnr_db": "PSNR / dB", "ssim": "SSIM", "rmse_hu": "RMSE / HU",
}  # fmt: skip
_LESION = {
    "sensitivity": "Sensitivity", "specificity": "Specificity", "balanced_accuracy": "Their mean",
    "conspicuity_accuracy": "Right score of true lesions",
}  # fmt: skip


def render_statistics(data: Comparison, tables: Mapping[str, pd.DataFrame], metrics: Mapping[str, Any]) -> str:
    """Write all statistics beyond Tables 1 to 4, to stand below them.

    Parameters
    ----------
    data : Comparison
    tables : mapping
        ``estimates``, ``rivals``, ``confusion_matrices``, ``levels``; and ``fidelity``, ``fidelity_correlations`` if known.
    metrics : mapping
        Content of ``metrics/evaluate.json``.
    """
    found = {(row.method, row.measure, row.key): row for row in tables["estimates"].itertuples()}
    methods = list(data.predictions)
    return "\n".join(
        [
            "",
            *_rivals(data, tables["rivals"]),
            *_ordinal(found, methods),
            *_lesions(data, found, methods),
            *_confusion(tables["confusion_matrices"]),
            *_calibration(data, found),
            *_fidelity(data, tables),
            *_audits(data, found, tables["levels"]),
        ]
    )


def _cell(found: Mapping[tuple[str, str, str], Any], *place: str) -> str:
    row = found.get(place)
    return "-" if row is None else with_interval(row.value, row.lower, row.upper)


def _rivals(data: Comparison, rivals: pd.DataFrame) -> Iterator[str]:
    patients = data.truth["patient_id"].nunique()
    yield "## IQAGPT less each rival\n"
    table = rivals.set_index(["rival", "measure", "key"])
    names = list(dict.fromkeys(rivals["rival"]))
    grid = [["Rival", "Mean accuracy", "p", "p (Holm)"]]
    for name in names:
        row = table.loc[(name, *PRIMARY)]
        p_holm = "- (oracle)" if name in ORACLES else f"{row['p_holm']:.3g}"
        grid.append([name, with_interval(row["difference"], row["lower"], row["upper"]), f"{row['p']:.3g}", p_holm])
    yield markdown(grid)
    yield (
        f"Positive: IQAGPT is better (but of MAE negative). p: exact sign-flip test over {patients} patients, "
        f"two-sided; the smallest it can give is {smallest_p(patients):.3g}. Holm over the rivals that are not "
        "told the variant. The differences below are secondary: no test.\n"
    )
    others = [place for place in COMPARED if place != PRIMARY]
    grid = [["Measure", *names]]
    for measure, key in others:
        title = " ".join(filter(None, (_NAMES[measure].split(" (")[0], _NAMES.get(key, SHORT.get(key, key)))))
        cells = [
            with_interval(*table.loc[(name, measure, key), ["difference", "lower", "upper"]])
            if (name, measure, key) in table.index
            else "-"
            for name in names
        ]
        grid.append([title, *cells])
    yield markdown(grid)


def _ordinal(found: Mapping[tuple[str, str, str], Any], methods: Sequence[str]) -> Iterator[str]:
    yield "## Ordinal measures\n"
    yield (
        "Means over three criteria, without lesion conspicuity. MAE in score steps; rounded scores elsewhere. Higher is better but "
        "for MAE.\n"
    )
    yield markdown(
        [
            ["Method", *(_NAMES[measure] for measure in MEASURES)],
            *([method, *(_cell(found, method, measure, MEAN) for measure in MEASURES)] for method in methods),
        ]
    )
    yield "IQAGPT by criterion; lesion conspicuity where reader and method both see a lesion (its balanced accuracy: all):\n"
    yield markdown(
        [
            ["Criterion", *(_NAMES[measure] for measure in MEASURES)],
            *([SHORT[key], *(_cell(found, IQAGPT, measure, key) for measure in MEASURES)] for key in KEYS),
        ]
    )


def _lesions(data: Comparison, found: Mapping[tuple[str, str, str], Any], methods: Sequence[str]) -> Iterator[str]:
    if LESION not in data.criteria:
        return
    lesions = int(data.truth["lesion_conspicuity"].notna().sum())
    yield "## Lesions: found, and scored (higher is better)\n"
    yield f"Of {len(data.truth)} images {lesions} have a lesion by the reader's scores.\n"
    yield markdown(
        [
            ["Method", *_LESION.values()],
            *([method, *(_cell(found, method, "lesion", key) for key in _LESION)] for method in methods),
        ]
    )


def _confusion(counts: pd.DataFrame) -> Iterator[str]:
    yield "## Confusion of IQAGPT (rows: reader, columns: IQAGPT)\n"
    own = counts[counts["method"] == IQAGPT]
    for criterion in CRITERIA:
        rows = own[own["criterion"] == criterion.key]
        if rows.empty:
            continue
        table = rows.pivot_table(index="truth", columns="predicted", values="images", fill_value=0, aggfunc="sum")
        grid = [[SHORT[criterion.key], *map(str, table.columns)]]
        grid += [[str(name), *(str(int(count)) for count in row)] for name, row in zip(table.index, table.to_numpy())]  # noqa: B905
        yield markdown(grid)


def _calibration(data: Comparison, found: Mapping[tuple[str, str, str], Any]) -> Iterator[str]:
    methods = [method for method in data.predictions if (method, "rps", MEAN) in found]
    yield "## Calibration of probabilities (lower is better)\n"
    if not methods:
        yield "No method gives probabilities.\n"
        return
    yield (
        "Ranked probability score (0 to 1) and mean absolute error of the expected score, means over three criteria; Brier "
        "score of `no lesion`; expected calibration error of the stated class. Curves: `reliability.csv`.\n"
    )
    grid = [["Method", "RPS", "MAE of expected", "Brier, no lesion", *(f"ECE {SHORT[key]}" for key in data.criteria)]]
    for method in methods:
        errors = calibration_errors(data.truth, data.predictions[method])
        places = (("rps", MEAN), ("mae_expected", MEAN), ("brier", "no_lesion"))
        grid.append(
            [
                method,
                *(_cell(found, method, *place) for place in places),
                *(f"{errors[key]:.3f}" for key in data.criteria),
            ]
        )
    yield markdown(grid)


def _fidelity(data: Comparison, tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    yield "## PSNR, SSIM and RMSE against NDCT\n"
    if "fidelity" not in tables or tables["fidelity"].empty:
        yield "No image has a reference to compare it with.\n"
        return
    yield "Means over the images of each variant, inside the display window (PSNR, SSIM: higher is better; RMSE: lower):\n"
    grid = [["Variant", *(_NAMES[name] for name in fidelity.MEASURES), "Images"]]
    for row in tables["fidelity"].itertuples():
        grid.append([row.variant, *(f"{getattr(row, name):.3f}" for name in fidelity.MEASURES), str(row.images)])
    yield markdown(grid)
    yield (
        "Correlation with the reader's scores over all images but NDCT (a score of 1 is best: PSNR and SSIM agree with the "
        "reader where it is negative, RMSE where it is positive). They need the reference, which no method above is given.\n"
    )
    table = tables["fidelity_correlations"].set_index(["fidelity", "measure", "criterion"])
    grid = [["", "Measure", *(SHORT[key] for key in data.criteria)]]
    for name in fidelity.MEASURES:
        for measure in ("plcc", "srocc"):
            rows = [table.loc[(name, measure, key), ["value", "lower", "upper"]] for key in data.criteria]
            grid.append([_NAMES[name], _NAMES[measure], *(with_interval(*row) for row in rows)])
    yield markdown(grid)


def _audits(data: Comparison, found: Mapping[tuple[str, str, str], Any], levels: pd.DataFrame) -> Iterator[str]:
    yield "## Audits\n"
    yield "No patient and no slice is on two sides of the split (else this evaluation would have stopped).\n"
    variants = data.truth["variant"].nunique()
    guessed = [method for method in (READER, *data.predictions) if (method, "variant_guess", "accuracy") in found]
    if guessed:
        yield (
            f"Can the variant be guessed from the four scores?  Share guessed rightly by a decision tree on other patients; "
            f"chance {1 / variants:.3f}. Far above the reader's own: the method may know the kind of image.\n"
        )
        rows = ([method, _cell(found, method, "variant_guess", "accuracy")] for method in guessed)
        yield markdown([["Scores of", "Guessed"], *rows])
    if len(levels):
        yield "Mean score at each level d of MAP-NN(d); rho: mean over slices of Spearman's correlation of score and d:\n"
        steps = [column for column in levels if column.startswith("d") and column[1:].isdigit()]
        grid = [["Scores of", "Criterion", *steps, "Monotone", "rho"]]
        for row in levels[levels["criterion"].isin(ALWAYS_SCORED)].to_dict("records"):
            means = [f"{row[step]:.2f}" if pd.notna(row[step]) else "-" for step in steps]
            rho = "NA" if pd.isna(row["rho"]) else f"{row['rho']:.2f}"
            grid.append([row["method"], SHORT[row["criterion"]], *means, row["direction"], rho])
        yield markdown(grid)
