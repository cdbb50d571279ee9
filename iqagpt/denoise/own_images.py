"""Images that something else has made of the same slices: folders ``NAME/SLICE_ID.npy`` or ``.dcm``, and their check.

Stage ``denoise`` opens them through `iqagpt.denoise.further`. Slice ids are those of ``data/lesions/manifest.csv``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iqagpt.artifacts import Artifact
from iqagpt.config import suggest
from iqagpt.ct import STORED_RANGE_HU
from iqagpt.data.dicom import UnreadableCT, read_ct
from iqagpt.errors import InputError

#: Suffixes in small letters: an array in HU, and a CT slice.
ARRAY, DICOM = (".npy",), (".dcm", ".ima")
#: A picture of fewer grey levels, where the slice has many, is scaled to [0, 1] or empty.
LEAST_RANGE_HU = 10.0
#: A denoiser keeps the middle of what a slice shows; one that is further off works in another unit.
MOST_SHIFT_HU = 50.0

_LAYOUT = "NAME/SLICE_ID.npy or NAME/SLICE_ID.dcm"


@dataclass(frozen=True)
class OwnFolder:
    """The images of one variant.

    Attributes
    ----------
    files : dict
        File by ``slice_id``; every slice has one.
    lesions : Artifact
        The slices.
    """

    files: dict[str, Path]
    lesions: Artifact

    def image(self, row: int) -> np.ndarray:
        """Return the image of one slice, (H, W), int16, HU.

        Raises
        ------
        InputError
            If the file cannot be read, or is not an image in HU of the slice's size.
        """
        slices = self.lesions.manifest.set_index("row")["slice_id"]
        file = self.files[slices[row]]
        return checked(_read(file), row, self.lesions, f"denoise.folder: {file}")


def open_folders(path: Path, lesions: Artifact) -> dict[str, OwnFolder]:
    """Find the images of every variant below a folder.

    Parameters
    ----------
    path : Path
        Holds one folder per variant; files beside these, and hidden ones, are ignored.
    lesions : Artifact
        The slices that need an image; images of other slices are ignored.

    Returns
    -------
    dict of str to OwnFolder
        By name of the folder, sorted.

    Raises
    ------
    InputError
        If there is no such folder, none inside, a slice has no image or two, or a file is of another type.
    """
    if not path.is_dir():
        raise InputError(f"denoise.folder: {path}: no such folder; give one, or presets/none.txt for none")
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise InputError(f"denoise.folder: {path}: no folder inside; expected {_LAYOUT}")
    return {folder.name: OwnFolder(_find_files(folder, lesions), lesions) for folder in folders}


def checked(image: Any, row: int, lesions: Artifact, where: str) -> np.ndarray:
    """Check that a foreign image is one of the slice, in HU.

    Parameters
    ----------
    image : array-like, (H, W), HU
    row : int
        Of the slice that it should show.
    lesions : Artifact
        The slices; within their window the middle of what LDCT shows must be kept.
    where : str
        Key, file and slice for messages.

    Returns
    -------
    ndarray, (H, W), int16, HU
        Rounded and clipped to the stored range.

    Raises
    ------
    InputError
        If size or type is wrong, values are not finite, or evidently not HU.
    """
    ldct = np.asarray(lesions.array("ldct")[row])
    wanted = f"expected an array of {ldct.shape[0]} x {ldct.shape[1]} numbers in HU"
    try:
        values = np.asarray(image)
    except Exception as error:  # a tensor on a GPU, for one
        raise InputError(f"{where}: {wanted}, got {type(image).__name__} ({' '.join(str(error).split())})") from error
    if values.dtype.kind not in "iuf":
        raise InputError(f"{where}: {wanted}, got {type(image).__name__} of type {values.dtype}")
    if values.shape != ldct.shape:
        raise InputError(f"{where}: {wanted}, got shape {values.shape}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{where}: {wanted}, got {int((~np.isfinite(values)).sum())} that are NaN or infinite")
    if problem := _unit_problem(values, ldct, lesions.info["window_hu"]):
        raise InputError(f"{where}: {problem}; expected HU (water 0, air -1000), not [0, 1], 0..255 or HU + 1024")
    return np.clip(np.rint(values), *STORED_RANGE_HU).astype(np.int16)


def _unit_problem(values: np.ndarray, ldct: np.ndarray, window_hu: list[float]) -> str | None:
    lower, upper = window_hu
    extent = f"values run from {values.min():.4g} to {values.max():.4g}"
    if np.ptp(values) < LEAST_RANGE_HU < np.ptp(ldct):
        return f"{extent}, LDCT's from {ldct.min()} to {ldct.max()} HU"
    shown = (ldct > lower) & (ldct < upper)
    shift = float(np.median(values[shown]) - np.median(ldct[shown])) if shown.any() else 0.0
    if abs(shift) > MOST_SHIFT_HU:
        return f"{extent}, and inside the window their median lies {shift:+.0f} from LDCT's"
    return None


def _find_files(folder: Path, lesions: Artifact) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".")):
        if file.suffix.lower() not in ARRAY + DICOM or not file.is_file():
            raise InputError(f"denoise.folder: {file}: not an image file; expected {_LAYOUT} (or .IMA)")
        if file.stem in files:
            raise InputError(f"denoise.folder: {file}: the slice has {files[file.stem].name} as well; remove one")
        files[file.stem] = file
    slice_ids = list(lesions.manifest["slice_id"])
    missing = [slice_id for slice_id in slice_ids if slice_id not in files]
    if missing:
        raise InputError(
            f"denoise.folder: {folder}: no image of slice {missing[0]}{suggest(missing[0], list(files))}, "
            f"{len(missing)} of {len(slice_ids)} missing; {lesions.path / 'manifest.csv'} lists the slices"
        )
    return files


def _read(file: Path) -> np.ndarray:
    try:
        if file.suffix.lower() in DICOM:
            return read_ct(file).pixels_hu
        # A pickle could run code: only plain arrays. Mapped, so that size is checked before memory is taken.
        image = np.load(file, mmap_mode="r", allow_pickle=False)
    except UnreadableCT as error:
        raise InputError(f"denoise.folder: {error}") from error
    except (OSError, ValueError, EOFError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"denoise.folder: {file}: not a readable .npy array ({text}); save it again") from error
    if not isinstance(image, np.ndarray):
        raise InputError(f"denoise.folder: {file}: holds several arrays; save one with numpy.save")
    return image
