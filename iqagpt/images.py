"""Reading an image of any kind in HU: DICOM, NIfTI, ``.npy`` in HU, PNG and TIFF with a stated window.

What a user names from outside the pipeline comes in here: the images of a study (`iqagpt.study`), a single scan to assess.
Nothing is guessed: a file that does not say what its values mean in HU is refused, with what to do about it. What an image
cannot say (pixel spacing, HU beyond a window) is left empty and written into its notes.
"""

import gzip
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iqagpt.ct import STORED_RANGE_HU, from_window
from iqagpt.data.ct_header import MAX_SIDE_PX, MIN_AXIAL_COSINE, CTHeader
from iqagpt.data.dicom import is_dicom, read_ct, read_headers
from iqagpt.errors import InputError

#: Suffixes by kind; files without a suffix are images only if they are DICOM files.
SUFFIXES = {
    "DICOM": (".dcm", ".ima"),
    "NIfTI": (".nii", ".nii.gz"),
    "NumPy": (".npy",),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
}
MAX_SLICES = 4096
#: A 16-bit picture that fills less of its range than this is probably not stretched over it.
LEAST_FILLED = 1 / 8
_PIECE_BYTES = 2**20
_KINDS = "DICOM, NIfTI (.nii, .nii.gz), .npy in HU, PNG or TIFF with a window"


@dataclass(frozen=True, slots=True, eq=False)
class CTImage:
    """The slices of one file.

    Attributes
    ----------
    slices_hu : ndarray, (S, H, W), int16, HU
        Rows run to the patient's back, columns to the patient's left, slices (of NIfTI) to the head.
    pixel_spacing_mm : float or None
        Side of the square pixel; None where the file does not say.
    window_hu : (lower, upper) or None
        Values outside were lost before the file was written; None where the file holds the full range.
    notes : tuple of str
        What was taken for granted or is not known, for the user to see.
    """

    slices_hu: np.ndarray
    pixel_spacing_mm: float | None
    window_hu: tuple[float, float] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class OpenImage:
    """One file whose slices are read one at a time; from `open_image`.

    Attributes
    ----------
    count : int
        Number of slices.
    read : callable
        Index of a slice, 0 to `count` - 1, to the slice, (H, W), int16, HU; laid out as in `CTImage`. Raises `InputError`.
    pixel_spacing_mm, window_hu, notes
        As in `CTImage`.
    headers : tuple of CTHeader
        One a slice of DICOM; empty for other kinds.
    """

    count: int
    read: Callable[[int], np.ndarray]
    pixel_spacing_mm: float | None
    window_hu: tuple[float, float] | None
    notes: tuple[str, ...] = ()
    headers: tuple[CTHeader, ...] = ()


def read_image(path: str | Path, window_hu: tuple[float, float] | None = None) -> CTImage:
    """Read an image file in HU.

    Parameters
    ----------
    path : path
        DICOM (an axial CT slice, or the frames of an enhanced CT), NIfTI in HU, ``.npy`` in HU of shape (H, W) or
        (S, H, W), or a grey PNG or TIFF.
    window_hu : (lower, upper), optional
        HU of black and white of PNG and TIFF: 0 and 255 of 8 bits, 0 and 65535 of 16 bits, 0 and 1 of floating point. Other
        kinds state HU themselves and ignore it.

    Raises
    ------
    InputError
        If the file is missing, of no known kind, or does not say what its values are in HU.
    """
    with open_image(path, window_hu) as image:
        slices = [image.read(index) for index in range(image.count)]
        shapes = {values.shape for values in slices}
        if len(shapes) > 1:
            raise InputError(f"{path}: its frames differ in size ({sorted(shapes)}); expected one size")
        stack = np.stack(slices)
    if not image.headers and image.window_hu is None:
        check_range(Path(path), stack)
    return CTImage(stack, image.pixel_spacing_mm, image.window_hu, image.notes)


@contextmanager
def open_image(path: str | Path, window_hu: tuple[float, float] | None = None) -> Iterator[OpenImage]:
    """Open an image file to read its slices one by one, in memory for one slice.

    A compressed NIfTI file is unpacked to a temporary file with the first slice that is read. Whether values look like HU at all is
    the caller's to ask (`check_range`).

    Parameters
    ----------
    path, window_hu
        As for `read_image`.

    Yields
    ------
    OpenImage

    Raises
    ------
    InputError
        As `read_image`.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such image file")
    kind = image_kind(file)
    if kind is None:
        raise InputError(f"{file}: not an image of a known kind; expected {_KINDS}")
    if kind == "DICOM":
        headers = tuple(read_headers(file))
        spacing_mm = headers[0].pixel_spacing_mm
        yield OpenImage(len(headers), lambda k: read_ct(file, k).pixels_hu, spacing_mm, None, (), headers)
    elif kind == "NIfTI":
        with _open_nifti(file) as image:
            yield image
    elif kind == "NumPy":
        with _open_numpy(file) as image:
            yield image
    else:
        picture = _read_picture(file, kind, window_hu)
        yield OpenImage(1, lambda _: picture.slices_hu[0], None, picture.window_hu, picture.notes)


def check_range(file: Path, values_hu: np.ndarray) -> None:
    """Refuse values that were normalised to [0, 1].

    Raises
    ------
    InputError
        If all lie there.
    """
    low, high = values_hu.min(), values_hu.max()
    if low >= 0 and high <= 1:
        raise InputError(f"{file}: values from {low:g} to {high:g} are not HU; expected HU: undo the normalisation")


def image_kind(path: Path) -> str | None:
    """Tell the kind of an image file, one of `SUFFIXES`, by its name, or None; DICOM files need no suffix."""
    name = path.name.lower()
    for kind, suffixes in SUFFIXES.items():
        if name.endswith(suffixes):
            return kind
    return "DICOM" if is_dicom(path) else None


def find_images(folder: Path) -> Iterator[Path]:
    """Yield the image files below a folder, sorted, hidden ones left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and path.name != "DICOMDIR" and image_kind(path):
            yield path


@contextmanager
def _open_nifti(file: Path) -> Iterator[OpenImage]:
    import nibabel
    from nibabel import orientations

    try:
        # Without a memory map: mapped pages count as the process's own memory.
        image = nibabel.load(file, mmap=False)
        shape = image.shape
        shape = shape[:3] if len(shape) == 4 and shape[3] == 1 else shape
        _check_volume(file, shape, image.get_data_dtype())
        spacing_mm = _nifti_spacing(file, image.affine)
        to_lps = orientations.ornt_transform(
            orientations.io_orientation(image.affine), orientations.axcodes2ornt(("L", "P", "S"))
        )
    except InputError:
        raise
    except Exception as error:  # nibabel raises many types, down to zlib's, for damaged files
        raise _not_nifti(file, error) from error
    with tempfile.TemporaryDirectory(prefix="iqagpt-") as scratch:
        data = [] if file.name.lower().endswith(".gz") else [image.dataobj]

        def read(index: int) -> np.ndarray:
            stored = index if to_lps[2, 1] > 0 else shape[2] - 1 - index
            try:
                if not data:
                    data.append(_unpacked(file, Path(scratch, "unpacked.nii"), image))
                values = np.asarray(data[0][:, :, stored]).reshape(*shape[:2], 1)
            except Exception as error:
                raise _not_nifti(file, error) from error
            placed = orientations.apply_orientation(values, to_lps)
            return _hu(file, placed.transpose(2, 1, 0)[0])

        yield OpenImage(shape[2], read, spacing_mm, None)


def _unpacked(file: Path, target: Path, image: Any) -> Any:
    """Unpack a gzipped volume, no further than its header says it goes, and return its data, not mapped."""
    import nibabel

    header = image.dataobj
    left = int(header.offset + math.prod(header.shape) * header.dtype.itemsize)
    with gzip.open(file) as packed, target.open("wb") as plain:
        while left and (piece := packed.read(min(left, _PIECE_BYTES))):
            plain.write(piece)
            left -= len(piece)
    if left:
        raise ValueError("it ends too early")
    return nibabel.load(target, mmap=False).dataobj


def _not_nifti(file: Path, error: Exception) -> InputError:
    return InputError(f"{file}: cannot be read as NIfTI ({_first_line(error)}); copy or convert it again")


def _nifti_spacing(file: Path, affine: np.ndarray) -> float:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not (lengths > 0).all():
        raise InputError(f"{file}: its affine is not a placement in space; convert it again")
    if np.abs(affine[2, :3] / lengths).argmax() != 2 or abs(affine[2, 2] / lengths[2]) < MIN_AXIAL_COSINE:
        raise InputError(f"{file}: its slices are not axial; reorient the volume, e.g. fslreorient2std")
    if not np.isclose(lengths[0], lengths[1], rtol=1e-3):
        raise InputError(f"{file}: pixels of {lengths[0]:g} x {lengths[1]:g} mm, expected square ones; resample it")
    return float(lengths[0])


@contextmanager
def _open_numpy(file: Path) -> Iterator[OpenImage]:
    try:
        stored = np.load(file, mmap_mode="r", allow_pickle=False)
        if stored.ndim == 2:
            stored = stored[None]
        shape, dtype, offset = stored.shape, stored.dtype, getattr(stored, "offset", 0)
        _check_volume(file, shape[::-1], dtype)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, AttributeError) as error:  # the last: an .npz archive under this name
        raise InputError(f"{file}: cannot be read as a NumPy array ({_first_line(error)}); write it again") from error
    length = math.prod(shape[1:])
    with file.open("rb") as content:

        def read(index: int) -> np.ndarray:
            if not stored.flags.c_contiguous:
                return _hu(file, stored[index])
            # Read, not mapped: mapped pages count as the process's own memory.
            content.seek(offset + index * length * dtype.itemsize)
            values = np.fromfile(content, dtype, length)
            if len(values) < length:
                raise InputError(f"{file}: ends too early; write it again")
            return _hu(file, values.reshape(shape[1:]))

        yield OpenImage(shape[0], read, None, None, ("pixel spacing unknown (.npy)",))


def _check_volume(file: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 3 or not all(shape):
        raise InputError(f"{file}: an array of shape {shape}; expected one slice, or slices stacked")
    if max(shape[:2]) > MAX_SIDE_PX or shape[2] > MAX_SLICES:
        raise InputError(
            f"{file}: {shape[0]} x {shape[1]} x {shape[2]}; at most {MAX_SIDE_PX} a side, {MAX_SLICES} slices"
        )
    if dtype.kind not in "iuf":
        raise InputError(f"{file}: holds {dtype} (colour?); expected one number a pixel, in HU")


def _hu(file: Path, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{file}: holds NaN or infinite values; expected HU: write air (-1024) instead")
    return np.clip(np.rint(values), *STORED_RANGE_HU).astype(np.int16)


def _read_picture(file: Path, kind: str, window_hu: tuple[float, float] | None) -> CTImage:
    from PIL import Image

    try:
        with Image.open(file, formats=(kind,)) as picture:
            if max(picture.size) > MAX_SIDE_PX:
                raise InputError(f"{file}: {picture.height} x {picture.width} pixels; at most {MAX_SIDE_PX} a side")
            if getattr(picture, "n_frames", 1) > 1:
                raise InputError(f"{file}: holds {picture.n_frames} pictures; expected one a file")
            mode = picture.mode
            values = np.asarray(picture)
    except InputError:
        raise
    except Exception as error:  # pillow raises many types, down to struct.error, for damaged files
        raise InputError(f"{file}: cannot be read as {kind} ({_first_line(error)}); copy or export it again") from error
    fractions, note = _fractions(file, mode, values)
    if window_hu is None:
        raise InputError(
            f"{file}: {kind}, {_mode_name(mode)}, without a window: its values cannot be told in HU; state the HU of black and "
            "white (--window LOWER UPPER, or window_hu in study.yaml)"
        )
    notes = ("pixel spacing unknown (picture)", *([note] if note else []))
    return CTImage(from_window(fractions, window_hu)[None], None, window_hu, notes)


def _fractions(file: Path, mode: str, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Return a picture's values as fractions of white, and a note where their range looks odd."""
    if mode in ("RGB", "RGBA", "P", "PA", "LA", "La", "CMYK", "YCbCr", "LAB", "HSV"):
        raise InputError(
            f"{file}: a colour picture (mode {mode}), and CT has one value a pixel; export it in grey, without transparency"
        )
    if mode == "F":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # false for NaN as well
            raise InputError(
                f"{file}: floating point from {low:g} to {high:g}, expected 0 (black) to 1 (white); for HU write .npy"
            )
        return values, ""
    if mode not in ("L", "I;16", "I;16B"):
        raise InputError(f"{file}: pixels of mode {mode}; expected 8 or 16 bits unsigned, or floating point in [0, 1]")
    white = 255 if mode == "L" else 65535
    note = ""
    if mode != "L" and values.max() < LEAST_FILLED * white:
        note = f"16 bits filled only up to {values.max()} of {white}; white is {white}: check how it was exported"
    return values.astype(np.float32) / white, note


def _mode_name(mode: str) -> str:
    return {"L": "8-bit", "F": "floating-point"}.get(mode, "16-bit")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
