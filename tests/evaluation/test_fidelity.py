"""PSNR, SSIM and RMSE beside scores: rows aligned, means and correlations as by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from iqagpt.artifacts import create_artifact
from iqagpt.evaluation.fidelity import MEASURES, by_variant, correlation_table, load_fidelity
from tests.evaluation.scored_tables import reader

TRUTH = reader()


@pytest.fixture
def variants(tmp_path: Path) -> Path:
    table = TRUTH[TRUTH["variant"] != "ndct"].iloc[::-1]
    rng = np.random.default_rng(0)
    values = {"psnr_db": 40 - 3 * table["noise"] + rng.normal(0, 1, len(table)), "ssim": 0.9, "rmse_hu": table["noise"]}
    with create_artifact(tmp_path / "variants", "variants") as writer:
        writer.table("fidelity", table[["image_id", "slice_id", "variant"]].assign(**values))
    return tmp_path / "variants"


def test_rows_follow_the_truth_and_ndct_has_none(variants: Path) -> None:
    found = load_fidelity(variants, TRUTH)
    other = (TRUTH["variant"] != "ndct").to_numpy()
    assert found["rmse_hu"][other].tolist() == TRUTH["noise"][other].tolist()
    assert found[~other].isna().all(axis=None)
    means = by_variant(TRUTH, found).set_index("variant")
    assert "ndct" not in means.index
    expected = TRUTH.loc[TRUTH["variant"] == "ldct", "noise"].mean()
    assert means.loc["ldct", ["rmse_hu", "images"]].tolist() == [pytest.approx(expected), 16]


def test_correlations_are_scipys_and_undefined_ones_are_missing(variants: Path) -> None:
    found = load_fidelity(variants, TRUTH)
    table = correlation_table(TRUTH, found, draws=200, seed=1).set_index(["fidelity", "criterion", "measure"])
    assert len(table) == len(MEASURES) * 4 * 2
    other = (TRUTH["variant"] != "ndct").to_numpy()
    expected = stats.spearmanr(found["psnr_db"][other], TRUTH["noise"][other]).statistic
    row = table.loc[("psnr_db", "noise", "srocc")]
    assert row["value"] == pytest.approx(expected)
    assert row["lower"] < row["value"] < row["upper"] < 0
    assert row["images"] == other.sum()
    assert table.loc[("rmse_hu", "noise", "plcc"), "value"] == pytest.approx(1)
    assert np.isnan(table.loc[("ssim", "noise", "plcc"), "value"])
    lesions = other & TRUTH["lesion_conspicuity"].notna().to_numpy()
    assert table.loc[("psnr_db", "lesion_conspicuity", "plcc"), "images"] == lesions.sum()


def test_variants_without_a_reference_have_none(tmp_path: Path) -> None:
    with create_artifact(tmp_path / "variants", "variants") as writer:
        writer.manifest(pd.DataFrame({"image_id": ["a"]}))
    assert load_fidelity(tmp_path / "variants", TRUTH) is None
