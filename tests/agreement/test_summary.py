import numpy as np
import pandas as pd
import pytest

from iqagpt.agreement.summary import agreement_metrics, agreement_table, describe_table


def readings(values, criterion="noise"):
    """Make readings from an array, image by reader; -1: nothing to rate, NaN: not rated."""
    return pd.DataFrame([
        {"item": f"i{n}", "cluster": f"p{n // 2}", "reader": f"r{k}", "criterion": criterion,
         "score": np.nan if score < 0 else score, "absent": score < 0}
        for n, row in enumerate(values) for k, score in enumerate(row)
    ])  # fmt: skip


VALUES = np.array([[1, 1, 2], [2, 2, 2], [3, 4, 4], [4, 4, 3], [1, 2, 1], [2, 2, np.nan], [3, 3, 3], [4, 4, 4]])


def cell(table, criterion, readers, coefficient):
    row = table.query("criterion == @criterion and readers == @readers and coefficient == @coefficient")
    return row.iloc[0]


def test_three_readers_together_and_two_by_two():
    table = agreement_table(readings(VALUES), seed=1, replicates=200)
    assert len(table) == 6 + 3 * 3
    assert cell(table, "noise", "r0 / r1", "raw_agreement")["value"] == pytest.approx(6 / 8)
    assert cell(table, "noise", "r0 / r2", "raw_agreement")["images"] == 7
    assert cell(table, "noise", "all", "icc_2_1")["images"] == 7
    assert cell(table, "noise", "all", "krippendorff_alpha")["images"] == 8
    assert set(table["clusters"]) == {4}
    assert set(table["interval"]) == {"percentile"}


def test_two_readers_are_not_given_twice():
    assert set(agreement_table(readings(VALUES[:, :2]), seed=1, replicates=200)["readers"]) == {"all"}


def test_absence_is_compared_apart_from_the_scores():
    lesions = np.array([[-1, -1], [-1, 2], [2, 2], [3, 3], [4, 3], [np.nan, -1]])
    table = agreement_table(readings(lesions, "lesion"), seed=1, replicates=200)
    assert cell(table, "lesion", "all", "raw_agreement")[["value", "images"]].tolist() == [pytest.approx(2 / 3), 3]
    present = cell(table, "lesion_present", "all", "raw_agreement")
    assert present[["value", "images"]].tolist() == [pytest.approx(4 / 5), 5]
    assert cell(table, "lesion_present", "all", "kappa")["value"] == pytest.approx(6 / 11)


def test_order_of_rows_does_not_matter():
    rows = readings(VALUES)
    shuffled = rows.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        agreement_table(rows, seed=1, replicates=200), agreement_table(shuffled, seed=1, replicates=200)
    )


def test_metrics_hold_finite_values_only():
    constant = agreement_table(readings(np.full((6, 2), 3.0)), seed=1, replicates=200)
    assert agreement_metrics(constant) == {"noise": {"raw_agreement": 1.0}}
    assert "NA" in describe_table(constant, "patient_id")
    assert "as few as 3 different patient_id" in describe_table(constant, "patient_id")


def test_random_tables_with_gaps_and_absences():
    for seed in range(150):
        rng = np.random.default_rng(seed)
        values = rng.integers(1, rng.integers(2, 6), (int(rng.integers(1, 9)), int(rng.integers(2, 4)))).astype(float)
        values[rng.random(values.shape) < 0.2] = np.nan
        values[rng.random(values.shape) < 0.2] = -1
        table = agreement_table(readings(values), seed=seed, replicates=200)
        given = table.dropna(subset=["lower"])
        assert (given["lower"] <= given["upper"]).all()
        assert (table["value"].dropna() <= 1 + 1e-12).all()
        for by_coefficient in agreement_metrics(table).values():
            assert np.isfinite(list(by_coefficient.values())).all()
