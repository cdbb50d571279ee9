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
from iqagpt.errors import ArtifactError
from iqagpt.evaluation.comparison import (
    IQAGPT,
    SHUFFLED,
    Comparison,
    captioning,
    class_table,
    measure,
    measure_by_variant,
    score_table,
)
from iqagpt.evaluation.tables import render, table4_rows, table_rows

_CONTENT = {
    "tables.md": "Tables 1 to 4 beside the paper, for reading",
    "table1.csv": "Table 1: text metrics",
    "table2.csv": "Table 2: accuracy",
    "table3.csv": "Table 3: PLCC and SROCC",
    "table4.csv": "Table 4: accuracy of IQAGPT by image quality",
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
        As `metrics`, for val.
    floor : dict
        Text metrics of shuffled captions, test.
    """

    test: Comparison
    metrics: dict[str, Any]
    by_variant: dict[str, Any]
    val: dict[str, Any]
    floor: dict[str, float]


def evaluate(test: Comparison, val: Comparison) -> Results:
    """Measure every method on both splits.

    Raises
    ------
    ArtifactError
        If the test split has no image.
    """
    if not len(test.truth):
        raise ArtifactError("data/split: no test image; check split.test_patients in params.yaml and run dvc repro")
    text = captioning([test, val])
    return Results(
        test=test,
        metrics=measure(test, text["test"]),
        by_variant=measure_by_variant(test),
        val=measure(val, text["val"]),
        floor=text["test"][SHUFFLED],
    )


def write_results(path: Path, results: Results) -> None:
    """Write the folder ``results``."""
    tables = table_rows(results.metrics, results.floor)
    tables["table4"] = table4_rows(results.by_variant[IQAGPT])
    unparsed = {method: results.metrics[method]["unparsed"] for method in results.test.predictions}
    with create_artifact(path, "results") as writer:
        writer.info |= {"score_source": results.test.score_source, "split": results.test.split}
        writer.manifest(pd.DataFrame({"file": _CONTENT.keys(), "content": _CONTENT.values()}))
        for name, table in tables.items():
            writer.table(name, table)
        writer.table("scores", score_table(results.test))
        writer.table("confusion", class_table(results.test))
        writer.table("accuracy_by_variant", _by_variant_table(results.by_variant, list(results.test.predictions)))
        write_metrics(writer.path / "val.json", results.val)
        text = render(results.test, tables, unparsed)
        (writer.path / "tables.md").write_text(text, encoding="utf-8", newline="\n")


def _by_variant_table(by_variant: Mapping[str, Any], methods: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": method, "variant": variant, "criterion": key, "accuracy": value}
            for method in methods
            for variant, row in by_variant[method].items()
            for key, value in row.items()
        ]
    )
