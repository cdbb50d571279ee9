import dataclasses
import itertools

import numpy as np
import pydicom
import pytest
from scipy.ndimage import binary_erosion

from iqagpt.config import load_section
from iqagpt.data.anatomy.patient import draw_patient
from iqagpt.data.anatomy.render import render_slice
from iqagpt.data.anatomy.vessels import grow_tree
from iqagpt.data.dicom_writer import Series, write_slice
from iqagpt.data.phantom import PhantomParams, make_pair, water_diameter_mm

PARAMS = PhantomParams(
    patients=2, pretrain_patients=0,
    slices=3, slice_increment_mm=8.0, thickness_mm=3.0, matrix=512, dose=0.25, views=720, photons=4e5,
    electronic_sd=6.0, seed=20160,
)  # fmt: skip
LIVER = 5


@pytest.fixture(scope="module")
def patient():
    return draw_patient(20160, 1)


@pytest.fixture(scope="module")
def pair(patient):
    return make_pair(patient, PARAMS, 1)


@pytest.fixture(scope="module")
def clean(patient):
    return render_slice(patient, 0.0, matrix=512, thickness_mm=3.0)


def test_noise_of_both_doses_is_in_the_range_of_real_3_mm_slices(patient, pair, clean):
    hu, labels = clean
    np.testing.assert_array_equal(labels, pair.organs)
    liver = binary_erosion(labels == LIVER, iterations=8) & (np.abs(hu - patient.hu["liver"]) < 12)
    assert liver.sum() > 3000
    normal, low = (float((image - hu)[liver].std()) for image in (pair.ndct, pair.ldct))
    assert 13 < normal < 18
    assert 24 < low < 42
    assert 1.9 < low / normal < 2.3
    assert abs(float((pair.ldct.astype(float) - pair.ndct)[liver].mean())) < 2
    assert abs(float((pair.ndct - hu)[liver].mean())) < 2


def test_values_fit_into_12_bits(pair):
    for image in (pair.ndct, pair.ldct):
        assert image.dtype == np.int16
        assert image.shape == (512, 512)
        assert image.min() >= -1024
        assert image.max() <= 3071
        assert image.max() > 400  # bone
        assert image.min() < -900  # air


def test_low_dose_is_the_normal_dose_plus_noise_and_dose_1_is_the_normal_dose(patient):
    params = dataclasses.replace(PARAMS, matrix=128, views=90)
    low = make_pair(patient, params, 1)
    same = make_pair(patient, dataclasses.replace(params, dose=1.0), 1)
    np.testing.assert_array_equal(low.ndct, same.ndct)
    np.testing.assert_array_equal(same.ldct, same.ndct)
    assert not np.array_equal(low.ldct, low.ndct)


def test_organs_have_their_enhancement(patient, clean):
    hu, labels = clean
    for label, name in ((LIVER, "liver"), (1, "spleen"), (52, "aorta")):
        inner = binary_erosion(labels == label, iterations=3)
        assert inner.sum() > 50, name
        assert np.median(hu[inner]) == pytest.approx(patient.hu[name], abs=12), name
    assert np.median(hu[(hu < -60) & (hu > -150)]) == pytest.approx(patient.hu["fat"], abs=8)


@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_liver_is_in_every_slice_and_changes_smoothly(index):
    patient = draw_patient(7, index)
    heights = np.arange(-64.0, 65.0, 8.0)
    spacing = patient.fov_mm / 128
    masks = [render_slice(patient, z, matrix=128, thickness_mm=3.0)[1] == LIVER for z in heights]
    areas = np.array([mask.sum() for mask in masks]) * spacing**2
    assert areas.min() > 2500  # mm^2: a lesion of 20 mm finds room
    overlap = [(a & b).sum() / (a | b).sum() for a, b in itertools.pairwise(masks)]
    assert min(overlap) > 0.6


def test_neighbouring_heights_look_alike_and_far_ones_do_not(patient):
    near, here, far = (render_slice(patient, z, matrix=128, thickness_mm=3.0)[0] for z in (0.5, 0.0, 40.0))
    assert np.abs(near - here).mean() < 0.25 * np.abs(far - here).mean()


def test_patients_differ_and_a_patient_does_not_depend_on_others():
    first, again, second = draw_patient(1, 1), draw_patient(1, 1), draw_patient(1, 2)
    assert first.fov_mm == again.fov_mm
    assert first.hu == again.hu
    a, b, c = (render_slice(p, 0.0, matrix=128, thickness_mm=3.0)[0] for p in (first, again, second))
    assert a.tobytes() == b.tobytes()
    assert np.abs(a - c).mean() > 20
    assert first.scale != second.scale


def test_body_fits_into_the_field_of_view():
    for index in range(1, 11):
        patient = draw_patient(20160, index)
        assert 0.66 <= patient.fov_mm / 512 <= 0.80
        hu = render_slice(patient, 0.0, matrix=128, thickness_mm=3.0)[0]
        columns = np.flatnonzero((hu[20:70] > -300).any(axis=0))
        assert columns[0] > 0
        assert columns[-1] < 127
        assert 300 < (columns[-1] - columns[0]) * patient.fov_mm / 128 < 400


def test_matrix_changes_the_pixels_and_not_the_anatomy(patient):
    small, large = (render_slice(patient, 0.0, matrix=m, thickness_mm=3.0)[1] == LIVER for m in (128, 256))
    assert small.sum() * 4 == pytest.approx(large.sum(), rel=0.03)


def test_water_diameter_of_a_water_disc_is_its_own():
    line = np.arange(256) - 127.5
    disc = np.where(np.hypot(line[:, None], line) < 100, 0, -1000)
    assert water_diameter_mm(disc, 1.5) == pytest.approx(300, rel=0.01)


def test_tree_obeys_murray_and_reaches_all_ends():
    ends = np.random.default_rng(0).uniform(-30, 30, (40, 3))
    tree = grow_tree([(60, 0, 0), (35, 0, 0)], ends, end_radius_mm=0.5)
    assert tree.radius.min() == pytest.approx(0.5)
    assert tree.radius.max() == pytest.approx(0.5 * np.cbrt(41), rel=0.01)
    tips = {tuple(point) for point in tree.end}
    assert all(tuple(end) in tips for end in ends)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patients", 0), ("slices", 0), ("slice_increment_mm", 0.0), ("thickness_mm", 0.0), ("matrix", 32),
        ("matrix", 129), ("dose", 0.0), ("dose", 1.5), ("views", 5), ("photons", 0.0), ("electronic_sd", -1.0),
        ("seed", -1), ("slices", 40),
    ],
)  # fmt: skip
def test_params_out_of_range_name_the_key(key, value):
    expected = "slice_increment_mm" if (key, value) == ("slices", 40) else key
    with pytest.raises(ValueError, match=f"^{expected}: expected"):
        dataclasses.replace(PARAMS, **{key: value})


def test_defaults_in_params_yaml_are_accepted(request):
    params = load_section(request.config.rootpath / "params.yaml", "phantom", PhantomParams)
    assert params.patients >= 1


SERIES = Series(
    patient_name="L001", description="test", number=3, uid_key="key", pixel_spacing_mm=0.7421875, thickness_mm=3.0,
    kernel="B30f", comment="synthetic",
)  # fmt: skip


def test_written_slice_is_valid_ct_and_reads_back(tmp_path):
    image = np.random.default_rng(0).integers(-1024, 3072, (64, 64)).astype(np.int16)
    write_slice(tmp_path / "a.IMA", image, SERIES, instance=2, z_mm=-120.5, current_ma=53)
    dataset = pydicom.dcmread(tmp_path / "a.IMA")
    assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert dataset.SOPClassUID == pydicom.uid.CTImageStorage
    assert dataset.BitsStored == 12
    np.testing.assert_array_equal(dataset.pixel_array.astype(int) + int(dataset.RescaleIntercept), image)
    assert float(dataset.ImagePositionPatient[2]) == -120.5
    assert float(dataset.SliceLocation) == 120.5
    assert list(dataset.PixelSpacing) == [0.7421875, 0.7421875]
    assert dataset.WindowCenter[0] == 40
    assert dataset.XRayTubeCurrent == 53
    assert "ynthetic" in dataset.ImageComments


def test_writing_twice_gives_the_same_bytes(tmp_path):
    image = np.zeros((64, 64), np.int16)
    for name in ("a", "b"):
        write_slice(tmp_path / name, image, SERIES, instance=1, z_mm=0.0, current_ma=100)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_values_beyond_12_bits_are_refused(tmp_path):
    image = np.full((64, 64), 3072, np.int16)
    with pytest.raises(ValueError, match="got 3072 to 3072"):
        write_slice(tmp_path / "a", image, SERIES, instance=1, z_mm=0.0, current_ma=100)
