"""One slice or many in HU: scores by the parser, each slice by itself, warnings, refusals."""

import gc
import subprocess
import sys

import numpy as np
import pytest

import iqagpt
from iqagpt.assessment import command, shipped
from iqagpt.criteria import KEYS, caption_to_scores
from iqagpt.ct import AIR_HU
from iqagpt.errors import ArtifactError, InputError
from tests.assessment.conftest import SIZE, body


def test_scores_are_those_of_the_caption_and_the_likeliest(assessor):
    for found in assessor.assess([body(0), body(1, noise_hu=150)]):
        assert found.scores == caption_to_scores(found.caption) and tuple(found.scores) == KEYS
        for key, shares in found.probabilities.items():
            names = ["1", "2", "3", "4", *(["n/a"] if key == "lesion_conspicuity" else [])]
            assert list(shares) == names and sum(shares.values()) == pytest.approx(1, abs=1e-3)
            score = found.scores[key]
            assert max(shares, key=shares.get) == ("n/a" if score is None else str(score))
            if score is None:
                assert found.expected[key] is None
            else:
                of_scores = np.array([shares[str(s)] for s in (1, 2, 3, 4)])
                assert found.expected[key] == pytest.approx(of_scores @ [1, 2, 3, 4] / of_scores.sum(), abs=2e-3)


def test_a_slice_gets_the_same_in_any_company(assessor):
    slices = [body(k, noise_hu=10.0 * k) for k in range(11)]
    together = assessor.assess(slices, pixel_spacing_mm=[0.7] * 11)
    assert len({str(found.probabilities) for found in together}) > 1
    for alone, found in zip(slices, together, strict=True):
        again = assessor.assess([alone], pixel_spacing_mm=[0.7])[0]
        assert again.caption == found.caption and again.warnings == found.warnings
        for key in KEYS:
            assert again.probabilities[key] == pytest.approx(found.probabilities[key], abs=2e-4)


@pytest.mark.parametrize(("side", "word"), [(48, "padded with air"), (100, "cropped")])
def test_other_matrices_are_padded_or_cropped_with_a_warning(assessor, side, word):
    image = body(3, side)
    fitted = np.full((SIZE, SIZE), AIR_HU, np.int16)
    if side < SIZE:
        fitted[8:56, 8:56] = image
    else:
        fitted = image[18:82, 18:82]
    found, expected = assessor(image), assessor(fitted)
    assert found.probabilities == expected.probabilities
    assert any(text.startswith(f"matrix {side} x {side}, {word} to 64 x 64") for text in found.warnings)
    assert not any("matrix" in text for text in expected.warnings)


def test_any_real_type_counts_as_hu(assessor):
    image = body(5)
    for other in (image.astype(np.float64), image.astype(np.int32), np.asfortranarray(image), image[::-1][::-1]):
        assert assessor(other) == assessor(image)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 64, 64), np.int16), "expected one slice"),
        (np.zeros((0, 64), np.int16), "expected one slice"),
        (np.zeros((5000, 2), np.int16), "at most 4096"),
        (np.full((64, 64), np.nan), "NaN"),
        (np.linspace(0, 1, 4096).reshape(64, 64), "undo the normalisation"),
        (np.full((64, 64), "x"), "expected numbers"),
        (np.zeros((64, 64), complex), "expected numbers"),
    ],
)
def test_what_is_no_slice_in_hu_is_refused(assessor, image, message):
    with pytest.raises(InputError, match=message):
        assessor(image)


def test_pixel_sizes_must_be_one_a_slice(assessor):
    with pytest.raises(InputError, match="2 slices and 1 pixel sizes"):
        assessor.assess([body(0), body(1)], pixel_spacing_mm=[0.7])
    assert assessor.assess([]) == []


def test_load_takes_a_folder_or_what_is_shipped(captioner_folder, assessor, monkeypatch, tmp_path):
    assert iqagpt.load(captioner_folder)(body(0)) == assessor(body(0))
    monkeypatch.setattr(shipped, "SHIPPED", captioner_folder)
    assert iqagpt.load().weights_sha256 == assessor.weights_sha256
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "nothing")
    with pytest.raises(ArtifactError, match="no captioner comes with this installation"):
        iqagpt.load()
    with pytest.raises(ArtifactError, match="no such folder"):
        iqagpt.load(tmp_path / "nothing")


def test_what_a_captioner_has_seen_is_read_from_its_artifact(assessor):
    from iqagpt.assessment.scope import Seen, spacing_warnings

    assert spacing_warnings(0.5, Seen.of({"seen": {"pixel_spacing_mm": [0.4, 0.6]}})) == []
    assert "outside 0.6 to 0.85" in spacing_warnings(0.5, Seen.of({}))[0]


def test_importing_the_package_and_the_command_loads_no_heavy_library():
    code = (
        "import sys, iqagpt, iqagpt.cli; sys.exit(bool({'torch', 'pandas', 'timm', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_assessing_starts_without_pandas():
    code = "import sys, iqagpt.assessment.running; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_garbage_is_left_alone_at_the_start_only():
    with command._uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_maps_come_from_the_explaining_part(assessor):
    pytest.importorskip("iqagpt.explain.grad_cam")
    found = assessor(body(0))
    maps = assessor.maps(body(0), found.caption)
    assert tuple(maps) == KEYS and all(m.min() >= 0 for m in maps.values())
    assert assessor.word_map(body(0), found.caption, 0).ndim == 2
