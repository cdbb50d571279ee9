import dataclasses
import math
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import truncate, write_slice
from pydicom.dataset import Dataset
from pydicom.uid import UID, EnhancedCTImageStorage
from scans import SPACING_MM, clean_body, scanned
from scipy import ndimage
from scipy.stats import median_abs_deviation

from iqagpt.data import dose_series
from iqagpt.data.dicom import read_ct, read_header, read_stored
from iqagpt.data.dose_series import DoseOptions, add_noise, check_output, simulate_series
from iqagpt.data.scan_noise import Scan
from iqagpt.data.tissue import body, flat_tissue, smooth
from iqagpt.errors import InputError

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
GIVEN = {"photons": 1e5, "kernel_half_per_mm": 0.38, "views": 360}
UIDS = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "FrameOfReferenceUID": "1.2.9"}


def ct_slice(path, number=1, hu=None, **tags):
    image = scanned(Scan(1e5, 0.38), seed=number, views=360) if hu is None else hu
    elements = {
        **UIDS, "SOPInstanceUID": f"1.2.3.4.{number}", "InstanceNumber": number, "PixelSpacing": [SPACING_MM] * 2,
        "SeriesDescription": "Body 3.0",
    }  # fmt: skip
    return write_slice(path, z=3.0 * number, hu=np.asarray(image, np.int32), **{**elements, **tags})


@pytest.fixture
def series(tmp_path):
    for number in (1, 2, 3):
        ct_slice(tmp_path / f"in/slice{number}.dcm", number)
    return tmp_path / "in"


def noise_sd(image, where, spacing_mm=SPACING_MM):
    """SD of what is finer than 1.5 mm; by the median, so that vessels and edges do not count."""
    rest = image - smooth(image, 1.5, spacing_mm)
    return float(median_abs_deviation(rest[ndimage.binary_erosion(where, iterations=3)], scale="normal"))


def test_dose_one_keeps_every_pixel(series, tmp_path):
    report = simulate_series(series, tmp_path / "out", DoseOptions(1.0))
    assert report.written == 3 and report.scan is None
    for path in series.iterdir():
        source, result = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "out" / path.name)
        assert result.PixelData == source.PixelData
        assert result.SOPInstanceUID != source.SOPInstanceUID


@pytest.mark.parametrize("dose", [0.5, 0.25])
def test_noise_of_a_phantom_grows_by_one_over_root_dose(series, tmp_path, dose):
    report = simulate_series(series, tmp_path / "out", DoseOptions(dose, views=360, electronic_sd=0.0))
    assert report.scan.photons == pytest.approx(1e5, rel=0.2)
    assert report.measured == 3
    flat = clean_body() > 0
    before, after = (
        np.mean([noise_sd(read_ct(folder / f"slice{n}.dcm").pixels_hu, flat) ** 2 for n in (1, 2, 3)])
        for folder in (series, tmp_path / "out")
    )
    assert math.sqrt(after / before) == pytest.approx(1 / math.sqrt(dose), rel=0.05)


def test_result_is_a_derived_series_of_the_same_study(tmp_path):
    path = ct_slice(
        tmp_path / "in/a.dcm", XRayTubeCurrent=400, Exposure=3, CTDIvol=10.0, PixelPaddingValue=63536, KVP="120",
        SmallestImagePixelValue=0, DerivationDescription="Force Anonymity",
    )  # fmt: skip
    simulate_series(path, tmp_path / "out", DoseOptions(0.25, **GIVEN))
    source, result = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "out/a.dcm")
    assert list(result.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert result.SeriesDescription == "Body 3.0 simulated 25% dose"
    assert result.DerivationDescription.startswith("Force Anonymity; Noise inserted to simulate 25%")
    assert (result.XRayTubeCurrent, result.Exposure, result.CTDIvol, result.KVP) == (100, 1, 2.5, 120)
    assert "XRayTubeCurrentInuA" not in result and "ExposureInuAs" not in result
    assert result.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    for uid in (result.SOPInstanceUID, result.SeriesInstanceUID):
        assert UID(uid).is_valid
    assert result.SeriesInstanceUID != source.SeriesInstanceUID
    assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID
    assert result.SmallestImagePixelValue == int(read_stored(tmp_path / "out/a.dcm")[1].min())
    for keyword in (*list(UIDS)[::2], "PatientName", "ImagePositionPatient", "PixelSpacing", "RescaleSlope",
                    "RescaleIntercept", "BitsStored", "PixelRepresentation", "WindowCenter", "InstanceNumber"):  # fmt: skip
        assert result[keyword] == source[keyword]


def test_result_depends_on_files_seed_and_dose_and_on_nothing_else(series, tmp_path):
    def run(name, workers=1, **options):
        simulate_series(series, tmp_path / name, DoseOptions(**{"dose": 0.25, **GIVEN, **options}), workers=workers)
        return [path.read_bytes() for path in sorted((tmp_path / name).iterdir())]

    first = run("a")
    assert run("b", workers=3) == first
    assert all(one != other for one, other in zip(run("c", seed=1), first, strict=True))
    (series / "slice3.dcm").unlink()
    assert run("d") == first[:2]
    uids = {pydicom.dcmread(tmp_path / name / "slice1.dcm").SeriesInstanceUID for name in "abc"}
    assert len(uids) == 2


def test_photons_follow_the_tube_current(tmp_path):
    for number, current in ((1, 100), (2, 300)):
        image = scanned(Scan(1e3 * current, 0.38), seed=number, views=360)
        ct_slice(tmp_path / f"in/{number}.dcm", number, hu=image, XRayTubeCurrent=current)
    slices, _ = dose_series.find_series(tmp_path / "in")
    scans, measured = dose_series._scans(tmp_path, slices, DoseOptions(0.25, views=360))
    assert measured == 2
    assert [scan.photons for scan in scans] == [pytest.approx(1e5, rel=0.2), pytest.approx(3e5, rel=0.2)]


def test_bad_files_are_skipped_with_a_reason(series, tmp_path):
    truncate(ct_slice(series / "short.dcm", 4))
    ct_slice(series / "clipped.dcm", 5, hu=np.clip(clean_body(), -160, 240))
    (series / "README.txt").write_text("no image")
    report = simulate_series(series, tmp_path / "out", DoseOptions(0.25, **GIVEN))
    assert report.written == 3
    assert len(report.skipped) == 2
    lines = report.warnings()
    assert "clipped.dcm: has no air: its lowest value is -160 HU" in lines[0]
    assert "short.dcm: pixel data are truncated" in lines[1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["slice1.dcm", "slice2.dcm", "slice3.dcm"]


@pytest.mark.parametrize("options", [GIVEN, {}])
def test_clipped_series_is_refused_and_nothing_is_left(tmp_path, options):
    ct_slice(tmp_path / "in/a.dcm", hu=np.clip(clean_body(), -160, 240))
    with pytest.raises(InputError, match="lowest value is -160 HU"):
        simulate_series(tmp_path / "in", tmp_path / "out", DoseOptions(0.25, **options))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_padding_does_not_hide_that_a_picture_is_clipped(tmp_path):
    image = np.clip(clean_body(), -160, 240)
    image[:20] = -1024
    ct_slice(tmp_path / "in/a.dcm", hu=image, PixelPaddingValue=0)
    with pytest.raises(InputError, match="has no air"):
        simulate_series(tmp_path / "in", tmp_path / "out", DoseOptions(0.25, **GIVEN))


def test_several_series_are_listed(series, tmp_path):
    ct_slice(series / "sub/other.dcm", 9, SeriesInstanceUID="1.2.3.5", SeriesDescription="Lung", kernel="B70f")
    with pytest.raises(InputError, match=r"2 series, expected one: Body 3\.0 \(3 slices.*Lung \(1 slice, 3 mm, B70f"):
        simulate_series(series, tmp_path / "out", DoseOptions(0.25))


def test_emptied_identifiers_are_no_obstacle(tmp_path):
    for number in (1, 2):
        ct_slice(tmp_path / f"in/{number}.dcm", number, SOPClassUID="", SOPInstanceUID="", SeriesInstanceUID="")
    simulate_series(tmp_path / "in", tmp_path / "out", DoseOptions(0.25, **GIVEN))
    results = [pydicom.dcmread(tmp_path / f"out/{number}.dcm") for number in (1, 2)]
    assert results[0].SeriesInstanceUID == results[1].SeriesInstanceUID != ""
    assert results[0].SOPInstanceUID != results[1].SOPInstanceUID
    assert "SourceImageSequence" not in results[0]


@pytest.mark.parametrize("shape", [(192, 150), (150, 192), (191, 191)])
def test_any_matrix_is_taken(tmp_path, shape):
    image = scanned(Scan(1e5, 0.38), views=360, half_width_mm=70.0, half_height_mm=70.0)[: shape[0], : shape[1]]
    ct_slice(tmp_path / "in/a.dcm", hu=image)
    simulate_series(tmp_path / "in", tmp_path / "out", DoseOptions(0.25, views=360))
    result = read_ct(tmp_path / "out/a.dcm").pixels_hu
    assert result.shape == shape
    assert noise_sd(result, image > -200) == pytest.approx(2.0 * noise_sd(image, image > -200), rel=0.1)


@pytest.mark.parametrize("tags", [{"NumberOfFrames": 2}, {"SOPClassUID": EnhancedCTImageStorage}, {"Modality": "MR"}])
def test_other_than_single_ct_slices_are_refused(tmp_path, tags):
    ct_slice(tmp_path / "in/a.dcm", **tags)
    with pytest.raises(InputError, match="no usable slice"):
        simulate_series(tmp_path / "in", tmp_path / "out", DoseOptions(0.25))


def test_unequal_pixel_sides_are_refused(tmp_path):
    ct_slice(tmp_path / "in/a.dcm", PixelSpacing=[1.4, 0.7])
    with pytest.raises(InputError, match="expected square pixels"):
        simulate_series(tmp_path / "in", tmp_path / "out", DoseOptions(0.25))


@pytest.mark.parametrize(
    ("signed", "bits", "range_"), [(0, 12, (0, 4095)), (1, 12, (-2048, 2047)), (1, 16, (-32768, 32767))]
)
def test_values_stay_within_the_bits_and_padding_stays(tmp_path, signed, bits, range_):
    path = write_slice(
        tmp_path / "a.dcm", PixelRepresentation=signed, RescaleIntercept=0, PixelPaddingValue=7, RescaleSlope=2
    )
    header = dataclasses.replace(read_header(path), bits_stored=bits)
    stored = np.array([[range_[0], range_[1], 7, 100]], np.int16 if signed else np.uint16)
    result, clipped = add_noise(stored, np.array([[-4.0, 4.0, 50.0, 20.0]]), header)
    np.testing.assert_array_equal(result, [[*range_, 7, 110]])
    np.testing.assert_array_equal(clipped, [1, 1])
    assert result.dtype == stored.dtype


def test_outside_of_the_reconstruction_circle_stays_empty(tmp_path):
    image = scanned(Scan(1e5, 0.38), views=360)
    line = np.arange(192) - 95.5
    outside = np.hypot(line[:, None], line) > 97
    image[outside] = -1024
    ct_slice(tmp_path / "in/a.dcm", hu=image)
    simulate_series(tmp_path / "in", tmp_path / "out", DoseOptions(0.1, **GIVEN))
    result = read_ct(tmp_path / "out/a.dcm").pixels_hu
    assert np.all(result[outside] == -1024)


def test_failure_leaves_the_earlier_result(series, tmp_path, monkeypatch):
    simulate_series(series, tmp_path / "out", DoseOptions(0.5, **GIVEN))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dose_series, "write_derived", fail)
    with pytest.raises(OSError, match="No space"):
        simulate_series(series, tmp_path / "out", DoseOptions(0.25, **GIVEN))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_output_that_would_be_lost_is_refused(series, tmp_path):
    taken = tmp_path / "taken"
    ct_slice(taken / "a.dcm")
    with pytest.raises(InputError, match="holds 1 file"):
        check_output(series, taken, force=False)
    check_output(series, taken, force=True)
    (taken / "thesis.docx").write_text("years of work")
    with pytest.raises(InputError, match=r"holds thesis\.docx"):
        check_output(series, taken, force=True)
    for folder in (series, series / "low", tmp_path):
        with pytest.raises(InputError, match="lie in each other"):
            check_output(series, folder, force=True)


def test_without_noise_to_measure_the_photons_are_asked_for(tmp_path):
    ct_slice(tmp_path / "in/a.dcm", hu=clean_body())
    with pytest.raises(InputError, match="--photons"):
        simulate_series(tmp_path / "in", tmp_path / "out", DoseOptions(0.25))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dose": 0.0}, "dose: expected above 0"),
        ({"dose": 1.2}, "dose: expected"),
        ({"dose": math.nan}, "dose: expected"),
        ({"dose": 0.5, "photons": -1.0}, "photons: expected"),
        ({"dose": 0.5, "kernel_half_per_mm": math.inf}, "kernel_half_per_mm: expected"),
        ({"dose": 0.5, "seed": -1}, "seed: expected"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        DoseOptions(**options)


def test_real_full_dose_becomes_like_its_real_quarter_dose(tmp_path):
    root = SHARED / "aapm_layout/L506"
    if not root.is_dir():
        pytest.skip("the real pair L506 is not beside the repository")
    report = simulate_series(root / "full_1mm", tmp_path / "out", DoseOptions(0.25))
    assert report.scan.kernel_half_per_mm == pytest.approx(0.38, rel=0.1)
    files = (next(folder.glob("*.IMA")) for folder in (root / "full_1mm", root / "quarter_1mm", tmp_path / "out"))
    full, quarter, simulated = (read_ct(file).pixels_hu.astype(np.float32) for file in files)
    spacing_mm = 0.7421875
    flat = flat_tissue(full, spacing_mm)
    sds = [float(np.std((image - smooth(image, 1.5, spacing_mm))[flat])) for image in (full, quarter, simulated)]
    assert 1.9 <= sds[2] / sds[0] <= 2.6
    assert sds[2] == pytest.approx(sds[1], rel=0.05)
    inside = body(full, spacing_mm)
    assert abs(float((simulated - full)[inside].mean())) < 2.0
    real, ours = (radial_spectrum((image - full)[160:352, 120:392], spacing_mm) for image in (quarter, simulated))
    assert 0.1 <= 0.05 * ours.argmax() + 0.025 <= 0.3
    assert ours[0] < 0.7 * ours.max()
    assert ours[12] < 0.1 * ours.max()  # 0.60-0.65 /mm; Nyquist is 0.67
    np.testing.assert_allclose(ours[1:9], real[1:9], rtol=0.3)


def test_real_clipped_series_is_refused(tmp_path):
    root = SHARED / "aapm_layout/L901/full_3mm"
    if not root.is_dir():
        pytest.skip("L901 is not beside the repository")
    with pytest.raises(InputError, match="lowest value is -160 HU"):
        simulate_series(root, tmp_path / "out", DoseOptions(0.25))


def test_real_series_of_another_scanner(tmp_path):
    files = sorted((SHARED / "dicom_series").glob("CT.*"))
    if not files:
        pytest.skip("the real series is not beside the repository")
    source = tmp_path / "in"
    source.mkdir()
    for file in files[::7]:
        elements: Dataset = pydicom.dcmread(file)
        elements.decompress(generate_instance_uid=False)
        elements.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        elements.save_as(source / file.name)
    report = simulate_series(source, tmp_path / "out", DoseOptions(0.25))
    assert report.written == len(files[::7])
    assert 0.34 < report.scan.kernel_half_per_mm < 0.42  # Br38f
    for file in source.iterdir():
        images = (read_ct(folder / file.name).pixels_hu.astype(np.float32) for folder in (source, tmp_path / "out"))
        before, after = (noise_sd(image, flat_tissue(image, 0.9765625, share=1.0), 0.9765625) for image in images)
        assert 1.7 <= after / before <= 2.2


def radial_spectrum(field, spacing_mm, side=64):
    """Mean power of 64-pixel windows in rings of 0.05 /mm."""
    taper = np.hanning(side)[:, None] * np.hanning(side)
    power = np.zeros((side, side))
    for row in range(0, field.shape[0] - side + 1, 32):
        for column in range(0, field.shape[1] - side + 1, 32):
            patch = field[row : row + side, column : column + side]
            power += np.abs(np.fft.fft2((patch - patch.mean()) * taper)) ** 2
    line = np.fft.fftfreq(side, spacing_mm)
    radius = np.hypot(line[:, None], line)
    return np.array([power[(radius >= low) & (radius < low + 0.05)].mean() for low in np.arange(0.0, 0.65, 0.05)])
