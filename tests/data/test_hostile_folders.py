"""Folders as they come: links, pipes, what may not be read, names that are no text, archives within archives."""

import errno
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from iqagpt.artifacts import read_table, write_table
from iqagpt.data import sources
from iqagpt.data.dicom import UnreadableCT, is_dicom, read_headers
from iqagpt.data.pairing import pair_slices
from tests.data.dicom_files import find, make_params, write_patient


def rows(found):
    return {row.file: row.reason for row in found.rejected.table().itertuples()}


def unreadable(monkeypatch, *places):
    """Take the right to read away, which a superuser would keep."""
    real = os.listdir

    def listdir(folder):
        if Path(folder) in places:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(sources.os, "listdir", listdir)


def test_what_is_no_plain_file_is_listed_and_not_waited_for(tmp_path):
    folder = write_patient(tmp_path / "root", "L067") / "full_3mm"
    os.mkfifo(folder / "pipe.IMA")
    (folder / "lost.IMA").symlink_to("../.git/annex/objects/lost")
    (folder / "self").symlink_to("self")
    found = find(make_params(tmp_path / "root"))
    assert len(found.slices) == 8
    assert sorted(rows(found)) == [f"L067/full_3mm/{name}" for name in ("lost.IMA", "pipe.IMA", "self")]
    assert found.rejected.patients == {"L067"}
    assert not is_dicom(folder / "pipe.IMA")
    with pytest.raises(UnreadableCT, match="no plain file"):
        read_headers(folder / "pipe.IMA")


def test_linked_patients_keep_their_own_place(tmp_path):
    for code, other in (("L067", "L096"), ("L096", "L067")):
        write_patient(tmp_path / "root", code)
        (tmp_path / "root" / code / "x").symlink_to(f"../{other}")
    found = find(make_params(tmp_path / "root"))
    assert sorted({item.patient_id for item in found.slices}) == ["L067", "L096"]
    assert len(found.slices) == 16
    assert not any("x" in item.path.parts for item in found.slices)
    assert len(found.rejected) == 0


def test_a_folder_that_cannot_be_read_is_a_row_and_stops_nobody(tmp_path, monkeypatch):
    for code in ("L067", "L096"):
        write_patient(tmp_path / "root", code)
    unreadable(monkeypatch, tmp_path / "root/L096/quarter_3mm")
    params = make_params(tmp_path / "root")
    found = find(params)
    assert "Permission denied" in rows(found)["L096/quarter_3mm"]
    assert {pair.patient_id for pair in pair_slices(found, params)} == {"L067"}


def test_files_that_cannot_be_read_are_rows_whatever_they_are_called(tmp_path, monkeypatch):
    folder = write_patient(tmp_path / "root", "L067") / "full_3mm"
    first, *_ = sorted(folder.iterdir())
    secret = first.rename(folder / "IM0001")
    listing = tmp_path / "root/metadata.csv"
    listing.write_text("Series UID\n")
    real = Path.open

    def opened(self, *args, **kwargs):
        if self in (secret, listing):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr("iqagpt.data.finding.os.access", lambda path, _: path != secret)
    found = find(make_params(tmp_path / "root"))
    assert len(found.slices) == 7
    assert rows(found) == dict.fromkeys(("L067/full_3mm/IM0001", "metadata.csv"), "cannot be read (Permission denied)")


def test_names_that_are_no_text_can_be_listed(tmp_path):
    folder = write_patient(tmp_path / "root", "L067") / "full_3mm"
    first, *_ = sorted(folder.iterdir())
    for name in (b"a\xff.IMA", b"a\xfe.IMA"):
        shutil.copy(first, folder / os.fsdecode(name))
    first.unlink()
    (folder / os.fsdecode(b"z\xff\n.IMA")).write_bytes(b"")
    params = make_params(tmp_path / "root")
    found = find(params)
    pair_slices(found, params)
    assert len(found.rejected) == 2
    write_table(tmp_path / "rejected.csv", found.rejected.table())
    table = read_table(tmp_path / "rejected.csv")
    assert table["file"].tolist() == ["L067/full_3mm/a?.IMA", "L067/full_3mm/z??.IMA"]
    assert "where a?.IMA is already" in table["reason"][0]


def test_archives_that_stay_packed_are_listed(tmp_path):
    root = tmp_path / "root"
    write_patient(root, "L067")
    (root / "L143.tar.gz").write_bytes(b"\x1f\x8b")
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as inner:
        inner.writestr("L096/full_3mm/a.IMA", b"x")
    with zipfile.ZipFile(root / "outer.zip", "w") as outer:
        outer.write(tmp_path / "inner.zip", "L096.zip")
    found = find(make_params(root))
    assert sorted(rows(found)) == ["L143.tar.gz", "outer.zip/L096.zip"]
    assert found.rejected.patients == {"L143", "L096"}
    assert not found.rejected.unknown


def test_a_lost_archive_may_hold_anyones_files(tmp_path, caplog):
    root = tmp_path / "root"
    for code in ("L067", "L096"):
        write_patient(root, code)
    shutil.rmtree(root / "L096/quarter_3mm")
    (root / "QD_3mm.zip").write_bytes(b"cut off")
    params = make_params(root)
    found = find(params)
    assert {pair.patient_id for pair in pair_slices(found, params)} == {"L067"}
    assert "L096 is left out" in caplog.text
    assert "cannot be unpacked" in rows(found)["QD_3mm.zip"]


def test_an_archive_needs_no_suffix_when_it_is_named(tmp_path):
    folder = write_patient(tmp_path / "data", "L067")
    with zipfile.ZipFile(tmp_path / "download", "w") as archive:
        for file in folder.rglob("*.IMA"):
            archive.write(file, file.relative_to(tmp_path / "data"))
    assert len(find(make_params(tmp_path / "download")).slices) == 8


def test_a_full_disk_is_not_the_archives_fault(tmp_path, monkeypatch):
    root = tmp_path / "root"
    root.mkdir()
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        archive.writestr("a.dcm", b"x")
    real = Path.open

    def opened(self, mode="r", *args, **kwargs):
        if "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(OSError, match="No space left"), sources.opened_source(root, tmp_path / "scratch"):
        pass
    assert not (tmp_path / "scratch").exists()


def test_a_method_that_is_not_read_here(tmp_path):
    root = tmp_path / "root"
    write_patient(root, "L067")
    with zipfile.ZipFile(root / "windows.zip", "w") as archive:
        archive.writestr("a.dcm", b"x" * 50)
    whole = bytearray((root / "windows.zip").read_bytes())
    deflate64 = 9
    whole[8] = whole[whole.find(b"PK\1\2") + 10] = deflate64
    (root / "windows.zip").write_bytes(whole)
    (row,) = find(make_params(root)).rejected.table().to_dict("records")
    assert "method" in row["reason"]
    assert row["remedy"] == "unpack it yourself"


def test_folders_within_folders_of_an_archive_are_limited(tmp_path):
    root = tmp_path / "root"
    write_patient(root, "L067")
    with zipfile.ZipFile(root / "deep.zip", "w") as archive:
        archive.writestr("d/" * sources.MAX_DEPTH + "a.dcm", b"x")
    (name, reason), *others = rows(find(make_params(root))).items()
    assert name.startswith("deep.zip#d/d/")
    assert "too long a name" in reason
    assert not others
