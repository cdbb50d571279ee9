"""Uniform selection over patients and z."""

import numpy as np
import pytest

from iqagpt.data.dicom import read_header
from iqagpt.data.finding import SliceFile
from iqagpt.data.pairing import SlicePair
from iqagpt.data.rejections import Rejections
from iqagpt.data.selection import allot, select_pairs
from iqagpt.errors import InputError
from tests.data.dicom_files import write_patient


def make_pairs(root, code, count):
    folder = write_patient(root, code, zs=range(0, 3 * count, 3))
    series = []
    for dose in ("full", "quarter"):
        paths = sorted((folder / f"{dose}_3mm").iterdir())
        series.append([SliceFile(path, code, dose, read_header(path)) for path in paths])
    return [SlicePair(f"{code}_{k:03d}", *both) for k, both in enumerate(zip(*series, strict=True))]


def indices(pairs):
    return [int(pair.slice_id[-3:]) for pair in pairs]


def damage(pair):
    """Break the pixels after the header was read, as a copy cut short in between would."""
    pair.ldct.path.write_bytes(pair.ldct.path.read_bytes()[:-10])


def test_shares_of_the_paper():
    shares = allot(125, 10)
    assert shares == [12, 13] * 5
    assert sum(shares[:8]) == 100
    assert sum(shares[8:]) == 25


@pytest.mark.parametrize(("count", "patients"), [(1, 3), (6, 6), (80, 10), (7, 9), (1000, 7)])
def test_shares_add_up_and_differ_by_one_at_most(count, patients):
    shares = allot(count, patients)
    assert sum(shares) == count
    assert max(shares) - min(shares) <= 1


def test_centres_of_equal_bins(tmp_path):
    pairs = make_pairs(tmp_path, "L067", 12)
    rejected = Rejections(tmp_path)
    assert indices(select_pairs(pairs, 4, rejected)) == [1, 4, 7, 10]
    assert indices(select_pairs(pairs, 1, rejected)) == [6]
    assert indices(select_pairs(pairs, 12, rejected)) == list(range(12))
    gaps = np.diff(indices(select_pairs(pairs, 5, rejected)))
    assert set(gaps) <= {2, 3}


def test_short_patient_gives_all_it_has(tmp_path, caplog):
    pairs = make_pairs(tmp_path, "L067", 2) + make_pairs(tmp_path, "L096", 12)
    with caplog.at_level("INFO"):
        chosen = select_pairs(pairs, 10, Rejections(tmp_path))
    assert [pair.patient_id for pair in chosen] == ["L067"] * 2 + ["L096"] * 5
    assert "L067: 2 pairs instead of 5" in caplog.text


def test_unreadable_pixels_are_replaced_by_the_nearest_free_slice(tmp_path):
    pairs = make_pairs(tmp_path, "L067", 12)
    damage(pairs[4])
    damage(pairs[3])
    rejected = Rejections(tmp_path)
    assert indices(select_pairs(pairs, 4, rejected)) == [1, 5, 7, 10]
    assert list(rejected.table()["file"]) == [pairs[i].ldct.path.relative_to(tmp_path).as_posix() for i in (3, 4)]
    assert rejected.table()["reason"].str.contains("truncated").all()


def test_nothing_readable(tmp_path):
    pairs = make_pairs(tmp_path, "L067", 2)
    for pair in pairs:
        damage(pair)
    with pytest.raises(InputError, match=r"no usable pair.*2 file\(s\) rejected"):
        select_pairs(pairs, 2, Rejections(tmp_path))
