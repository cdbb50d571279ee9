"""Organ maps; what is written is tested with the stage."""

import io
import zipfile

import numpy as np
import pytest

from iqagpt.data.pair_store import read_organs
from iqagpt.errors import InputError


def save(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_labels_are_found_by_height(tmp_path):
    labels = np.zeros((3, 4, 4), np.uint8)
    labels[1] = 5
    organs = read_organs(save(tmp_path / "organs.npz", z_mm=np.array([0.0, 8.0, 16.0]), labels=labels), (4, 4))
    assert np.all(organs.at(8.05) == 5)
    assert organs.at(8.2) is None
    assert organs.labels.dtype == np.uint8


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z_mm": np.zeros(2)}, "'labels.*is missing"),
        ({"z_mm": np.zeros(2), "labels": np.zeros((3, 4, 4), int)}, r"labels \(3, 4, 4\), expected \(S,\)"),
        ({"z_mm": np.zeros(2), "labels": np.zeros((2, 8, 8), int)}, r"labels \(2, 8, 8\).*\(S, 4, 4\)"),
        ({"z_mm": np.full(2, np.nan), "labels": np.zeros((2, 4, 4), int)}, "finite"),
        ({"z_mm": np.zeros(2), "labels": np.zeros((2, 4, 4))}, "whole numbers.*float64"),
        ({"z_mm": np.zeros(2), "labels": np.full((2, 4, 4), 300)}, "0 to 255"),
        ({"z_mm": np.zeros(2), "labels": np.full((2, 4, 4), None)}, "archive of plain arrays"),
    ],
)
def test_wrong_maps_are_refused(tmp_path, arrays, message):
    path = save(tmp_path / "organs.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        read_organs(path, (4, 4))
    assert str(path) in str(caught.value)


def test_no_archive(tmp_path):
    path = tmp_path / "organs.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="BadZipFile"):
        read_organs(path, (4, 4))


def test_bomb_is_refused_unread(tmp_path):
    path = tmp_path / "organs.npz"
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (5000, 512, 512)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.npy", head.getvalue())
        member = archive.getinfo("labels.npy")
        member.file_size = 2**31 - 1  # what the directory claims
    with pytest.raises(InputError, match="unpacks to"):
        read_organs(path, (512, 512))
