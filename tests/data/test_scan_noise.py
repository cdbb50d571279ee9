from pathlib import Path

import numpy as np
import pytest
from scans import SPACING_MM, THICKNESS_MM, clean_body, scanned

from iqagpt.data.dicom import read_ct
from iqagpt.data.scan_noise import NoiseProbe, Scan

L506 = Path(__file__).resolve().parents[2] / "../shared/data/aapm_layout/L506"


def probe(image, **options):
    return NoiseProbe(image, pixel_spacing_mm=SPACING_MM, thickness_mm=THICKNESS_MM, **options)


@pytest.mark.parametrize("kernel", [0.30, 0.38, 0.50])
@pytest.mark.parametrize("photons", [3e4, 3e5])
def test_photons_and_kernel_of_a_phantom_are_found(photons, kernel):
    found = probe(scanned(Scan(photons, kernel), seed=7), seed=3)
    assert found.usable
    assert found.kernel_half_per_mm() == pytest.approx(kernel, rel=0.1)
    assert found.photons(found.kernel_half_per_mm()) == pytest.approx(photons, rel=0.2)


def test_photons_do_not_depend_on_the_size_of_the_body():
    scan = Scan(1e5, 0.38)
    small = probe(scanned(scan, half_width_mm=70.0, half_height_mm=60.0)).photons(0.38)
    large = probe(scanned(scan, half_width_mm=125.0, half_height_mm=110.0)).photons(0.38)
    assert small == pytest.approx(large, rel=0.15)


def test_electronic_noise_counts_as_noise():
    scan = Scan(3e4, 0.38, electronic_sd=60.0)
    found = probe(scanned(scan))
    assert found.photons(0.38, 60.0) == pytest.approx(3e4, rel=0.2)
    assert found.photons(0.38, 0.0) < found.photons(0.38, 60.0)


def test_same_seed_same_numbers():
    image = scanned(Scan(1e5, 0.38))
    assert probe(image, seed=5).photons(0.4) == probe(image, seed=5).photons(0.4)


@pytest.mark.parametrize("image", [clean_body(), np.full((128, 128), -1000, np.int16), clean_body(hu=-700)])
def test_without_noise_or_soft_tissue_there_is_nothing_to_measure(image):
    assert not probe(image).usable


def test_rays_share_the_photons_of_the_views():
    scan = Scan(1e5, 0.38, 6.0)
    few = scan.rays(pixel_spacing_mm=0.5, thickness_mm=2.0, views=360)
    assert few == {"photons": pytest.approx(2e5), "electronic_sd": pytest.approx(6.0)}


def test_real_quarter_dose_is_found_to_have_a_quarter_of_the_photons():
    if not L506.is_dir():
        pytest.skip("the real pair L506 is not beside the repository")
    photons = []
    for folder in ("full_1mm", "quarter_1mm"):
        ct = read_ct(next((L506 / folder).glob("*.IMA")))
        found = NoiseProbe(ct.pixels_hu, pixel_spacing_mm=ct.header.pixel_spacing_mm, thickness_mm=1.0)
        assert found.kernel_half_per_mm() == pytest.approx(0.38, rel=0.1)
        photons.append(found.photons(0.38))
    assert photons[1] / photons[0] == pytest.approx(0.25, rel=0.2)
