"""Enhanced and compressed CT, and pydicom as a witness of what files hold."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from openjpeg.utils import encode_array
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    JPEG2000,
    EnhancedCTImageStorage,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    PositronEmissionTomographyImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    XRayRadiationDoseSRStorage,
)

from iqagpt.data import decoder
from iqagpt.data.decoder import DecodingError, decode_frame, loses_detail
from iqagpt.data.dicom import UnreadableCT, read_ct, read_header, read_headers, read_stored
from tests.data.dicom_files import SIDE, truncate, write_enhanced, write_slice

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
TEST_FILES = Path(pydicom.__file__).parent / "data/test_files"


def witness(path):
    dataset = pydicom.dcmread(path)
    hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def lossless_jpeg(image):
    """Encode 16-bit values as JPEG lossless, first-order prediction, with one Huffman code of 8 bits for all sizes."""
    sizes = bytes([0, 0, 0, 0, 0, 0, 0, 17, *[0] * 8])
    table = b"\xff\xc4" + (3 + 16 + 17).to_bytes(2, "big") + b"\0" + sizes + bytes(range(17))
    rows, columns = image.shape
    frame = b"\xff\xc3" + (11).to_bytes(2, "big") + bytes([16]) + rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    frame += bytes([1, 1, 0x11, 0])
    scan = b"\xff\xda" + (8).to_bytes(2, "big") + bytes([1, 1, 0, 1, 0, 0])
    bits = []
    values = image.astype(int)
    for r in range(rows):
        for c in range(columns):
            left = values[r, c - 1] if c else values[r - 1, 0] if r else 1 << 15
            difference = (values[r, c] - left + (1 << 15)) % (1 << 16) - (1 << 15)
            size = int(abs(difference)).bit_length()
            bits.append(f"{size:08b}")
            if 0 < size < 16:
                code = difference if difference > 0 else difference + (1 << size) - 1
                bits.append(f"{code:0{size}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    stream = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"\xff\xd8" + table + frame + scan + stream + b"\xff\xd9"


@pytest.fixture
def pixels():
    return np.random.default_rng(3).integers(-1024, 3000, size=(64, 64), dtype=np.int32)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
@pytest.mark.parametrize("signed", [0, 1])
def test_compressed_is_as_uncompressed(tmp_path, pixels, syntax, signed):
    path = write_slice(tmp_path / "a.dcm", hu=pixels, PixelRepresentation=signed, RescaleIntercept=-24 * signed - 1000)
    plain = read_ct(path).pixels_hu
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)
    assert read_header(path).compressed
    np.testing.assert_array_equal(read_ct(path).pixels_hu, plain)


def test_jpeg_lossless(tmp_path, pixels):
    path = write_slice(tmp_path / "a.dcm", hu=pixels, BitsStored=16, HighBit=15)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([lossless_jpeg(dataset.pixel_array)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.save_as(path)
    np.testing.assert_array_equal(read_ct(path).pixels_hu, pixels)


@pytest.mark.parametrize("wrong", ["irreversible", "baseline"])
def test_losses_that_the_header_does_not_tell(tmp_path, pixels, wrong):
    path = write_slice(tmp_path / "a.dcm", hu=pixels)
    dataset = pydicom.dcmread(path)
    if wrong == "irreversible":
        stream, syntax = encode_array(dataset.pixel_array, bits_stored=12, signal_noise_ratios=[60]), JPEG2000
    else:
        stream, syntax = lossless_jpeg(dataset.pixel_array).replace(b"\xff\xc3", b"\xff\xc0", 1), JPEGLosslessSV1
    dataset.PixelData = encapsulate([bytes(stream)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    with pytest.raises(UnreadableCT, match="compressed with losses"):
        read_ct(path)


LOSSY_FILES = ["JPEG2000.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm", "JPEGLSNearLossless_16.dcm"]
LOSSLESS_FILES = ["J2K_pixelrep_mismatch.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"]


@pytest.mark.parametrize("name", LOSSY_FILES + LOSSLESS_FILES)
def test_losses_are_told_by_the_stream(name):
    dataset = pydicom.dcmread(TEST_FILES / name)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    syntax = JPEGLSLossless if "JPEGLS" in name else JPEGLosslessSV1 if name.startswith("JP") else None
    syntax = JPEG2000 if "2000" in name else syntax or dataset.file_meta.TransferSyntaxUID
    assert loses_detail(syntax, frame) == (name in LOSSY_FILES)


def test_sign_of_a_j2k_stream_that_its_header_contradicts():
    path = TEST_FILES / "J2K_pixelrep_mismatch.dcm"
    np.testing.assert_array_equal(read_ct(path).pixels_hu, witness(path))


def test_padding_range_of_a_real_header():
    path = TEST_FILES / "CT_small.dcm"
    np.testing.assert_array_equal(read_ct(path).pixels_hu, witness(path))


def test_padding_range(tmp_path):
    stored = np.full((SIDE, SIDE), 1064, np.uint16)
    stored[0], stored[1], stored[2] = 10, 15, 21
    path = write_slice(tmp_path / "a.dcm", PixelData=stored.tobytes(), PixelPaddingValue=10, PixelPaddingRangeLimit=20)
    hu = read_ct(path).pixels_hu
    assert np.all(hu[:2] == -1024)
    assert np.all(hu[2] == -1003)


def test_monochrome1_does_not_touch_hu(tmp_path, pixels):
    path = write_slice(tmp_path / "a.dcm", hu=pixels, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_ct(path).pixels_hu, pixels)


def test_stored_values(tmp_path, pixels):
    header, stored = read_stored(write_slice(tmp_path / "a.dcm", hu=pixels))
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored + header.intercept, pixels)


def test_gantry_tilt_is_told(tmp_path):
    cosine, sine = np.cos(np.radians(20)), np.sin(np.radians(20))
    path = write_slice(tmp_path / "a.dcm", ImageOrientationPatient=[1, 0, 0, 0, round(cosine, 8), round(-sine, 8)])
    assert read_header(path).tilt_deg == pytest.approx(20, abs=0.01)
    path = write_slice(tmp_path / "b.dcm", ImageOrientationPatient=[1, 0, 0, 0, 0.7071, -0.7071])
    with pytest.raises(UnreadableCT, match="not an axial slice"):
        read_header(path)


@pytest.mark.parametrize("undefined", [False, True])
def test_enhanced_ct_is_read_frame_by_frame(tmp_path, undefined):
    path = write_enhanced(tmp_path / "a.dcm", frames=4, undefined=undefined)
    headers = read_headers(path)
    assert [header.z_mm for header in headers] == [0, 3, 6, 9]
    assert [header.instance_number for header in headers] == [1, 2, 3, 4]
    assert {(header.kernel, header.thickness_mm, header.pixel_spacing_mm) for header in headers} == {
        ("B30f", 3.0, 0.75)
    }
    stored = pydicom.dcmread(path).pixel_array
    for k, header in enumerate(headers):
        ct = read_ct(path, k)
        assert ct.header == header
        np.testing.assert_array_equal(ct.pixels_hu, np.clip(stored[k].astype(int) - 1024 - k, -1024, 3071))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_compressed_enhanced_ct(tmp_path, syntax):
    path = write_enhanced(tmp_path / "a.dcm", frames=3, side=64)
    plain = [read_ct(path, k).pixels_hu for k in range(3)]
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)
    for k in range(3):
        np.testing.assert_array_equal(read_ct(path, k).pixels_hu, plain[k])


def test_damaged_enhanced_ct(tmp_path):
    path = write_enhanced(tmp_path / "a.dcm", frames=3)
    with pytest.raises(UnreadableCT, match="has no frame 4, but 3"):
        read_ct(path, 3)
    for tags, reason in (
        ({"FrameType": ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]}, r"localiser.*\(frame 1\)"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "not an axial"),
    ):
        with pytest.raises(UnreadableCT, match=reason):
            read_headers(write_enhanced(tmp_path / "b.dcm", **tags))
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames = 4
    dataset.save_as(tmp_path / "c.dcm")
    with pytest.raises(UnreadableCT, match=r"truncated: 1536 bytes, expected 16 x 16 x 2 x 4|describes 3 of its 4"):
        read_headers(tmp_path / "c.dcm")
    with pytest.raises(UnreadableCT, match="truncated"):
        read_headers(truncate(path))


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"SOPClassUID": XRayRadiationDoseSRStorage, "Modality": "SR"}, "X-Ray Radiation Dose SR.*not a CT image"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "Secondary Capture"),
        ({"SOPClassUID": PositronEmissionTomographyImageStorage, "Modality": "PT"}, "Positron Emission"),
        ({"SOPClassUID": "", "Modality": "PT"}, "modality 'PT'"),
        ({"SOPClassUID": "1.2.3.4.5"}, "is of an unknown class"),
        ({"ImageType": ["ORIGINAL", "SECONDARY", "OTHER", "CT_SOM5 PROT"]}, "dose report or protocol"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screen capture"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MIP"]}, "projection of several slices"),
        ({"BurnedInAnnotation": "YES"}, "text burnt"),
        ({"LossyImageCompression": "01"}, "with losses"),
        ({"SOPClassUID": EnhancedCTImageStorage, "NumberOfFrames": 2}, "several frames without"),
    ],
)
def test_other_objects_are_refused(tmp_path, tags, reason):
    with pytest.raises(UnreadableCT, match=reason):
        read_ct(write_slice(tmp_path / "a.dcm", **tags))


def test_a_frame_of_another_size_is_refused_undecoded(tmp_path, pixels):
    path = write_slice(tmp_path / "a.dcm", hu=pixels)
    dataset = pydicom.dcmread(path)
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    dataset.Rows = dataset.Columns = 4096
    dataset.save_as(path)
    with pytest.raises(UnreadableCT, match="cannot be decompressed"):
        read_ct(path)


def test_a_decoder_that_dies_is_replaced(tmp_path, pixels):
    path = write_slice(tmp_path / "a.dcm", hu=pixels)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(path)
    read_ct(path)
    decoder._process._child.kill()
    with pytest.raises(UnreadableCT, match="gave up"):
        read_ct(path)
    np.testing.assert_array_equal(read_ct(path).pixels_hu, pixels)


def test_garbage_is_refused_by_every_codec():
    for syntax in decoder.CODECS:
        with pytest.raises(DecodingError):
            decode_frame(syntax, b"\xff" * 1000, 64, 64)


def test_a_series_of_a_hospital():
    files = sorted((SHARED / "dicom_series").glob("CT.*"))
    if not files:
        pytest.skip(f"no real CT at {SHARED}")
    for file in files[::7]:
        np.testing.assert_array_equal(read_ct(file).pixels_hu, witness(file))
