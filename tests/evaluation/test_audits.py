"""Audits: leaks stop the evaluation, known answers for guessing the variant and for levels."""

import numpy as np
import pandas as pd
import pytest

from iqagpt.criteria import KEYS
from iqagpt.errors import ArtifactError
from iqagpt.evaluation.audits import READER, check_disjoint, guess_estimates, level_table
from tests.evaluation.scored_tables import VARIANTS, reader

TRUTH = reader()


def constant() -> pd.DataFrame:
    return TRUTH.assign(**dict.fromkeys(KEYS, 2.0), unparsed="")


def test_a_patient_or_a_slice_on_two_sides_is_an_error() -> None:
    table = pd.DataFrame(
        {"slice_id": ["a", "b", "c"], "patient_id": ["P1", "P2", "P1"], "split": ["train", "test", "test"]}
    )
    with pytest.raises(ArtifactError, match="patient_id 'P1' is in test and train"):
        check_disjoint(table)
    check_disjoint(table.assign(split=["train", "test", "train"]))
    with pytest.raises(ArtifactError, match="slice_id 'a'"):
        check_disjoint(table.assign(patient_id=["P1", "P2", "P3"], slice_id=["a", "b", "a"]))


def test_scores_that_name_the_variant_are_found_out_and_constant_ones_are_not() -> None:
    telling = TRUTH.assign(**{key: TRUTH["variant"].map(VARIANTS.index) * 0.7 + 1 for key in KEYS})
    found = {
        m: e["variant_guess", "accuracy"].value
        for m, e in guess_estimates(TRUTH, {"t": telling, "c": constant()}).items()
    }
    assert found["t"] == 1
    assert found["c"] <= 1 / len(VARIANTS) + 1e-9
    assert found["c"] < found[READER] < 1


def test_nothing_is_guessed_from_one_variant_or_one_slice() -> None:
    one = TRUTH[TRUTH["variant"] == "ndct"]
    assert guess_estimates(one, {}) == {}
    assert guess_estimates(TRUTH[TRUTH["slice_id"] == "P0_0"], {}) == {}


def test_levels_rise_fall_or_neither() -> None:
    level = TRUTH["variant"].str.extract(r"_d(\d)", expand=False).astype(float)
    falling = TRUTH.assign(**{key: 4 - level for key in KEYS})
    neither = TRUTH.assign(**{key: np.where(level == 2, 4.0, 2.0) for key in KEYS})
    table = level_table(TRUTH, {"f": falling, "n": neither, "c": constant()}).set_index(["method", "criterion"])
    assert table.loc[("f", "noise"), ["direction", "rho", "d1", "d3"]].tolist() == ["falling", -1, 3, 1]
    assert table.loc[("n", "noise"), "direction"] == "no"
    assert table.loc[("c", "noise"), "direction"] == "constant"
    assert np.isnan(table.loc[("c", "noise"), "rho"])
    means = TRUTH[TRUTH["variant"] == "map_nn_d2"]["noise"].mean()
    assert table.loc[(READER, "noise"), "d2"] == pytest.approx(means)


def test_without_levels_there_is_no_table() -> None:
    assert level_table(TRUTH[TRUTH["variant"] == "ldct"], {}).empty
