"""Archives: what comes out of them, and what does not."""

import stat
import zipfile

import pytest

from iqagpt.data.sources import opened_source
from iqagpt.errors import InputError
from tests.data.dicom_files import find, make_params, write_patient


def pack(path, names=None, folder=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (names or {}).items():
            archive.writestr(name, content)
        for file in sorted(folder.rglob("*")) if folder else []:
            archive.write(file, file.relative_to(folder))
    return path


def unpacked(root, scratch):
    with opened_source(root, scratch) as source:
        names = [source.relative(path).as_posix() for path in source.files]
        contents = [path.read_bytes() for path in source.files]
        return dict(zip(names, contents, strict=True)), source.rejected.table().to_dict("records")


def test_an_archive_is_searched_as_a_folder(tmp_path):
    write_patient(tmp_path / "data", "L067")
    pack(tmp_path / "all.zip", folder=tmp_path / "data")
    found = find(make_params(tmp_path / "all.zip"))
    assert len(found.slices) == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.zip", "data"]


def test_archives_within_a_folder_as_released_in_2021(tmp_path):
    for dose, tag in (("full", "FD"), ("quarter", "QD")):
        write_patient(tmp_path / dose, "L067")
        for other in ("full_3mm", "quarter_3mm"):
            if other != f"{dose}_3mm":
                for file in (tmp_path / dose / "L067" / other).iterdir():
                    file.unlink()
        (tmp_path / "root/3mm B30").mkdir(parents=True, exist_ok=True)
        pack(tmp_path / f"root/3mm B30/{tag}_3mm.zip", folder=tmp_path / dose)
    found = find(make_params(tmp_path / "root"))
    assert (
        sorted((item.patient_id, item.dose) for item in found.slices) == [("L067", "full")] * 4 + [("L067", "low")] * 4
    )
    assert len(found.rejected) == 0


def test_nothing_leaves_the_scratch_folder(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    path = pack(root / "a.zip", {
        "good.txt": b"1", "../up.txt": b"2", "/etc/absolute": b"3", "C:/drive": b"4", "x/../../y": b"5", "..\\win": b"6",
        "a" * 300: b"7", "good.txt/below": b"8",
    })  # fmt: skip
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    files, rejected = unpacked(root, tmp_path / "scratch")
    assert files == {"a.zip/good.txt": b"1"}
    assert len(rejected) == 8
    assert all(row["file"].startswith("a.zip#") and row["reason"] and row["remedy"] for row in rejected)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["root"]


def test_bombs_and_damage_are_rows(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    pack(root / "bomb.zip", {"zeros.dcm": bytes(2**24)})
    (root / "broken.zip").write_bytes(b"PK\3\4 no archive")
    whole = pack(root / "torn.zip", {"a.dcm": bytes(range(256)) * 40}).read_bytes()
    (root / "torn.zip").write_bytes(whole[:40] + b"\xff\xff\xff" + whole[43:])
    files, rejected = unpacked(root, tmp_path / "scratch")
    assert files == {}
    reasons = {row["file"]: row["reason"] for row in rejected}
    assert "over 100 times its size" in reasons["bomb.zip#zeros.dcm"]
    assert "cannot be unpacked" in reasons["broken.zip"]
    assert "cannot be unpacked" in reasons["torn.zip#a.dcm"]


def test_a_lying_directory_is_found_out(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    pack(root / "a.zip", {"a.dcm": bytes(range(256)) * 8})
    whole = bytearray((root / "a.zip").read_bytes())
    place = whole.rfind(b"PK\1\2") + 24
    whole[place : place + 4] = (10).to_bytes(4, "little")
    (root / "a.zip").write_bytes(whole)
    files, _ = unpacked(root, tmp_path / "scratch")
    assert all(len(content) <= 10 for content in files.values())


def test_scratch_of_a_killed_run_is_cleared(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "old.dcm").write_bytes(b"")
    assert unpacked(tmp_path / "root", tmp_path / "scratch") == ({}, [])
    assert not (tmp_path / "scratch").exists()


def test_no_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"text")
    with pytest.raises(InputError, match=r"is no folder or zip archive: .*a\.zip"):
        find(make_params(tmp_path / "a.zip"))
