"""Tables 1 to 4 of the paper, each figure beside the printed one, for reading (Markdown) and for reuse (CSV).

Means that the paper prints are given twice: as printed, and recomputed from the rows above them, because some of its
means do not follow from its rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from iqagpt.agreement.bootstrap import FEW
from iqagpt.criteria import ALWAYS_SCORED, CRITERIA, KEYS
from iqagpt.evaluation import paper
from iqagpt.evaluation.caption_totals import METRICS
from iqagpt.evaluation.comparison import IQAGPT, SHUFFLED, Comparison
from iqagpt.evaluation.rivals import smallest_p

#: Baselines that any method must beat to have seen anything.
TRIVIAL = ("noise_sd", "majority")
#: Told the image's kind (NDCT, LDCT, ...), which no other method is told: a bound, not a baseline.
ORACLES = ("majority_by_variant",)

_TITLES = {criterion.key: criterion.title for criterion in CRITERIA} | {"mean": "Mean"}
_TEXT_TITLES = dict(zip(METRICS, ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"), strict=True))
_MEASURES = {"accuracy": "accuracy", "plcc": "PLCC", "srocc": "SROCC"}
_ABSENT, _UNDEFINED = "-", "NA"

#: By method, measure and key, a row with value, lower, upper and images.
Numbers = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class EvaluateParams:
    """Section ``evaluate``.

    Attributes
    ----------
    baselines : tuple of str
        Methods to compare with IQAGPT; each is a stage ``baseline@NAME``.
    draws : int
        Resampled sets of patients for every 95 % interval, at least 100.
    seed : int
        Of these draws.
    """

    baselines: tuple[str, ...]
    draws: int
    seed: int

    def __post_init__(self) -> None:
        for name in self.baselines:
            if not name.isidentifier() or name == IQAGPT:
                raise ValueError(f"baselines: expected names of baselines such as vit_c, got {name!r}")
        repeated = {name for name in self.baselines if self.baselines.count(name) > 1}
        if repeated:
            raise ValueError(f"baselines: expected each name once, got {', '.join(sorted(repeated))} repeatedly")
        if self.draws < 100:
            raise ValueError(f"draws: expected at least 100 (2000 for results to print), got {self.draws}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")


def table_rows(estimates: pd.DataFrame, builtin: Sequence[str] = ()) -> dict[str, pd.DataFrame]:
    """Return Tables 1 to 3 as long tables, one row per method and number.

    Parameters
    ----------
    estimates : DataFrame
        From `iqagpt.evaluation.measurement.interval_table`.
    builtin : sequence of str
        Methods that rest on this package's small frozen models.

    Returns
    -------
    dict
        ``table1`` to ``table3``: ``method, role, measure, criterion, here, lower, upper, images, paper_printed,
        paper_recomputed``, with missing values where a number is undefined, was not measured here, or is not in the paper.
    """
    here: Numbers = {}
    for row in estimates.itertuples():
        here.setdefault(row.method, {}).setdefault(row.measure, {})[row.key] = row
    columns = {
        "table1": {"captioning": METRICS},
        "table2": {"accuracy": (*KEYS, "mean")},
        "table3": {"plcc": (*ALWAYS_SCORED, "mean"), "srocc": (*ALWAYS_SCORED, "mean")},
    }
    return {
        name: pd.DataFrame(
            [
                row
                for method in _methods(here, measures)
                for measure, keys in measures.items()
                for row in _method_rows(here, method, measure, keys, builtin)
            ]
        )
        for name, measures in columns.items()
    }


def table4_rows(cells: pd.DataFrame) -> pd.DataFrame:
    """Return Table 4 as a long table, one row per variant and criterion, means included.

    Parameters
    ----------
    cells : DataFrame
        IQAGPT's accuracy: `iqagpt.evaluation.measurement.interval_table` of its `variant_estimates`.
    """
    here = cells.set_index(["measure", "key"])
    found = list(dict.fromkeys(cells["measure"]))
    known = [variant for variant in paper.VARIANT_NAMES if variant in found]
    variants = [*known, *(variant for variant in found if variant not in (*known, "mean")), "mean"]
    recomputed = paper.recomputed_by_variant()
    return pd.DataFrame(
        [
            {
                "variant": variant,
                "criterion": key,
                **_numbers(here.loc[(variant, key)]),
                "paper_printed": paper.PRINTED_BY_VARIANT.get(variant, {}).get(key),
                "paper_recomputed": recomputed.get(variant, {}).get(key),
            }
            for variant in variants
            for key in _TITLES
            if (variant, key) in here.index
        ]
    )


def render(data: Comparison, tables: Mapping[str, pd.DataFrame], unparsed: Mapping[str, float]) -> str:
    """Write all tables as one Markdown text, readable as plain text as well.

    Parameters
    ----------
    data : Comparison
        What was compared; the head states its size and source.
    tables : mapping
        ``table1`` to ``table4``, from `table_rows` and `table4_rows`.
    unparsed : mapping
        Share of unreadable scores by method.
    """
    parts = [
        "# IQAGPT beside the paper\n",
        *_head(data, unparsed),
        "Cells: here [95 % interval, resampling patients] / paper. Means: here / paper as printed / paper recomputed "
        "from its own rows. "
        f"`{_ABSENT}`: not in the paper, or not measured here. "
        f"`{_UNDEFINED}`: undefined (correlation with a constant).\n",
        few_patients(data) + "\n",
        "## Table 1. Captions (higher is better)\n",
        *_sections(tables["table1"], _TEXT_TITLES),
        "Captions follow one template, so text metrics are nearly a function of the scores' accuracy. The floor "
        f"({SHUFFLED}) gives every image the reader's caption of another image.\n",
        "## Table 2. Accuracy (higher is better)\n",
        *_sections(tables["table2"], _TITLES),
        "## Table 3. PLCC and SROCC (higher is better)\n",
        *_sections(tables["table3"], {key: _TITLES[key] for key in (*ALWAYS_SCORED, "mean")}),
        "Without lesion conspicuity, as in the paper: most slices have no lesion.\n",
        "## Table 4. Accuracy of IQAGPT by image quality (higher is better)\n",
        _table4(tables["table4"]),
    ]
    return "\n".join(parts)


def few_patients(data: Comparison) -> str:
    """Say from how many patients the intervals come, and plainly where these are too few."""
    patients = data.truth["patient_id"].nunique()
    if patients >= FEW:
        return f"Intervals and tests resample the {patients} patients: images of one patient are alike."
    return (
        f"**TOO FEW PATIENTS: {patients}.** Images of one patient are alike, so intervals and tests can only resample "
        f"patients. With fewer than {FEW} an interval is far too narrow, with one there is none. No difference "
        "between methods can be shown here; the smallest p value that the test over patients can give is "
        f"{smallest_p(patients):.3g}. `iqagpt folds` gathers a cross-validation over all patients."
    )


def _head(data: Comparison, unparsed: Mapping[str, float]) -> Iterator[str]:
    truth = data.truth
    reader = {"simulated": "SIMULATED reader, not a radiologist", "reader": "a reader's own table"}
    yield f"* Scores to match (score_source): {reader.get(data.score_source, data.score_source)}"
    yield f"* Images: {data.data_source}"
    patients = truth["patient_id"].nunique()
    yield f"* {data.split}: {len(truth)} images, {truth['slice_id'].nunique()} slices, {patients} patients"
    if data.folds > 1:
        yield f"* Cross-validation: each of {data.folds} folds is predicted by models that were fitted without its patients"
    unasked = [_TITLES[key] for key in KEYS if key not in data.criteria]
    if unasked:
        yield (
            f"* Not scored by the readers, and in no number but those of Table 1: {', '.join(unasked)}. Its phrase is the same in "
            "every caption, which flatters Table 1; the paper's means have it, those here do not"
        )
    yield "* Paper: 200 images, 25 slices, 2 patients of the AAPM data, one radiologist"
    further = [variant for variant in truth["variant"].unique() if variant not in paper.VARIANT_NAMES]
    if further:
        yield f"* Image qualities that are not in the paper, in all numbers here: {', '.join(further)}"
    yield "* Scores run from 1 (best) to 4 (worst)"
    unread = ", ".join(f"{method} {rate:.1%}" for method, rate in unparsed.items() if rate)
    yield f"* Scores that could not be read from a caption (counted as wrong): {unread or 'none'}"
    if data.builtin:
        names = ", ".join(data.builtin)
        yield f"* With `builtin` weights, far smaller than the published ones, of which their rank says little: {names}"
    absent = [name for name in TRIVIAL if name not in data.predictions]
    if absent:
        yield f"* Not enabled in evaluate.baselines, though any result should be seen beside it: {', '.join(absent)}"
    yield "* Research use only; not for diagnosis\n"


def _methods(here: Numbers, measures: Mapping[str, Any]) -> list[str]:
    names = [*here, *(name for name in paper.PRINTED if name not in here)]
    numbers = {name: {**paper.PRINTED.get(name, {}), **here.get(name, {})} for name in names}
    return [name for name in names if any(measure in numbers[name] for measure in measures)]


def _method_rows(
    here: Numbers, method: str, measure: str, keys: Sequence[str], builtin: Sequence[str]
) -> Iterator[dict[str, Any]]:
    printed = paper.PRINTED.get(method, {}).get(measure, {})
    for key in keys:
        yield {
            "method": method,
            "role": "builtin weights" if method in builtin else _role(method, method in here),
            "measure": key if measure == "captioning" else measure,
            "criterion": None if measure == "captioning" else key,
            **_numbers(here.get(method, {}).get(measure, {}).get(key)),
            "paper_printed": printed.get(key),
            "paper_recomputed": paper.recomputed_mean(printed) if key == "mean" and printed else None,
        }


def _numbers(found: Any) -> dict[str, Any]:
    if found is None:
        return dict.fromkeys(("here", "lower", "upper", "images"))
    return {"here": found.value, "lower": found.lower, "upper": found.upper, "images": found.images}


def _role(method: str, here: bool) -> str:
    if method == SHUFFLED:
        return "floor"
    if method in ORACLES:
        return "oracle"
    if not here:
        return "paper only"
    return "method" if method == IQAGPT else "trivial baseline" if method in TRIVIAL else "baseline"


def _sections(table: pd.DataFrame, columns: Mapping[str, str]) -> Iterator[str]:
    bound = table["role"].isin(["oracle", "floor"])
    yield markdown(_grid(table[~bound], columns))
    if bound.any():
        yield "Bounds, not baselines (an oracle is told the image's kind):\n"
        yield markdown(_grid(table[bound], columns))


def _grid(table: pd.DataFrame, columns: Mapping[str, str]) -> list[list[str]]:
    correlation = table["measure"].isin(["plcc", "srocc"]).any()
    grid = [["Method", *(["Measure"] if correlation else []), *columns.values()]]
    by = ["method", "measure"] if correlation else ["method"]
    for _, rows in table.groupby(by, sort=False):
        cells = rows.set_index("measure" if rows["criterion"].isna().all() else "criterion")
        first = rows.iloc[0]
        line = [_label(first["method"], first["role"])]
        line += [_MEASURES[first["measure"]]] if correlation else []
        grid.append(line + [_cell(cells.loc[key], key == "mean") for key in columns])
    return grid


def _label(method: str, role: str) -> str:
    name = f"{method} = {paper.NAMES[method]}" if method in paper.NAMES else method
    return name if role in ("method", "baseline") else f"{name} ({role})"


def _cell(row: pd.Series, mean: bool) -> str:
    names = ("paper_printed", "paper_recomputed") if mean else ("paper_printed",)
    absent = _ABSENT if row.get("role") == "paper only" or pd.isna(row["images"]) else _UNDEFINED
    return " / ".join(
        [with_interval(row["here"], row["lower"], row["upper"], absent), *(_number(row[name]) for name in names)]
    )


def with_interval(value: float, lower: float, upper: float, absent: str = _UNDEFINED) -> str:
    """Write a number with its interval, ``0.770 [0.741, 0.801]``."""
    if pd.isna(value):
        return absent
    return f"{value:.3f}" + ("" if pd.isna(lower) else f" [{lower:.3f}, {upper:.3f}]")


def _number(value: float) -> str:
    return _ABSENT if pd.isna(value) else f"{value:.3f}"


def _table4(table: pd.DataFrame) -> str:
    cells = table.set_index(["variant", "criterion"])
    variants = list(dict.fromkeys(table["variant"]))
    grid = [["Image quality", *_TITLES.values()]]
    for variant in variants:
        line = [paper.VARIANT_NAMES.get(variant, "Mean" if variant == "mean" else variant)]
        grid.append(
            line
            + [
                _cell(cells.loc[(variant, key)], "mean" in (variant, key)) if (variant, key) in cells.index else _ABSENT
                for key in _TITLES
            ]
        )
    return markdown(grid)


def markdown(grid: list[list[str]]) -> str:
    """Write rows of cells, the first being the head, as a Markdown table with aligned columns."""
    widths = [max(len(line[column]) for line in grid) for column in range(len(grid[0]))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in grid]
    rule = ["-" * width for width in widths]
    return "".join(f"| {' | '.join(line)} |\n" for line in (padded[0], rule, *padded[1:]))
