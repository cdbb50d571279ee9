"""Denoisers of the user's own: what is taken, and one message for each mistake."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.denoise.further import DenoiseParams, open_further
from iqagpt.denoise.own_code import load_code
from iqagpt.errors import InputError
from tests.data.dicom_files import write_slice

SIDE = 32
NONE = "presets/none.txt"
IDS = ["A_000", "B_000"]


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    """Two slices, stored in another order than the manifest's: rows decide."""
    path = tmp_path_factory.mktemp("further") / "lesions"
    rng = np.random.default_rng(0)
    with create_artifact(path, "lesions") as writer:
        for name, sd in (("ndct", 10), ("ldct", 30)):
            image = rng.normal(60, sd, (2, SIDE, SIDE))
            image[:, :8] = -1000
            writer.array(name, (2, SIDE, SIDE), np.int16)[:] = image
        table = {"slice_id": IDS, "patient_id": ["A", "B"], "row": [1, 0], "pixel_spacing_mm": [0.5, 0.75]}
        writer.manifest(pd.DataFrame(table))
        writer.info["window_hu"] = [-160.0, 240.0]
    return open_artifact(path, "lesions")


@pytest.fixture
def code(tmp_path):
    def write(text):
        file = tmp_path / "mine.py"
        file.write_text(text)
        return str(file)

    return write


@pytest.fixture
def folder(tmp_path, lesions):
    def write(variant="tool", **images):
        images = dict(zip(IDS, lesions.array("ldct")[[1, 0]], strict=True)) | images
        (tmp_path / "images" / variant).mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            if image is not None:
                np.save(tmp_path / "images" / variant / f"{name}.npy", image)
        return str(tmp_path / "images")

    return write


def image_of(lesions, row=0, **params):
    further = open_further(DenoiseParams(**{"extra": (), "code": NONE, "folder": NONE} | params), lesions)
    (source,) = further.own.values()
    return source.image(row)


# Names


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"extra": ("guass",)},
            r"extra: unknown 'guass' \(did you mean 'gauss'\?\); built in: gauss, gauss_strong, median",
        ),
        ({"extra": ("mine",)}, "a function of your own needs its file in denoise.code"),
        ({"extra": ("gauss", "gauss")}, "extra: expected each name once, got 'gauss'"),
        ({"extra": ("net-1",), "code": "x.py"}, "extra: expected a name of letters, digits and _, .* got 'net-1'"),
        ({"extra": ("map_nn_d6",), "code": "x.py"}, "extra: expected another name .* got 'map_nn_d6'"),
        ({"extra": ("NDCT",), "code": "x.py"}, "extra: expected another name .* got 'NDCT'"),
        ({"extra": ("mean",), "code": "x.py"}, "extra: expected another name .* got 'mean'"),
        ({"code": ""}, "code: expected a path"),
        ({"folder": ""}, "folder: expected a path"),
    ],
)
def test_wrong_params_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        DenoiseParams(**{"extra": (), "code": NONE, "folder": NONE} | params)


def test_nothing_asked_for_is_nothing_opened(lesions):
    further = open_further(DenoiseParams((), NONE, NONE), lesions)
    assert (further.names, further.filters, further.own) == ((), {}, {})


def test_order_is_extra_then_folders(lesions, code, folder):
    text = "def mine(ldct):\n    return ldct\n"
    folder("b_tool")
    further = open_further(DenoiseParams(("tv", "mine"), code(text), folder("a_tool")), lesions)
    assert further.names == ("tv", "mine", "a_tool", "b_tool")
    assert list(further.filters) == ["tv"]
    assert list(further.own) == ["mine", "a_tool", "b_tool"]


# Functions


def test_a_function_sees_ldct_as_float_and_may_change_it(lesions, code):
    text = (
        "import numpy as np\n"
        "def mine(ldct):\n"
        "    assert ldct.dtype == np.float32 and ldct.shape == (32, 32)\n"
        "    ldct += 1.4\n"
        "    return ldct\n"
    )
    before = lesions.array("ldct")[0].copy()
    assert np.array_equal(image_of(lesions, extra=("mine",), code=code(text)), before + 1)
    assert np.array_equal(lesions.array("ldct")[0], before)


def test_a_function_that_asks_for_it_is_told_the_pixel_spacing(lesions, code):
    text = "def mine(ldct, *, pixel_spacing_mm):\n    return ldct + 40 * pixel_spacing_mm\n"
    difference = image_of(lesions, 1, extra=("mine",), code=code(text)) - lesions.array("ldct")[1]
    assert np.unique(difference).tolist() == [20]


def test_values_beyond_the_stored_range_are_clipped(lesions, code):
    text = "def mine(ldct):\n    ldct[0, :2] = -5000, 9000\n    return ldct\n"
    assert image_of(lesions, extra=("mine",), code=code(text))[0, :2].tolist() == [-1024, 3071]


def test_a_package_brings_its_own_files(lesions, tmp_path):
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("from .net import shift\ndef mine(ldct):\n    return ldct + shift()\n")
    (package / "net.py").write_text(
        "from pathlib import Path\n"
        "def shift():\n    return float((Path(__file__).parent / 'weights.txt').read_text())\n"
    )
    (package / "weights.txt").write_text("3")
    image = image_of(lesions, extra=("mine",), code=str(package))
    assert np.unique(image - lesions.array("ldct")[0]).tolist() == [3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere\n", r"mine.py: cannot be imported: ModuleNotFoundError \(line 1 of mine.py\): No module"),
        ("def mine(:\n", "mine.py: cannot be imported: SyntaxError: .*line 1"),
        ("raise SystemExit(3)\n", "cannot be imported: SystemExit"),
        (
            "def other(x):\n    return x\n",
            r"denoise.extra: 'mine' is neither built in nor a function of .*; known: .*other",
        ),
        ("mine = 3\n", "denoise.extra: 'mine' is neither"),
    ],
)
def test_code_that_cannot_be_used(text, message, lesions, code):
    with pytest.raises(InputError, match=message):
        image_of(lesions, extra=("mine",), code=code(text))


def test_code_that_is_missing_not_asked_for_or_named_like_a_filter(lesions, code):
    with pytest.raises(InputError, match=r"denoise.code: nowhere.py: no such file"):
        image_of(lesions, extra=("mine",), code="nowhere.py")
    file = code("def mine(x):\n    return x\ndef tv(x):\n    return x\n")
    with pytest.raises(InputError, match=r"names no function of denoise.code .*; it has mine, tv"):
        image_of(lesions, extra=("gauss",), code=file)
    with pytest.raises(InputError, match=r"'tv' is the name of a built-in denoiser; rename the function"):
        image_of(lesions, extra=("tv", "mine"), code=file)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('weights')", r"mine.py: mine, slice B_000: KeyError \(line 3 of mine.py\): 'weights'"),
        ("return ldct[None]", r"slice B_000: expected an array of 32 x 32 numbers in HU, got shape \(1, 32, 32\)"),
        ("return None", "numbers in HU, got NoneType of type object"),
        ("return ldct > 0", "numbers in HU, got ndarray of type bool"),
        ("return ldct + 0j", "got ndarray of type complex64"),
        ("ldct[0, :3] = np.nan, np.inf, 1; return ldct", "got 2 that are NaN or infinite"),
        (
            "return np.clip((ldct + 160) / 400, 0, 1)",
            r"values run from 0 to 0.\d+, LDCT's from -1000 to .* HU; expected HU",
        ),
        ("return ldct + 1024", r"values run from 24 to .*, and inside the window their median lies \+1024 from LDCT's"),
        ("return np.clip((ldct + 160) / 400, 0, 1) * 255", r"not \[0, 1\], 0..255 or HU \+ 1024"),
        ("return np.zeros_like(ldct)", "values run from 0 to 0"),
    ],
)
def test_a_function_whose_result_cannot_be_used(body, message, lesions, code):
    with pytest.raises(InputError, match=message):
        image_of(lesions, extra=("mine",), code=code(f"import numpy as np\ndef mine(ldct):\n    {body}\n"))


def test_changed_code_is_taken_anew(code):
    assert load_code(Path(code("A = 1\n"))).A == 1
    assert load_code(Path(code("A = 2\n"))).A == 2


# Folders


def test_folder_images_are_found_by_slice_id(lesions, folder):
    path = folder(A_000=lesions.array("ldct")[1] + 7, Z_000=np.zeros(3))
    assert np.array_equal(image_of(lesions, 1, folder=path), lesions.array("ldct")[1] + 7)
    assert np.array_equal(image_of(lesions, 0, folder=path), lesions.array("ldct")[0])


@pytest.mark.parametrize("suffix", ["dcm", "IMA"])
def test_folder_images_may_be_dicom(suffix, lesions, folder, tmp_path):
    path = folder(A_000=None)
    image = np.clip(lesions.array("ldct")[1] + 5, -1024, 3071)
    write_slice(tmp_path / f"images/tool/A_000.{suffix}", hu=image.astype(np.int32))
    assert np.array_equal(image_of(lesions, 1, folder=path), image)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"A_000": None}, r"images/tool: no image of slice A_000.*, 1 of 2 missing; .*manifest.csv lists the slices"),
        ({"A_000": None, "A_0000": np.zeros(3)}, r"no image of slice A_000 \(did you mean 'A_0000'\?\)"),
        ({"A_000": np.zeros((16, 32))}, r"A_000.npy: expected an array of 32 x 32 numbers in HU, got shape \(16, 32\)"),
        ({"A_000": np.full((32, 32), np.nan)}, "A_000.npy: .*1024 that are NaN"),
        ({"A_000": np.random.default_rng(0).random((32, 32))}, r"A_000.npy: values run from .*not \[0, 1\]"),
        ({"A_000": np.array([["a"]])}, "of type <U1"),
        ({"A_000": np.array([[None]])}, "A_000.npy: not a readable .npy array .*Python objects"),
    ],
)
def test_folder_images_that_cannot_be_used(images, message, lesions, folder):
    with pytest.raises(InputError, match=message):
        image_of(lesions, 1, folder=folder(**images))


def test_folders_that_cannot_be_used(lesions, folder, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        image_of(lesions, folder="nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/A_000.npy").touch()
    with pytest.raises(InputError, match=r"empty: no folder inside; expected NAME/SLICE_ID.npy"):
        image_of(lesions, folder=str(tmp_path / "empty"))
    path = folder("Red_CNN")
    with pytest.raises(InputError, match=r"images/Red_CNN: expected another name .*; rename the folder"):
        image_of(lesions, folder=path)


def test_files_of_another_type_twice_or_torn(lesions, folder, tmp_path):
    path = folder()
    png = tmp_path / "images/tool/A_000.png"
    png.touch()
    with pytest.raises(InputError, match=r"A_000.png: not an image file; expected NAME/SLICE_ID.npy"):
        image_of(lesions, folder=path)
    png.rename(png.with_suffix(".dcm"))
    with pytest.raises(InputError, match=r"A_000.npy: the slice has A_000.dcm as well"):
        image_of(lesions, folder=path)
    png.with_suffix(".dcm").unlink()
    npy = png.with_suffix(".npy")
    npy.write_bytes(npy.read_bytes()[:200])
    with pytest.raises(InputError, match=r"A_000.npy: not a readable .npy array"):
        image_of(lesions, 1, folder=path)
    npy.unlink()
    npy.with_suffix(".dcm").write_bytes(b"not DICOM")
    with pytest.raises(InputError, match=r"denoise.folder: .*A_000.dcm: not a DICOM file"):
        image_of(lesions, 1, folder=path)


def test_a_folder_named_like_an_extra_is_refused(lesions, folder):
    with pytest.raises(InputError, match=r"variant 'gauss' comes twice, perhaps in denoise.extra"):
        open_further(DenoiseParams(("gauss",), NONE, folder("Gauss")), lesions)
