"""`read_ct` in the face of real and damaged files; traps 2, 3, 4, 8 and 9 of the AAPM data."""

import struct
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from iqagpt.data.dicom import MAX_FILE_BYTES, UnreadableCT, read_ct, read_header
from tests.data.dicom_files import SIDE, truncate, write_slice


@pytest.fixture
def pixels():
    return np.random.default_rng(3).integers(-1024, 3000, size=(SIDE, SIDE), dtype=np.int32)


def test_pixels_and_facts(tmp_path, pixels):
    path = write_slice(tmp_path / "a.IMA", z=-299.8, hu=pixels, InstanceNumber=87, kernel=["Br38f", "3"])
    ct = read_ct(path)
    assert ct.pixels_hu.dtype == np.int16
    np.testing.assert_array_equal(ct.pixels_hu, pixels)
    header = ct.header
    assert (header.rows, header.columns, header.pixel_spacing_mm, header.thickness_mm) == (SIDE, SIDE, 0.75, 3.0)
    assert (header.kernel, header.z_mm, header.instance_number) == ("Br38f/3", -299.8, 87)
    assert read_header(path) == header


def test_implicit_vr(tmp_path, pixels):
    dataset = pydicom.dcmread(write_slice(tmp_path / "a.dcm", hu=pixels))
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "b.dcm", dataset, implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_ct(tmp_path / "b.dcm").pixels_hu, pixels)
    with pytest.raises(UnreadableCT, match="truncated"):
        read_header(truncate(tmp_path / "b.dcm", 2))


@pytest.mark.parametrize("padding", [63536, None])
def test_trap_02_padding_becomes_air(tmp_path, padding):
    stored = np.full((SIDE, SIDE), 40, np.int16)
    stored[0] = -2000
    path = write_slice(
        tmp_path / "a.IMA", PixelRepresentation=1, RescaleIntercept=-24, hu=0, PixelData=stored.tobytes()
    )
    dataset = pydicom.dcmread(path)
    if padding:  # -2000 written as an unsigned value, which some scanners do
        dataset.add_new("PixelPaddingValue", "US", padding)
        dataset.save_as(path)
    hu = read_ct(path).pixels_hu
    assert np.all(hu[0] == -1024)
    assert np.all(hu[1:] == 16)


def test_padding_inside_the_range_becomes_air(tmp_path):
    path = write_slice(tmp_path / "a.IMA", hu=976, PixelPaddingValue=2000)
    assert np.all(read_ct(path).pixels_hu == -1024)


def test_trap_03_intercept_is_read(tmp_path, pixels):
    hu = np.clip(pixels, 0, 2000)
    stored = (hu * 2 + 200).astype("<u2").tobytes()
    path = write_slice(
        tmp_path / "a.IMA", RescaleIntercept=-100, RescaleSlope=0.5, PixelData=stored, BitsStored=16, HighBit=15
    )
    np.testing.assert_array_equal(read_ct(path).pixels_hu, hu)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_trap_03_missing_rescale_is_an_error(tmp_path, keyword):
    with pytest.raises(UnreadableCT, match=f"{keyword} is missing"):
        read_ct(write_slice(tmp_path / "a.IMA", **{keyword: None}))


def test_trap_04_unsigned_values_do_not_wrap(tmp_path):
    path = write_slice(tmp_path / "a.IMA", hu=-1000)
    assert pydicom.dcmread(path).pixel_array.dtype == np.uint16
    assert np.all(read_ct(path).pixels_hu == -1000)


def test_bits_above_the_stored_ones_are_ignored(tmp_path):
    stored = np.full((SIDE, SIDE), 0xF000 | 1064, "<u2")
    assert np.all(read_ct(write_slice(tmp_path / "a.IMA", PixelData=stored.tobytes())).pixels_hu == 40)


def test_trap_08_multi_valued_window_is_no_obstacle(tmp_path):
    path = write_slice(tmp_path / "a.IMA", hu=40, WindowCenter=[55, -600], WindowWidth=[440, 1500])
    assert np.all(read_ct(path).pixels_hu == 40)


def test_trap_09_body_part_is_not_believed(tmp_path):
    assert np.all(read_ct(write_slice(tmp_path / "a.IMA", hu=7, BodyPartExamined="CHEST")).pixels_hu == 7)


@pytest.mark.parametrize("drop", [1, 2, 100, 400])
def test_truncated_pixels(tmp_path, drop):
    path = truncate(write_slice(tmp_path / "a.IMA"), drop)
    assert len(pydicom.dcmread(path).PixelData) < 2 * SIDE * SIDE  # pydicom says nothing
    for read in (read_header, read_ct):
        with pytest.raises(
            UnreadableCT, match=r"a\.IMA: pixel data are truncated: .* expected 16 x 16 x 2 = 512; copy"
        ):
            read(path)


def test_every_shorter_file_is_an_error(tmp_path):
    whole = write_slice(tmp_path / "a.IMA").read_bytes()
    cut = tmp_path / "cut.IMA"
    for length in range(0, len(whole), 29):
        cut.write_bytes(whole[:length])
        with pytest.raises(UnreadableCT):
            read_ct(cut)
        with pytest.raises(UnreadableCT):
            read_header(cut)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "MR"}, "modality 'MR'"),
        ({"Modality": None}, "modality 'absent'"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "not a CT image"),
        ({"NumberOfFrames": 2}, "several frames without"),
        ({"NumberOfFrames": 2_000_000}, "2000000 frames"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localiser"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "not an axial slice"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient is missing"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient is missing"),
        ({"PixelSpacing": [0.7, 0.9]}, "square pixels"),
        ({"SamplesPerPixel": 3}, "3 samples per pixel"),
        ({"Rows": 4097}, "4097 x 16 pixels"),
        ({"Columns": 0}, "16 x 0 pixels"),
        ({"Rows": 15}, "inconsistent: 512 bytes, expected 15 x 16 x 2 = 480"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "8 bits allocated"),
        ({"HighBit": 15}, "high bit 15"),
        ({"RescaleSlope": 0}, "rescale slope 0"),
        ({"RescaleType": "MGML"}, "no HU"),
        ({"RescaleType": "Z_EFF"}, "no HU"),
        ({"PixelSpacing": [1e-6, 1e-6]}, "pixel spacing 1e-06 mm, expected 0.05 to 10"),
        ({"PixelSpacing": [1e6, 1e6]}, "pixel spacing"),
        ({"SliceThickness": 1e-4}, "slice thickness 0.0001 mm, expected 0.05 to 100"),
        ({"SliceThickness": -3}, "slice thickness"),
        ({"PixelData": None}, "truncated: 0 bytes"),
    ],
)
def test_refused_with_reason_and_remedy(tmp_path, tags, reason):
    path = write_slice(tmp_path / "a.IMA", **tags)
    with pytest.raises(UnreadableCT, match=reason) as caught:
        read_ct(path)
    assert str(path) in str(caught.value)
    assert str(tmp_path) not in caught.value.reason + caught.value.remedy
    assert caught.value.remedy


@pytest.mark.parametrize("unit", ["HU", "US", "", None])
def test_hu_and_an_unspecified_unit_are_read(tmp_path, unit):
    assert (read_ct(write_slice(tmp_path / "a.IMA", hu=40, RescaleType=unit)).pixels_hu == 40).all()


def test_a_thickness_of_zero_is_none(tmp_path):
    assert read_header(write_slice(tmp_path / "a.IMA", thickness=0)).thickness_mm is None


def test_empty_sop_class_of_an_anonymiser_is_accepted(tmp_path):
    assert read_ct(write_slice(tmp_path / "a.IMA", SOPClassUID="")).header.rows == SIDE


def test_unknown_compression_is_refused(tmp_path):
    path = write_slice(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset.PixelData = pydicom.encaps.encapsulate([b"stream"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(UnreadableCT, match=r"MPEG2.*decompress"):
        read_ct(path)


def test_deflated_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    path = tmp_path / "a.dcm"
    dataset = pydicom.dcmread(write_slice(path))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    monkeypatch.setattr(zlib, "decompress", lambda *_: pytest.fail("inflated"))
    monkeypatch.setattr(zlib, "decompressobj", lambda *_: pytest.fail("inflated"))
    with pytest.raises(UnreadableCT, match="is deflated"):
        read_header(path)


def test_no_dicom_missing_and_too_large(tmp_path):
    text = tmp_path / "text.IMA"
    text.write_text("not an image")
    with pytest.raises(UnreadableCT, match="not a DICOM file"):
        read_ct(text)
    with pytest.raises(UnreadableCT, match="No such file"):
        read_ct(tmp_path / "absent.IMA")
    with (tmp_path / "large.IMA").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(UnreadableCT, match="more than"):
        read_ct(tmp_path / "large.IMA")


def test_deep_nesting_is_one_error(tmp_path):
    path = write_slice(tmp_path / "a.IMA", PixelData=None)
    item = b""
    for _ in range(3000):
        item = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + item
    path.write_bytes(path.read_bytes() + item)
    with pytest.raises(UnreadableCT, match="copy or download"):
        read_ct(path)


def test_random_damage_never_escapes(tmp_path):
    whole = bytearray(write_slice(tmp_path / "a.IMA").read_bytes())
    rng = np.random.default_rng(11)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(128, len(whole) - 2 * SIDE * SIDE, size=4):
            damaged[place] = rng.integers(256)
        (tmp_path / "b.IMA").write_bytes(damaged)
        try:
            assert read_ct(tmp_path / "b.IMA").pixels_hu.dtype == np.int16
        except UnreadableCT:
            refused += 1
    assert refused > 50


def test_control_characters_of_a_header_reach_no_message(tmp_path):
    header = read_header(write_slice(tmp_path / "a.IMA", kernel="B30f\x1b[31m"))
    assert header.kernel.startswith("unlisted-")


def test_odd_values_are_not_reported_on_stderr(tmp_path, recwarn, caplog):
    path = write_slice(tmp_path / "a.IMA", PatientName="x" * 80)
    recwarn.clear()
    caplog.clear()
    read_header(path)
    assert not recwarn.list
    assert not caplog.records
