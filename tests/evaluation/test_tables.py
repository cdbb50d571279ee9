"""Tables 1 to 4: the paper's figure beside ours, recomputed means, roles, and the head."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.evaluation import paper
from iqagpt.evaluation.caption_totals import METRICS
from iqagpt.evaluation.comparison import SHUFFLED, Comparison, load_comparison
from iqagpt.evaluation.measurement import COLUMNS
from iqagpt.evaluation.tables import EvaluateParams, render, table4_rows, table_rows
from tests.evaluation.prediction_tables import METHODS, write_predictions

TEXT = dict.fromkeys(METRICS, 0.5)
FEW_PATIENTS = "TOO FEW PATIENTS: 1."
FOUR = dict.fromkeys((*KEYS, "mean"), 0.25)
THREE = dict.fromkeys((*ALWAYS_SCORED, "mean"), 0.75)
FULL: dict[str, Any] = {"captioning": TEXT, "accuracy": FOUR, "plcc": THREE, "srocc": THREE}
METHODS_HERE: dict[str, Any] = {
    **dict.fromkeys(("iqagpt", "vit_r", "majority_by_variant"), FULL),
    "majority": {**FULL, "plcc": dict.fromkeys(THREE, np.nan), "srocc": dict.fromkeys(THREE, np.nan)},
    SHUFFLED: {"captioning": dict.fromkeys(METRICS, 0.1)},
}
BY_VARIANT = {"red_cnn": FOUR, "ndct": FOUR, "custom": dict.fromkeys(FOUR, 1.0), "mean": dict.fromkeys(FOUR, 0.5)}


def estimates(methods: dict[str, Any], interval: float = np.nan) -> pd.DataFrame:
    rows = [
        (method, measure, key, value, value - interval, value + interval, "bca", 8, 1)
        for method, measures in methods.items()
        for measure, values in measures.items()
        for key, value in values.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return {**table_rows(estimates(METHODS_HERE)), "table4": table4_rows(estimates({"iqagpt": BY_VARIANT}))}


@pytest.fixture
def data(tmp_path: Path, scored_run: Path) -> Comparison:
    folder = write_predictions(tmp_path / "predictions", scored_run)
    return load_comparison(folder, scored_run / "captions", scored_run / "split", baselines=METHODS[1:], name="test")


def line(text: str, table: str, start: str) -> list[str]:
    part = text[text.index(f"## {table}.") :]
    row = next(row for row in part.splitlines() if row.startswith(f"| {start}"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_each_number_has_the_papers_beside_it(tables: dict[str, pd.DataFrame]) -> None:
    row = tables["table2"].set_index(["method", "criterion"]).loc[("iqagpt", "noise")]
    assert (row["here"], row["paper_printed"]) == (0.25, 0.765)
    mean = tables["table3"].set_index(["method", "measure", "criterion"]).loc[("vit_r", "srocc", "mean")]
    assert (mean["here"], mean["paper_printed"]) == (0.75, 0.519)
    assert mean["paper_recomputed"] == pytest.approx(0.4323, abs=1e-4)


def test_roles_tell_methods_baselines_oracle_and_floor(tables: dict[str, pd.DataFrame]) -> None:
    roles = dict(tables["table1"][["method", "role"]].drop_duplicates().to_numpy())
    assert roles == {
        "iqagpt": "method", "vit_r": "baseline", "majority": "trivial baseline", "majority_by_variant": "oracle",
        SHUFFLED: "floor", "minigpt4": "paper only",
    }  # fmt: skip
    assert set(tables["table2"]["method"]) == {"iqagpt", "vit_r", "majority", "majority_by_variant", "vit_c"}


def test_table_4_has_means_of_rows_and_columns(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["table4"].set_index(["variant", "criterion"])
    assert list(dict.fromkeys(tables["table4"]["variant"])) == ["ndct", "red_cnn", "custom", "mean"]
    assert table.loc[("red_cnn", "mean"), "paper_recomputed"] == pytest.approx(0.870)
    assert table.loc[("mean", "noise"), "paper_recomputed"] == pytest.approx(0.770)
    assert table.loc[("mean", "noise"), "here"] == pytest.approx(0.5)
    assert pd.isna(table.loc[("custom", "noise"), "paper_printed"])


def test_text_sets_here_printed_and_recomputed_side_by_side(data: Comparison, tables: dict[str, pd.DataFrame]) -> None:
    text = render(data, tables, {"iqagpt": 0.0})
    assert line(text, "Table 1", "iqagpt")[1] == "0.500 / 0.819"
    assert line(text, "Table 2", "iqagpt")[-1] == "0.250 / 0.702 / 0.703"
    assert line(text, "Table 3", "clip_iqa =")[1:] == [
        "PLCC",
        "- / 0.277",
        "- / 0.121",
        "- / 0.081",
        "- / 0.160 / 0.160",
    ]
    assert line(text, "Table 3", "majority (")[2] == "NA / -"
    assert line(text, "Table 4", "Mean")[1] == "0.500 / 0.765 / 0.770"
    assert line(text, "Table 4", "RED-CNN")[-1] == "0.250 / 0.840 / 0.870"


def test_oracle_and_floor_stand_apart_and_are_marked(data: Comparison, tables: dict[str, pd.DataFrame]) -> None:
    text = render(data, tables, {})
    first, bounds = text.split("Bounds, not baselines", 1)
    assert "majority_by_variant" not in first
    assert "| majority_by_variant (oracle)" in bounds
    assert f"| {SHUFFLED} (floor)" in bounds
    assert "| majority (trivial baseline)" in first


def test_head_says_what_the_numbers_are(data: Comparison, tables: dict[str, pd.DataFrame]) -> None:
    text = render(replace(data, data_source="synthetic phantom"), tables, {"iqagpt": 0.125, "vit_r": 0.0})
    head = text.split("## Table 1")[0]
    assert "SIMULATED reader, not a radiologist" in head
    assert "* Images: synthetic phantom" in head
    assert "test: 8 images, 2 slices, 1 patients" in head
    assert "1 (best) to 4 (worst)" in head
    assert "iqagpt 12.5%" in head
    assert "noise_sd" in head
    assert "not for diagnosis" in head


def test_builtin_weights_are_called_so(data: Comparison) -> None:
    small = data.predictions["vit_r"].assign(weights="builtin")
    other = data.predictions["majority"].assign(weights="0123abcd")
    data = replace(data, predictions=data.predictions | {"vit_r": small, "majority": other})
    assert data.builtin == ["vit_r"]
    tables = {
        **table_rows(estimates(METHODS_HERE), data.builtin),
        "table4": table4_rows(estimates({"iqagpt": BY_VARIANT})),
    }
    text = render(data, tables, {})
    assert (
        "* With `builtin` weights, far smaller than the published ones, of which their rank says little: vit_r\n"
        in text
    )
    assert "| vit_r = ViT-R (builtin weights)" in text


def test_a_real_readers_scores_are_not_called_simulated(data: Comparison, tables: dict[str, pd.DataFrame]) -> None:
    text = render(replace(data, truth=data.truth.assign(score_source="reader")), tables, {})
    assert "SIMULATED" not in text
    assert "a reader's own table" in text


def test_without_any_run_the_paper_alone_is_listed() -> None:
    tables = table_rows(estimates({"iqagpt": FULL}))
    methods = set(tables["table3"]["method"])
    assert methods == {name for name, parts in paper.PRINTED.items() if "plcc" in parts}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("vit_c", "vit_c"), "got vit_c repeatedly"),
        (("iqagpt",), "expected names of baselines"),
        (("../x",), "expected names of baselines"),
        (("",), "expected names of baselines"),
    ],
)
def test_params_refuse_names_that_cannot_be(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"baselines: .*{message}"):
        EvaluateParams(names, 2000, 1)


def test_params_refuse_too_few_draws() -> None:
    with pytest.raises(ValueError, match=r"draws: expected at least 100.*got 10"):
        EvaluateParams((), 10, 1)


def test_an_interval_stands_beside_its_number(data: Comparison) -> None:
    wide = table_rows(estimates(METHODS_HERE, 0.125)) | {
        "table4": table4_rows(estimates({"iqagpt": BY_VARIANT}, 0.125))
    }
    text = render(data, wide, {})
    assert line(text, "Table 1", "iqagpt")[1] == "0.500 [0.375, 0.625] / 0.819"
    assert line(text, "Table 3", "majority (")[2] == "NA / -"
    assert line(text, "Table 4", "RED-CNN")[-1] == "0.250 [0.125, 0.375] / 0.840 / 0.870"


def test_too_few_patients_are_a_plain_warning(data: Comparison, tables: dict[str, pd.DataFrame]) -> None:
    assert FEW_PATIENTS in render(data, tables, {})
    many = replace(data, truth=data.truth.assign(patient_id=[f"P{i}" for i in range(len(data.truth))]))
    text = render(many, tables, {})
    assert "TOO FEW" not in text
    assert "resample the 8 patients" in text
