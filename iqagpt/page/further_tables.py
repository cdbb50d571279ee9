"""What the evaluation found beyond the paper's tables: rivals, ordinal measures, lesions, calibration, fidelity, audits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from iqagpt.criteria import CRITERIA, KEYS
from iqagpt.evaluation.names import SHORT, method_name, source_name, variant_name
from iqagpt.page.contents import OTHER_METRICS, Run
from iqagpt.page.grid import ABSENT, Place, estimate, name_cell, number, table
from iqagpt.page.markup import Html, element
from iqagpt.page.paper_tables import TITLES

_EVALUATE = "metrics/evaluate.json"
_ORDINAL = {
    "mae": "Mean absolute error, in score steps (lower is better)",
    "within_1": "Within one step (higher is better)",
    "kappa_quadratic": "Quadratic kappa (higher is better)",
    "balanced_accuracy": "Balanced accuracy (higher is better)",
}
_LESION = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "balanced_accuracy": "Their mean",
    "conspicuity_accuracy": "Right score of true lesions",
}
_CALIBRATION = {
    ("rps", "mean"): "Ranked probability score",
    ("mae_expected", "mean"): "MAE of the expected score",
    ("brier", "no_lesion"): "Brier score, no lesion",
    **{("calibration_error", key): f"Calibration error, {SHORT[key].lower()}" for key in KEYS},
}
_FIDELITY = {"psnr_db": "PSNR, dB (higher is nearer)", "ssim": "SSIM (higher)", "rmse_hu": "RMSE, HU (lower)"}


def statistics(run: Run) -> Iterator[Html]:
    """Write the tables of statistics."""
    methods = _methods(run)
    yield _rivals(run)
    yield table(
        "Ordinal measures, means of three criteria, without lesion conspicuity",
        ["Method", *_ORDINAL.values()],
        _measured(run, methods, [(measure, "mean") for measure in _ORDINAL]),
    )
    yield table(
        "Lesions: found, and scored (higher is better)",
        ["Method", *_LESION.values()],
        _measured(run, methods, [("lesion", key) for key in _LESION]),
        note="As a lesion counts any score of lesion conspicuity, as no lesion its absence.",
    )
    yield from _confusion(run)
    probable = [method for method in methods if "rps" in run.metrics["evaluate"][method]]
    if probable:
        yield table(
            "Calibration of probabilities (lower is better)",
            ["Method", *_CALIBRATION.values()],
            _measured(run, probable, list(_CALIBRATION)),
        )
    if (run.results.path / "fidelity.csv").is_file():
        yield _fidelity(run)


def audits(run: Run) -> Iterator[Html]:
    """Write the audits of the evaluation."""
    yield element(
        "p", "No patient and no slice is on two sides of the split; otherwise the evaluation would have stopped."
    )
    unread = _methods(run)
    rows = ([name_cell(method_name(m)), _metric(run, m, "unparsed")] for m in unread)
    yield table(
        "Share of scores that could not be read from a caption (lower is better)", ["Method", "Not readable"], rows,
        note="They count as wrong.",
    )  # fmt: skip
    guesses = run.results.table("estimates")
    guesses = guesses[guesses["measure"] == "variant_guess"]
    if len(guesses):
        chance = 1 / run.images["variant"].nunique()
        yield table(
            "Can the kind of an image be guessed from its four scores? Share guessed rightly on other patients",
            ["Scores of", "Guessed"],
            (
                [
                    name_cell(_scorer(run, row.method)),
                    estimate(
                        row.value, row.lower, row.upper, Place("results/estimates.csv", (str(row.Index), "value"))
                    ),
                ]
                for row in guesses.itertuples()
            ),
            note=f"Chance is {chance:.3f}. Far above the reader's own: the method may know the kind of image, not its quality.",
        )
    levels = run.results.table("levels") if (run.results.path / "levels.csv").is_file() else pd.DataFrame()
    if len(levels):
        yield _levels(run, levels)


def other_metrics(run: Run) -> Html:
    """List the numbers of the other stages, as their files have them."""
    rows = []
    for name in OTHER_METRICS:
        for keys, value in _leaves(run.metrics.get(name, {})):
            file = f"metrics/{name}.json"
            cell = element("td", value) if isinstance(value, str | bool) else number(value, Place(file, keys), digits=4)
            rows.append([name_cell(file), element("td", " / ".join(keys)), cell])
    return table("Numbers that other stages track", ["File", "Number", "Value"], rows)


def _scorer(run: Run, name: str) -> str:
    return source_name(run.score_source) if name == "reader" else method_name(name)


def _methods(run: Run) -> list[str]:
    return [
        method
        for method in dict.fromkeys(run.results.table("estimates")["method"])
        if method in run.metrics["evaluate"]
    ]


def _measured(run: Run, methods: Sequence[str], places: Sequence[tuple[str, str]]) -> Iterator[list[Html]]:
    for method in methods:
        yield [name_cell(method_name(method)), *(_metric(run, method, *place) for place in places)]


def _metric(run: Run, *keys: str) -> Html:
    """Write the cell of one entry of ``metrics/evaluate.json``, keys from method on, with its interval if it has one."""
    found = _entry(run.metrics["evaluate"], keys)
    if found is None:
        return element("td", ABSENT, class_="absent")
    method, *rest = keys
    interval = _entry(run.metrics["evaluate"], (method, "interval", *rest)) or {}
    return estimate(
        found, interval.get("lower", float("nan")), interval.get("upper", float("nan")), Place(_EVALUATE, keys)
    )


def _entry(node: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    return node


def _leaves(node: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, (*keys, key))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _leaves(value, (*keys, str(place)))
    else:
        yield keys, node


def _rivals(run: Run) -> Html:
    rows = run.results.table("rivals")
    rows = rows[(rows["measure"] == "accuracy") & (rows["key"] == "mean")]
    patients = int(run.metrics["evaluate"]["n_patients"])
    lines = []
    for row in rows.itertuples():
        place = Place(_EVALUATE, (row.rival, "behind_iqagpt", "difference"))
        p = [
            number(
                getattr(row, name),
                Place(_EVALUATE, (row.rival, "behind_iqagpt", name)),
                text=f"{getattr(row, name):.3g}",
            )
            if pd.notna(getattr(row, name))
            else element("td", ABSENT, class_="absent")
            for name in ("p", "p_holm")
        ]
        lines.append([name_cell(method_name(row.rival)), estimate(row.difference, row.lower, row.upper, place), *p])
    return table(
        "IQAGPT less each rival: mean accuracy (above 0: IQAGPT is better)",
        ["Rival", "Difference", "p", "p, Holm"],
        lines,
        note=f"p: exact sign-flip test over {patients} patients, two-sided. Holm: over rivals that are not told the kind of image.",
    )


def _confusion(run: Run) -> Iterator[Html]:
    counts = run.results.table("confusion_matrices")
    own = counts[counts["method"] == "iqagpt"]
    blocks, whose = [], source_name(run.score_source)
    for criterion in CRITERIA:
        rows = own[own["criterion"] == criterion.key].astype({"truth": str, "predicted": str})
        classes = sorted({*rows["truth"], *rows["predicted"]})
        places = {(row.truth, row.predicted): row for row in rows.itertuples()}
        lines = []
        for truth in classes:
            cells = [places.get((truth, predicted)) for predicted in classes]
            lines.append([name_cell(truth), *(_count(cell) for cell in cells)])
        blocks.append(table(TITLES[criterion.key], ["", *classes], lines, sortable=False))
    yield element("h3", f"Images by score of the {whose} (rows) and of IQAGPT (columns), 1 best, 4 worst")
    yield element("div", blocks, class_="beside")


def _count(row: Any) -> Html:
    if row is None:
        return element("td", "0")
    place = Place("results/confusion_matrices.csv", (str(row.Index), "images"))
    return number(row.images, place, digits=0, class_="right" if row.truth == row.predicted else None)


def _fidelity(run: Run) -> Html:
    rows = run.results.table("fidelity")
    lines = (
        [
            name_cell(variant_name(row.variant)),
            *(number(getattr(row, name), Place("results/fidelity.csv", (str(row.Index), name))) for name in _FIDELITY),
        ]
        for row in rows.itertuples()
    )
    return table(
        "Likeness to NDCT by image quality, means inside the display window",
        ["Image quality", *_FIDELITY.values()],
        lines,
        note="These need the NDCT of the same slice, which no method here is given.",
    )


def _levels(run: Run, levels: pd.DataFrame) -> Html:
    steps = [column for column in levels if column.startswith("d") and column[1:].isdigit()]
    lines = []
    for row in levels.itertuples():
        cells = [
            number(getattr(row, name), Place("results/levels.csv", (str(row.Index), name)), digits=2)
            for name in (*steps, "rho")
        ]
        lines.append(
            [
                name_cell(_scorer(run, row.method)),
                element("td", SHORT[row.criterion]),
                *cells,
                element("td", row.direction),
            ]
        )
    return table(
        "Do scores follow the level d of MAP-NN(d)? Mean score at each level (1 best, 4 worst)",
        ["Scores of", "Criterion", *(f"d = {step[1:]}" for step in steps), "rho", "Monotone"],
        lines,
        note="rho: mean over slices of Spearman's correlation of score and d.",
    )
