"""TCIA's collection: descriptive and classic layout, with and without its list."""

import csv

import pytest

from iqagpt.data.pairing import pair_slices
from iqagpt.errors import InputError
from tests.data.dicom_files import find, make_params, write_series

ROOT = "LDCT-and-Projection-data"
WORDS = {"full": "Full dose images", "low": "Low Dose Images"}


def write_patient(root, code, *, doses=("full", "low"), classic=False, header=True):
    rows = []
    for number, dose in enumerate(doses, start=1):
        uid = f"1.2.{int(code[1:])}.{number}"
        series = uid if classic else f"{number}.000000-{WORDS[dose]}-{31092 + number}"
        study = "1.2.840.1" if classic else "12-23-2021-NA-NA-50920"
        folder = root / ROOT / code / study / series
        description = {"SeriesDescription": WORDS[dose]} if header else {}
        write_series(folder, zs=range(0, 12, 3), stem="1", PatientID=code, PatientName=code, SeriesInstanceUID=uid,
                     seed=number, **description)  # fmt: skip
        for k, file in enumerate(sorted(folder.iterdir()), start=1):
            file.rename(folder / f"1-{k:03d}.dcm")
        rows.append({"Series UID": uid, "Subject ID": code, "Series Description": WORDS[dose],
                     "File Location": f".\\{ROOT}\\{code}\\{study}\\{series}"})  # fmt: skip
    return rows


def write_list(root, rows):
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def pairs_of(root, **changes):
    params = make_params(root, **changes)
    found = find(params)
    return pair_slices(found, params), found


@pytest.mark.parametrize("header", [True, False])
def test_descriptive_layout_tells_all_by_folders(tmp_path, header):
    for code in ("L241", "C009"):
        write_patient(tmp_path, code, header=header)
    pairs, found = pairs_of(tmp_path)
    assert [pair.patient_id for pair in pairs] == ["C009"] * 4 + ["L241"] * 4
    assert found.tcia == {"C009", "L241"}
    assert len(found.rejected) == 0


@pytest.mark.parametrize(("header", "listed"), [(True, False), (False, True), (True, True)])
def test_classic_layout_needs_list_or_header(tmp_path, header, listed):
    rows = write_patient(tmp_path, "L241", classic=True, header=header)
    if listed:
        write_list(tmp_path, rows)
    pairs, _ = pairs_of(tmp_path)
    assert len(pairs) == 4


def test_classic_layout_without_either(tmp_path):
    write_patient(tmp_path, "L241", classic=True, header=False)
    with pytest.raises(InputError, match="no usable pair"):
        pairs_of(tmp_path)


def test_projections_are_skipped_by_name_or_list(tmp_path):
    rows = write_patient(tmp_path, "L241", classic=True)
    folder = tmp_path / ROOT / "L241" / "1.2.840.1"
    write_series(folder / "9.9.9", zs=(0,), ImagePositionPatient=None)
    write_series(folder / "1.000000-Full Dose Projections-1", zs=(0,), ImagePositionPatient=None)
    write_list(tmp_path, [*rows, {**rows[0], "Series UID": "9.9.9", "Series Description": "Low dose projections",
                                  "File Location": "./x/9.9.9"}])  # fmt: skip
    _, found = pairs_of(tmp_path)
    assert len(found.rejected) == 0


def test_patients_without_low_dose_are_left_out_with_a_row(tmp_path):
    write_patient(tmp_path, "L241")
    write_patient(tmp_path, "L004", doses=("full",))
    pairs, found = pairs_of(tmp_path)
    assert {pair.patient_id for pair in pairs} == {"L241"}
    (row,) = found.rejected.table().to_dict("records")
    assert "GE machines" in row["reason"]


def test_a_list_of_something_else_is_no_obstacle(tmp_path):
    write_patient(tmp_path, "L241")
    (tmp_path / "metadata.csv").write_bytes(b"\xff\0a,b\n1\n")
    assert len(pairs_of(tmp_path)[0]) == 4
