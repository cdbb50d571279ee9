"""The folder ``results``: the paper's tables, and the tables that ``dvc plots`` draws.

``tables.md`` is for reading, ``table1.csv`` to ``table4.csv`` for reuse; ``scores.csv``, ``confusion.csv`` and
``accuracy_by_variant.csv`` suit DVC's scatter, confusion and bar templates; ``val.json`` holds the metrics of val.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from iqagpt.artifacts import create_artifact, write_metrics
from iqagpt.criteria import KEYS
from iqagpt.errors import ArtifactError
from iqagpt.evaluation import fidelity
from iqagpt.evaluation.audits import level_table
from iqagpt.evaluation.calibration import reliability_table
from iqagpt.evaluation.comparison import IQAGPT, Comparison, captioning, class_table, score_table
from iqagpt.evaluation.measurement import (
    collect,
    interval_table,
    measure_by_variant,
    metrics_of,
    val_metrics,
    variant_estimates,
)
from iqagpt.evaluation.ordinal import confusion_table
from iqagpt.evaluation.rivals import compare_rivals, right_by_patient
from iqagpt.evaluation.statistics_text import render_statistics
from iqagpt.evaluation.tables import ORACLES, EvaluateParams, render, table4_rows, table_rows

_CONTENT = {
    "tables.md": "Tables 1 to 4 beside the paper, and all statistics, for reading",
    "table1.csv": "Table 1: text metrics",
    "table2.csv": "Table 2: accuracy",
    "table3.csv": "Table 3: PLCC and SROCC",
    "table4.csv": "Table 4: accuracy of IQAGPT by image quality",
    "estimates.csv": "every number of every method, with interval and denominators, test",
    "rivals.csv": "IQAGPT less each rival, with intervals and tests, test",
    "patients.csv": "images and right scores by method and patient, test",
    "confusion_matrices.csv": "true and predicted classes of every method, counted, test",
    "reliability.csv": "reliability curves of methods that give probabilities, test",
    "levels.csv": "mean scores by level of MAP-NN, test",
    "fidelity.csv": "PSNR, SSIM and RMSE against NDCT by image quality, test",
    "fidelity_correlations.csv": "their correlation with the reader's scores, test",
    "scores.csv": "true and predicted scores of IQAGPT, test",
    "confusion.csv": "true and predicted classes of IQAGPT, test",
    "accuracy_by_variant.csv": "accuracy of every method by image quality, test",
    "val.json": "metrics of all methods on val",
}


@dataclass(frozen=True)
class Results:
    """All metrics of one run.

    Attributes
    ----------
    test : Comparison
    metrics, by_variant : dict
        Content of ``metrics/evaluate.json`` and ``metrics/by_variant.json``.
    val : dict
        As `metrics`, for val, without intervals.
    tables : dict of str to DataFrame
        Tables of the folder ``results`` by name.
    """

    test: Comparison
    metrics: dict[str, Any]
    by_variant: dict[str, Any]
    val: dict[str, Any]
    tables: dict[str, pd.DataFrame]


def evaluate(
    test: Comparison, val: Comparison, settings: EvaluateParams, near_ndct: pd.DataFrame | None = None
) -> Results:
    """Measure every method on both splits.

    Parameters
    ----------
    test, val : Comparison
    settings : EvaluateParams
    near_ndct : DataFrame, optional
        From `iqagpt.evaluation.fidelity.load_fidelity`, for test.

    Raises
    ------
    ArtifactError
        If the test split has no image.
    """
    if not len(test.truth):
        raise ArtifactError("data/split: no test image; check split.test_patients in params.yaml and run dvc repro")
    options = {"draws": settings.draws, "seed": settings.seed}
    text = captioning([test, val])
    found = collect(test, text["test"])
    estimates = interval_table(found, test, **options)
    unasked = [key for key in KEYS if key not in test.criteria]
    patients = {
        method: right_by_patient(test.truth, table).drop(columns=unasked) for method, table in test.predictions.items()
    }
    right = {method: table.drop(columns=["patient_id", "images"]).sum(axis=1) for method, table in patients.items()}
    rivals = compare_rivals(
        {method: found[method] for method in test.predictions},
        {method: counts.to_numpy() for method, counts in right.items()},
        method=IQAGPT, oracles=ORACLES, **options,
    )  # fmt: skip
    cells = interval_table({IQAGPT: variant_estimates(test, IQAGPT)}, test, **options)
    tables = table_rows(estimates, test.builtin) | {
        "table4": table4_rows(cells),
        "estimates": estimates,
        "rivals": rivals,
        "patients": pd.concat([table.assign(method=m) for m, table in patients.items()], ignore_index=True),
        "confusion_matrices": _asked(confusion_table(test.truth, test.predictions), test),
        "reliability": _asked(reliability_table(test.truth, test.predictions), test),
        "levels": level_table(test.truth, test.predictions),
    }
    if near_ndct is not None:
        tables["fidelity"] = fidelity.by_variant(test.truth, near_ndct)
        tables["fidelity_correlations"] = fidelity.correlation_table(test.truth, near_ndct, **options)
    return Results(
        test=test,
        metrics=metrics_of(test, estimates, rivals),
        by_variant=measure_by_variant(test),
        val=val_metrics(val, text["val"]),
        tables=tables,
    )


def write_results(path: Path, results: Results) -> None:
    """Write the folder ``results``."""
    tables = results.tables | {
        "scores": score_table(results.test),
        "confusion": class_table(results.test),
        "accuracy_by_variant": _by_variant_table(results.by_variant, list(results.test.predictions)),
    }
    unparsed = {method: results.metrics[method]["unparsed"] for method in results.test.predictions}
    with create_artifact(path, "results") as writer:
        writer.info |= {"score_source": results.test.score_source, "split": results.test.split}
        content = {name: text for name, text in _CONTENT.items() if not name.endswith(".csv") or name[:-4] in tables}
        writer.manifest(pd.DataFrame({"file": content.keys(), "content": content.values()}))
        for name, table in tables.items():
            writer.table(name, table)
        write_metrics(writer.path / "val.json", results.val)
        text = render(results.test, tables, unparsed) + render_statistics(results.test, tables, results.metrics)
        (writer.path / "tables.md").write_text(text, encoding="utf-8", newline="\n")


def _asked(table: pd.DataFrame, data: Comparison) -> pd.DataFrame:
    return table[table["criterion"].isin(data.criteria)].reset_index(drop=True)


def _by_variant_table(by_variant: Mapping[str, Any], methods: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": method, "variant": variant, "criterion": key, "accuracy": value}
            for method in methods
            for variant, row in by_variant[method].items()
            for key, value in row.items()
        ]
    )
