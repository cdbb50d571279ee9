import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import ndimage

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.config import load_section
from iqagpt.data.anatomy.patient import draw_patient
from iqagpt.data.lesions import (
    ORGANS,
    Lesion,
    Outline,
    SimulateParams,
    choose_lesion,
    choose_place,
    draw_lesion,
    simulate_lesions,
    tail_mm,
)
from iqagpt.data.phantom import PhantomParams, make_pair
from iqagpt.data.tissue import foreign, homogeneous_area
from iqagpt.errors import ParamsError

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
SPACING_MM = 1.5
ROUND = Outline(1.0, 0.0, (0.0,), (0.0,))


@pytest.fixture(scope="module")
def params():
    return load_section(ROOT / "params.yaml", "simulate", SimulateParams)


def torso(rng, side=128):
    rows, cols = (np.mgrid[:side, :side] - side / 2) * SPACING_MM
    image = np.full((side, side), -1000.0)
    image[np.hypot(rows / 75, cols / 90) < 1] = -90
    image[np.hypot(rows / 65, cols / 80) < 1] = 50
    liver = np.hypot(rows + 5, cols + 25) < 40
    image[liver] = 110
    image = ndimage.gaussian_filter(image, 0.7)
    noise = ndimage.gaussian_filter(rng.standard_normal(image.shape), 0.8)
    noisy = np.rint(image + 12 * noise / noise.std()).clip(-1024)
    return noisy.astype(np.int16), np.where(liver, 5, 0).astype(np.uint8)


def write_pairs(path, patients, slices, *, organ_map=True):
    rows = [
        (f"{patient}_{k:03d}", patient, k, SPACING_MM, int(organ_map), i * slices + k)
        for i, patient in enumerate(patients)
        for k in range(slices)
    ]
    columns = ["slice_id", "patient_id", "instance_number", "pixel_spacing_mm", "has_organ_map", "row"]
    manifest = pd.DataFrame(rows, columns=columns)
    with create_artifact(path, "pairs") as writer:
        shape = (len(rows), 128, 128)
        ndct, ldct = (writer.array(name, shape, np.int16) for name in ("ndct", "ldct"))
        organs = writer.array("organs", shape, np.uint8)
        for item in manifest.itertuples():
            rng = np.random.default_rng([ord(item.patient_id[-1]), item.instance_number])
            ndct[item.row], liver = torso(rng)
            ldct[item.row] = (ndct[item.row] + rng.normal(0, 20, liver.shape)).clip(-1024)
            if organ_map:
                organs[item.row] = liver
        writer.info |= {"window_hu": [-160.0, 240.0], "data_source": "made for tests"}
        writer.manifest(manifest)
    return open_artifact(path, "pairs")


def simulate(pairs, path, params):
    with create_artifact(path, "lesions") as writer:
        simulate_lesions(pairs, writer, params)
    return open_artifact(path, "lesions")


@pytest.fixture(scope="module")
def made(tmp_path_factory, params):
    folder = tmp_path_factory.mktemp("made")
    pairs = write_pairs(folder / "pairs", ["A", "B", "C"], 10)
    return pairs, simulate(pairs, folder / "lesions", params)


def test_the_fraction_of_slices_has_a_lesion(made):
    manifest = made[1].manifest
    assert (manifest.groupby("patient_id")["has_lesion"].sum() == 4).all()
    assert manifest.loc[manifest["has_lesion"] == 0, "lesion_row_px"].isna().all()
    assert len(made[1].table("lesions")) == 12


def test_both_doses_get_the_same_hu(made):
    pairs, lesions = made
    added = lesions.array("ndct") - pairs.array("ndct")
    assert np.array_equal(added, lesions.array("ldct") - pairs.array("ldct"))
    has_lesion = lesions.manifest["has_lesion"].to_numpy() == 1
    assert ((added != 0).any(axis=(1, 2)) == has_lesion).all()
    contrast_hu = lesions.manifest["lesion_contrast_hu"].to_numpy()[has_lesion]
    for image, contrast in zip(added[has_lesion], contrast_hu, strict=True):
        assert (image * np.sign(contrast) >= 0).all()
    assert {-1, 1} == set(np.sign(contrast_hu))


def test_clipping_to_stored_values_is_all_that_differs(tmp_path, params):
    pairs = write_pairs(tmp_path / "pairs", ["A"], 2)
    ldct = np.load(pairs.path / "ldct.npy")
    ldct[:] = 3060
    np.save(pairs.path / "ldct.npy", ldct)
    bright = dataclasses.replace(params, fraction=1.0, hyperdense=1.0)
    lesions = simulate(open_artifact(pairs.path, "pairs"), tmp_path / "out", bright)
    added = lesions.array("ndct") - pairs.array("ndct")
    assert np.array_equal(lesions.array("ldct"), np.minimum(3060 + added, 3071))


def test_contrast_and_size_are_as_the_table_says(made, params):
    pairs, lesions = made
    for item in lesions.table("lesions").itertuples():
        added = lesions.array("ndct")[item.row] - pairs.array("ndct")[item.row].astype(int)
        mask = lesions.array("lesion_mask")[item.row]
        area_mm2 = mask.sum() * SPACING_MM**2
        assert area_mm2 == pytest.approx(np.pi * item.lesion_diameter_mm**2 / 4, rel=0.1, abs=3 * SPACING_MM**2)
        strongest = added.ravel()[np.abs(added).argmax()]
        assert strongest == pytest.approx(item.lesion_contrast_hu, rel=0.15)
        volume = item.lesion_contrast_hu * np.pi * item.lesion_diameter_mm**2 / 4
        assert added.sum() * SPACING_MM**2 == pytest.approx(volume, rel=0.1)
        assert mask[item.lesion_row_px, item.lesion_col_px] == 1
        assert params.diameter_mm[0] <= item.lesion_diameter_mm <= params.diameter_mm[1]


def test_lesions_lie_inside_the_organ_with_a_margin(made, params):
    pairs, lesions = made
    for item in lesions.table("lesions").itertuples():
        organ = pairs.array("organs")[item.row] == ORGANS["liver"]
        depth_mm = ndimage.distance_transform_edt(organ) * SPACING_MM
        assert depth_mm[lesions.array("lesion_mask")[item.row] == 1].min() >= params.margin_mm
        changed = lesions.array("ndct")[item.row] != pairs.array("ndct")[item.row]
        assert organ[changed].all()


def test_the_share_of_bright_lesions_is_as_asked_and_changes_signs_only(params):
    image, organs = torso(np.random.default_rng(0))
    found = {}
    for share in (0.0, 0.2, 1.0):
        asked = dataclasses.replace(params, hyperdense=share)
        found[share] = [choose_lesion(image, organs, SPACING_MM, asked, f"A_{k:03d}") for k in range(100)]
    bright = sum(lesion.contrast_hu > 0 for lesion in found[0.2])
    assert 10 <= bright <= 30
    for dark, mixed, light in zip(*found.values(), strict=True):
        assert params.contrast_hu[0] <= dark.contrast_hu <= params.contrast_hu[1]
        assert light.contrast_hu == -dark.contrast_hu
        assert dataclasses.replace(light, contrast_hu=dark.contrast_hu) == dark
        assert mixed in (dark, light)


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("value", [-900, -95, 400])
def test_lesions_avoid_gas_fat_and_bone_inside_the_area(value, mapped, params):
    image, organs = torso(np.random.default_rng(1))
    rows, cols = (np.mgrid[:128, :128] - 64) * SPACING_MM
    # A gas bubble, a fissure's fat and a calcification well inside the liver, 5 mm wide.
    spots = np.zeros(image.shape, bool)
    for row, col in ((-15, -25), (10, -40), (5, -5), (-5, -30)):
        spots |= np.hypot(rows - row, cols - col) < 2.5
    image = np.where(spots, value, image).astype(np.int16)
    for k in range(30):
        lesion = choose_lesion(image, organs if mapped else None, SPACING_MM, params, f"A_{k:03d}")
        if lesion is not None:
            added, _ = draw_lesion(lesion, image.shape, SPACING_MM)
            assert not (spots & (added != 0)).any()


@pytest.mark.parametrize("contrast_hu", [-60.0, -20.0, 20.0, 60.0])
@pytest.mark.parametrize("sigma_mm", [0.7, 1.0])
def test_the_blurred_edge_ends_where_the_margin_does(contrast_hu, sigma_mm):
    lesion = Lesion(64, 64, 12.0, contrast_hu, sigma_mm, ROUND)
    added, _ = draw_lesion(lesion, (128, 128), 0.75)
    rows, cols = (np.mgrid[:128, :128] - 64) * 0.75
    assert not added[np.hypot(rows, cols) >= 6.0 + tail_mm(sigma_mm, 0.75)].any()
    assert added[64, 64] == contrast_hu
    assert tail_mm(sigma_mm, 0.75) < 2


def test_another_patient_changes_no_other_slice(made, tmp_path, params):
    more = simulate(write_pairs(tmp_path / "pairs", ["A", "B", "C", "D"], 10), tmp_path / "out", params)
    before = made[1].table("lesions")
    after = more.table("lesions")
    pd.testing.assert_frame_equal(before, after[after["patient_id"] != "D"].reset_index(drop=True))


def test_equal_inputs_give_equal_bytes_and_another_seed_does_not(made, tmp_path, params):
    again = simulate(made[0], tmp_path / "again", params)
    other = simulate(made[0], tmp_path / "other", dataclasses.replace(params, seed=params.seed + 1))
    for name in ("manifest.csv", "lesions.csv", "ndct.npy", "lesion_mask.npy", "artifact.json"):
        assert (again.path / name).read_bytes() == (made[1].path / name).read_bytes()
    assert (other.path / "lesions.csv").read_bytes() != (made[1].path / "lesions.csv").read_bytes()


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_no_lesions_or_all(fraction, tmp_path, params):
    pairs = write_pairs(tmp_path / "pairs", ["A"], 3)
    manifest = simulate(pairs, tmp_path / "out", dataclasses.replace(params, fraction=fraction)).manifest
    assert manifest["has_lesion"].tolist() == [int(fraction)] * 3


def test_single_slices_get_lesions_too_on_average(tmp_path, params):
    pairs = write_pairs(tmp_path / "pairs", list("ABCDEFGHIJKLMNO"), 1)
    assert 2 <= simulate(pairs, tmp_path / "out", params).manifest["has_lesion"].sum() <= 10


def test_without_organ_map_soft_tissue_is_used(tmp_path, params):
    pairs = write_pairs(tmp_path / "pairs", ["A"], 2, organ_map=False)
    lesions = simulate(pairs, tmp_path / "out", dataclasses.replace(params, fraction=1.0))
    for item in lesions.table("lesions").itertuples():
        area = homogeneous_area(pairs.array("ndct")[item.row], SPACING_MM)
        assert (lesions.array("lesion_mask")[item.row] <= area).all()


def test_an_organ_that_is_not_in_the_slice_gets_no_lesion(params, caplog, tmp_path):
    image, organs = torso(np.random.default_rng(0))
    spleen = dataclasses.replace(params, organ="spleen", fraction=1.0)
    assert choose_lesion(image, organs, SPACING_MM, spleen, "A_000") is None
    lesions = simulate(write_pairs(tmp_path / "pairs", ["A"], 2), tmp_path / "out", spleen)
    assert lesions.manifest["has_lesion"].sum() == 0
    assert lesions.manifest["lesion_diameter_mm"].isna().all()
    assert "0 lesions instead of 2" in caplog.text


def test_a_small_organ_gets_a_smaller_lesion(params):
    image, _ = torso(np.random.default_rng(0))
    rows, cols = np.mgrid[:128, :128] * SPACING_MM
    organs = np.where(np.hypot(rows - 80, cols - 70) < 9, 5, 0).astype(np.uint8)
    wide = dataclasses.replace(params, diameter_mm=(6.0, 20.0))
    found = [choose_lesion(image, organs, SPACING_MM, wide, f"A_{k:03d}") for k in range(12)]
    assert any(found)
    assert all(lesion is None or lesion.diameter_mm <= 14 for lesion in found)


def test_the_place_avoids_a_large_vessel():
    region = np.zeros((100, 100), bool)
    region[10:90, 10:90] = True
    image = np.full(region.shape, 100.0)
    image[20:80, 20:30] = 200
    columns = [choose_place(image, region, 6.0, 1.0, np.random.default_rng(seed))[1] for seed in range(30)]
    assert min(columns) >= 36


def test_the_organ_ends_at_the_edge_of_the_image():
    row, col = choose_place(np.zeros((40, 40)), np.ones((40, 40), bool), 15.0, 1.0, np.random.default_rng(0))
    assert 14 <= row <= 25
    assert 14 <= col <= 25


def test_the_edge_is_blurred_as_asked():
    lesion = Lesion(60, 60, 30.0, -100.0, 2.0, ROUND)
    added, mask = draw_lesion(lesion, (121, 121), 1.0)
    profile = -added[60, 60:] / 100
    assert profile[0] == 1
    # A blurred step of sigma 2 falls from 84 % to 16 % within 4 mm around the outline at 15 mm.
    assert np.interp(-0.84, -profile, np.arange(61)) == pytest.approx(13, abs=0.6)
    assert np.interp(-0.16, -profile, np.arange(61)) == pytest.approx(17, abs=0.6)
    assert mask.sum() == pytest.approx(np.pi * 15**2, rel=0.02)


def test_a_lesion_at_the_border_is_cut_not_wrapped():
    added, mask = draw_lesion(Lesion(1, 1, 12.0, -50.0, 0.8, ROUND), (64, 64), 1.0)
    assert added[1, 1] == -50
    assert not mask[32:].any()
    assert not mask[:, 32:].any()


def test_outline_keeps_its_area(params):
    outline = Outline(1.4, 0.3, (0.05, -0.04, 0.03), (0.1, 2.0, 4.0))
    theta = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    assert 0.5 * np.mean(outline.radius(theta) ** 2) * 2 == pytest.approx(1, abs=0.02)
    assert outline.reach == pytest.approx(outline.radius(theta).max(), rel=1e-3)


@pytest.mark.parametrize("patient_id", ["L506", "L901", "L902", "L903", "L904", "L905"])
def test_lesions_in_real_ct_without_organ_map_cover_soft_tissue_only(patient_id, params):
    pydicom = pytest.importorskip("pydicom")
    folder = SHARED / "data" / "aapm_layout" / patient_id
    if not folder.is_dir():
        pytest.skip(f"no real CT beside the repository: {folder} is absent")
    dataset = pydicom.dcmread(next(folder.glob("full_*/*.IMA")))
    spacing_mm = float(dataset.PixelSpacing[0])
    image = dataset.pixel_array.astype(float) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    check_places(image.astype(np.int16), None, spacing_mm, params, patient_id)


def test_lesions_in_the_phantom_cover_soft_tissue_only(params):
    phantom = load_section(ROOT / "params.yaml", "phantom", PhantomParams)
    patient = draw_patient(phantom.seed, 3)
    pair = make_pair(patient, phantom, 5)
    spacing_mm = patient.fov_mm / phantom.matrix
    check_places(pair.ndct, pair.organs, spacing_mm, params, "phantom")
    check_places(pair.ndct, None, spacing_mm, params, "phantom")


def check_places(image, organs, spacing_mm, params, name):
    wrong = foreign(image, spacing_mm)
    assert wrong.any()
    for k in range(6):
        lesion = choose_lesion(image, organs, spacing_mm, params, f"{name}_{k:03d}")
        added, mask = draw_lesion(lesion, image.shape, spacing_mm)
        assert not wrong[added != 0].any()
        assert not wrong[ndimage.distance_transform_edt(mask == 0) * spacing_mm <= 1.0].any()
        assert 20 < np.median(image[mask == 1]) < 200
        if organs is not None:
            assert (organs[added != 0] == ORGANS["liver"]).all()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fraction", 1.2),
        ("organ", "lever"),
        ("diameter_mm", [20.0, 5.0]),
        ("diameter_mm", [0.5, 5.0]),
        ("contrast_hu", [-20.0, 20.0]),
        ("hyperdense", 1.1),
        ("hyperdense", -0.1),
        ("edge_sigma_mm", [0.0, 1.0]),
        ("elongation", 0.5),
        ("irregularity", 0.9),
        ("margin_mm", -1.0),
        ("seed", -1),
    ],
)
def test_bad_values_are_named(key, value, tmp_path):
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["simulate"] | {key: value}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"simulate": section}))
    with pytest.raises(ParamsError, match=rf"simulate\.{key}: expected"):
        load_section(tmp_path / "params.yaml", "simulate", SimulateParams)
