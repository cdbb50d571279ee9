"""Tables 1 to 4 of the paper: this run with intervals, and the printed figures beside them."""

from collections.abc import Iterator

import pandas as pd

from iqagpt.agreement.bootstrap import FEW
from iqagpt.criteria import ALWAYS_SCORED, CRITERIA, KEYS
from iqagpt.evaluation.names import method_name, source_name, variant_name
from iqagpt.page.contents import Run
from iqagpt.page.grid import ABSENT, UNDEFINED, Place, estimate, name_cell, table
from iqagpt.page.markup import Html, element

TITLES = {criterion.key: criterion.title for criterion in CRITERIA} | {"mean": "Mean"}
_TEXT = {
    "bleu_1": "BLEU-1", "bleu_2": "BLEU-2", "bleu_3": "BLEU-3", "bleu_4": "BLEU-4", "meteor": "METEOR",
    "rouge_l": "ROUGE-L", "cider": "CIDEr",
}  # fmt: skip
_MEASURES = {"accuracy": "Accuracy", "plcc": "PLCC", "srocc": "SROCC"}
_ROLES = {
    "oracle": "oracle: told the image's kind, a bound and no rival", "floor": "floor", "trivial baseline": "trivial",
    "paper only": "paper only", "builtin weights": "builtin weights, far smaller than the published ones",
}  # fmt: skip
_EVALUATE = "metrics/evaluate.json"


def paper_tables(run: Run) -> Iterator[Html]:
    """Write Tables 1 to 4."""
    tables = {name: run.results.table(name) for name in ("table1", "table2", "table3", "table4")}
    whose = source_name(run.score_source)
    floor = (
        f"The floor gives every image the {whose}'s caption of another image." if _has_floor(tables["table1"]) else ""
    )
    yield table(
        "Table 1. Captions (higher is better)",
        ["Method", *_TEXT.values()],
        _rows(tables["table1"], tuple(_TEXT)),
        note=f"Captions follow one template, so text metrics are nearly a function of the scores' accuracy. {floor}",
    )
    yield table(
        "Table 2. Accuracy (higher is better)",
        ["Method", *(TITLES[key] for key in (*KEYS, "mean"))],
        _rows(tables["table2"], (*KEYS, "mean")),
    )
    yield table(
        f"Table 3. Correlation with the {whose}, PLCC and SROCC (higher is better)",
        ["Method", "Measure", *(TITLES[key] for key in (*ALWAYS_SCORED, "mean"))],
        _rows(tables["table3"], (*ALWAYS_SCORED, "mean"), measure=True),
        note="Without lesion conspicuity, as in the paper: most slices have no lesion.",
    )
    yield table(
        "Table 4. Accuracy of IQAGPT by image quality (higher is better)",
        ["Image quality", *(TITLES[key] for key in (*KEYS, "mean"))],
        _variant_rows(tables["table4"]),
    )


def reading_help(run: Run) -> Html:
    """Say what the cells of the tables hold, and plainly where patients are too few."""
    patients = int(run.metrics["evaluate"]["n_patients"])
    cells = (
        "Each cell: this run [95 % interval, resampling patients], and the paper's printed figure; of means also what "
        f"the paper's own rows average to, where that differs. {ABSENT}: not measured here. {UNDEFINED}: a correlation "
        "with a constant. Click a column to sort by it."
    )
    few = (
        f"Only {patients} test patient{'s' if patients > 1 else ''}: images of one patient are alike, so intervals and "
        f"tests can only resample patients. With fewer than {FEW} an interval is far too narrow, with one there is none. "
        "No difference between methods can be shown here."
    )
    return element("div", element("p", cells), element("p", few, class_="warning") if patients < FEW else None)


def _has_floor(rows: pd.DataFrame) -> bool:
    return bool((rows["role"] == "floor").any())


def _rows(rows: pd.DataFrame, columns: tuple[str, ...], *, measure: bool = False) -> Iterator[list[Html]]:
    for (method, name), group in rows.groupby(["method", "measure"] if measure else ["method", "role"], sort=False):
        role = group["role"].iloc[0]
        cells = group.set_index("measure" if group["criterion"].isna().all() else "criterion")
        line = [name_cell(method_name(method), _ROLES.get(role, ""))]
        line += [element("td", _MEASURES[name])] if measure else []
        for key in columns:
            row = cells.loc[key]
            kind = "captioning" if key in _TEXT else str(row.get("measure"))
            source = Place(_EVALUATE, (method, kind, key))
            if role == "floor":  # no method, so not in the metrics file
                source = Place("results/table1.csv", (str(group.index[list(columns).index(key)]), "here"))
            printed = [row["paper_printed"], row["paper_recomputed"]]
            absent = ABSENT if role == "paper only" else UNDEFINED
            line.append(estimate(row["here"], row["lower"], row["upper"], source, paper=printed, absent=absent))
        yield line


def _variant_rows(rows: pd.DataFrame) -> Iterator[list[Html]]:
    cells = rows.set_index(["variant", "criterion"])
    for variant in dict.fromkeys(rows["variant"]):
        line = [name_cell("Mean" if variant == "mean" else variant_name(variant))]
        for key in (*KEYS, "mean"):
            row = cells.loc[(variant, key)]
            place = Place("metrics/by_variant.json", ("iqagpt", variant, key))
            if variant == "mean":
                place = Place(_EVALUATE, ("iqagpt", "accuracy", key))
            printed = [row["paper_printed"], row["paper_recomputed"]]
            line.append(estimate(row["here"], row["lower"], row["upper"], place, paper=printed))
        yield line
