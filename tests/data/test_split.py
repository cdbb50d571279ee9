"""Splitting by patient; trap 11 of the AAPM data."""

import numpy as np
import pandas as pd
import pytest

from iqagpt.data.split import SplitParams, check_no_shared_slices, split_patients, split_table
from iqagpt.errors import ArtifactError, ParamsError

CHALLENGE = ["L067", "L096", "L109", "L143", "L192", "L286", "L291", "L310", "L333", "L506"]


def sides(params, patients=CHALLENGE):
    result = split_patients(patients, SplitParams(*params))
    return {side: [p for p in result if result[p] == side] for side in ("train", "val", "test")}


def test_last_fold_is_the_paper_s():
    assert sides((2, 0, 4)) == {"train": CHALLENGE[:8], "val": [], "test": ["L333", "L506"]}


def test_val_precedes_test_cyclically():
    assert sides((2, 1, 4))["val"] == ["L310"]
    assert sides((2, 2, 0)) == {"train": CHALLENGE[2:8], "val": ["L333", "L506"], "test": ["L067", "L096"]}


def test_every_patient_tests_once_over_the_folds():
    tested = [patient for fold in range(5) for patient in sides((2, 1, fold))["test"]]
    assert tested == CHALLENGE


def test_order_and_repetition_do_not_matter():
    assert split_patients(CHALLENGE[::-1] * 3, SplitParams(2, 1, 3)) == split_patients(CHALLENGE, SplitParams(2, 1, 3))


def test_trap_11_a_patient_is_on_one_side():
    manifest = pd.DataFrame(
        {"slice_id": [f"{p}_{k:03d}" for p in CHALLENGE for k in range(3)], "patient_id": np.repeat(CHALLENGE, 3)}
    )
    table = split_table(manifest, split_patients(manifest["patient_id"], SplitParams(2, 1, 4)))
    assert list(table.columns) == ["slice_id", "patient_id", "split"]
    assert len(table[["patient_id", "split"]].drop_duplicates()) == 10
    assert table["split"].value_counts().to_dict() == {"train": 21, "test": 6, "val": 3}


def test_125_pairs_are_100_and_25():
    manifest = pd.DataFrame({"patient_id": np.repeat(CHALLENGE, [12, 13] * 5)})
    manifest["slice_id"] = manifest.index.astype(str)
    table = split_table(manifest, split_patients(manifest["patient_id"], SplitParams(2, 0, 4)))
    assert table["split"].value_counts().to_dict() == {"train": 100, "test": 25}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_patients(count):
    with pytest.raises(
        ParamsError, match=rf"split\.test_patients: 2 test, 1 val .* need 4 patients.*there are {count}"
    ):
        sides((2, 1, 0), CHALLENGE[:count])


def test_fold_out_of_range():
    with pytest.raises(ParamsError, match=r"split\.fold: expected 0 to 4 for 10 patients .* got 5"):
        sides((2, 1, 5))


@pytest.mark.parametrize(
    ("values", "name"), [((0, 1, 0), "test_patients"), ((1, -1, 0), "val_patients"), ((1, 0, -1), "fold")]
)
def test_params_are_checked(values, name):
    with pytest.raises(ValueError, match=f"{name}: expected at least"):
        SplitParams(*values)


@pytest.fixture
def pairs():
    ndct = np.random.default_rng(0).integers(-160, 240, size=(4, 8, 8)).astype(np.int16)
    manifest = pd.DataFrame(
        {"slice_id": ["a0", "a1", "b0", "b1"], "patient_id": ["a", "a", "b", "b"], "row": [0, 1, 2, 3]}
    )
    return manifest, ndct


def test_one_image_under_two_codes_is_refused(pairs):
    manifest, ndct = pairs
    check_no_shared_slices(manifest, ndct)
    ndct[3] = ndct[0]
    with pytest.raises(ArtifactError, match=r"a0 and b1 are the same image under two patient codes"):
        check_no_shared_slices(manifest, ndct)


def test_repetition_within_a_patient_and_empty_slices_are_no_leak(pairs):
    manifest, ndct = pairs
    ndct[1] = ndct[0]
    check_no_shared_slices(manifest, ndct)
    ndct[:] = -1024
    check_no_shared_slices(manifest, ndct)
