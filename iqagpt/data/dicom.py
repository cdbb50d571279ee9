"""Reading one CT slice from a DICOM file, trusting nothing in it; the only module that parses DICOM.

Everything is checked before pixels are decoded, because pydicom accepts a truncated image without a word, inflates a
deflated file whole, and recurses on nested sequences. What is read: single-frame CT Image Storage, uncompressed little
endian, axial, 16 bits allocated. Everything else is refused with what to do about it.

First in the chain: `ingest` reads series with it, `iqagpt assess` single files.

References
----------
DICOM PS3.3 A.3 (CT Image IOD), C.8.2.1 (CT Image module), C.7.6.2 (Image Plane module); PS3.5 A (transfer syntaxes).
"""

import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom.config import disable_value_validation
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
)

from iqagpt.ct import to_hu
from iqagpt.errors import InputError

MAX_FILE_BYTES = 64 * 2**20
MAX_SIDE_PX = 4096
#: Least cosine between the slice normal and the patient's long axis: gantry tilt passes, other planes do not.
MIN_AXIAL_COSINE = 0.85

#: Only these elements are parsed; pydicom skips all others unread.
_HEADER_KEYWORDS = (
    "SOPClassUID", "Modality", "ImageType", "PatientName", "SliceThickness", "ConvolutionKernel", "InstanceNumber",
    "ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel", "NumberOfFrames", "Rows", "Columns",
    "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "RescaleIntercept", "RescaleSlope",
)  # fmt: skip
_MULTI_FRAME = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_COPY_AGAIN = "copy or download the file again"


class UnreadableCT(InputError):
    """A file that cannot be used as a CT slice.

    Attributes
    ----------
    reason, remedy : str
        What is wrong and what to do, without the path.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{path}: {reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class CTHeader:
    """Facts about one CT slice, all read from the file, none assumed.

    Attributes
    ----------
    patient_name : str
        In the AAPM data ``L506_FD_1``; PatientID is "Anonymous" for all.
    rows, columns : int
        1 to 4096.
    pixel_spacing_mm : float
        Side of the square pixel.
    thickness_mm : float or None
        None where the file does not say.
    kernel : str
        Reconstruction kernel such as ``B30f``; several values are joined by "/"; empty where the file does not say.
    position_mm : (x, y, z)
        Centre of the first pixel in patient coordinates; z grows towards the head. Slice Location is not read: in the
        AAPM data it has the opposite sign.
    instance_number : int or None
    slope, intercept : float
        Of the modality transform to HU.
    signed : bool
    bits_stored : int
        12 to 16 in a valid CT image; 1 to 16 is accepted.
    padding : int or None
        Stored value outside the field of view.
    """

    patient_name: str
    rows: int
    columns: int
    pixel_spacing_mm: float
    thickness_mm: float | None
    kernel: str
    position_mm: tuple[float, float, float]
    instance_number: int | None
    slope: float
    intercept: float
    signed: bool
    bits_stored: int
    padding: int | None

    @property
    def z_mm(self) -> float:
        """Position along the patient's long axis."""
        return self.position_mm[2]

    @property
    def pixel_bytes(self) -> int:
        """Length that the pixel data must have."""
        return self.rows * self.columns * 2


@dataclass(frozen=True, slots=True, eq=False)
class CTSlice:
    """One CT slice.

    Attributes
    ----------
    header : CTHeader
    pixels_hu : ndarray, (rows, columns), int16, HU
        Clipped to [-1024, 3071]; padding is air.
    """

    header: CTHeader
    pixels_hu: np.ndarray


def read_header(path: str | Path) -> CTHeader:
    """Read and check a CT slice without its pixels.

    A file that is too short for its pixels is found here too, from the place of the pixel data and the file's size.

    Raises
    ------
    UnreadableCT
        If the file is no CT slice that `read_ct` could read; the message names the file, the reason and the remedy.
    """
    return _read(Path(path), with_pixels=False)[0]


def read_ct(path: str | Path) -> CTSlice:
    """Read one CT slice in HU.

    Photometric interpretation and window tags say how to display an image and do not touch HU; they are ignored.

    Raises
    ------
    UnreadableCT
        As `read_header`, or if the pixel data do not have the length that the header implies.
    """
    header, stored = read_stored(path)
    return CTSlice(header, to_hu(stored, header.slope, header.intercept, header.padding))


def read_stored(path: str | Path) -> tuple[CTHeader, np.ndarray]:
    """Read one CT slice as stored, for writing it again: (rows, columns), uint16 or int16, not in HU.

    Raises
    ------
    UnreadableCT
        As `read_ct`.
    """
    header, stored = _read(Path(path), with_pixels=True)
    return header, _unpack(stored, header)


def is_dicom(path: Path) -> bool:
    """Tell whether a file starts like a DICOM file (preamble and ``DICM``)."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _read(path: Path, *, with_pixels: bool) -> tuple[CTHeader, bytes]:
    try:
        # One odd series would give thousands of warnings; what matters here is checked below.
        with warnings.catch_warnings(), disable_value_validation(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            _check_file(path, file)
            return _parse(path, file, with_pixels)
    except UnreadableCT:
        raise
    except OSError as error:
        raise UnreadableCT(path, f"cannot be opened ({error.strerror})", "check name and rights") from error
    except InvalidDicomError as error:
        raise UnreadableCT(path, "not a DICOM file", "remove it, or copy it again") from error
    except Exception as error:  # RecursionError and MemoryError included: a hostile header can cause any of them
        raise UnreadableCT(path, f"cannot be parsed as DICOM ({type(error).__name__})", _COPY_AGAIN) from error


def _check_file(path: Path, file: BinaryIO) -> None:
    size = os.fstat(file.fileno()).st_size
    if size > MAX_FILE_BYTES:
        reason = f"is {size} bytes, more than {MAX_FILE_BYTES}"
        raise UnreadableCT(path, reason, "give single CT slices, one file each")
    # The transfer syntax is looked at first: parsing any further would inflate a deflated file whole.
    syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    if syntax is None:
        raise UnreadableCT(path, "has no transfer syntax (0002,0010)", "write it again as a DICOM Part 10 file")
    if syntax == DeflatedExplicitVRLittleEndian:
        raise UnreadableCT(path, "is deflated", "write it uncompressed, e.g. dcmconv +te in.dcm out.dcm")
    if syntax not in _NATIVE:
        raise UnreadableCT(
            path,
            f"has transfer syntax {_printable(UID(syntax).name)}; uncompressed little endian is expected",
            "decompress it, e.g. gdcmconv --raw in.dcm out.dcm",
        )


def _parse(path: Path, file: BinaryIO, with_pixels: bool) -> tuple[CTHeader, bytes]:
    keywords = [*_HEADER_KEYWORDS, "PixelData"] if with_pixels else list(_HEADER_KEYWORDS)
    dataset = pydicom.dcmread(file, stop_before_pixels=not with_pixels, specific_tags=keywords)
    _check_kind(path, dataset)
    header = _header(path, dataset)
    if with_pixels:
        stored = bytes(dataset.get("PixelData") or b"")
        found = len(stored)
    else:
        stored = b""
        # The file stands at the pixel data's tag, which with type and length takes 8 bytes in implicit VR, else 12.
        left = os.fstat(file.fileno()).st_size - file.tell() - (8 if dataset.original_encoding[0] else 12)
        found = min(max(left, 0), header.pixel_bytes)  # elements may follow the pixels
    if found != header.pixel_bytes:
        cut = "truncated" if found < header.pixel_bytes else "inconsistent"
        size = f"{header.rows} x {header.columns} x 2 = {header.pixel_bytes}"
        raise UnreadableCT(path, f"pixel data are {cut}: {found} bytes, expected {size}", _COPY_AGAIN)
    return header, stored


def _check_kind(path: Path, dataset: pydicom.Dataset) -> None:
    # SOP class before the rest: it says most plainly what another kind of object is. Some anonymisers empty it.
    kind = dataset.get("SOPClassUID")
    if kind in _MULTI_FRAME or int(dataset.get("NumberOfFrames") or 1) != 1:
        raise UnreadableCT(path, "holds several frames (enhanced CT)", "convert it to one file a slice")
    if kind and kind != CTImageStorage:
        raise UnreadableCT(path, f"is {_printable(kind.name)}, not a CT image", "leave it out")
    modality = _printable(dataset.get("Modality") or "")
    if modality != "CT":
        raise UnreadableCT(path, f"has modality {modality or 'absent'!r}, expected 'CT'", "leave it out")
    if "LOCALIZER" in [str(value).upper() for value in _values(dataset, "ImageType")]:
        raise UnreadableCT(path, "is a localiser (scout view)", "leave it out")
    samples = _whole(path, dataset, "SamplesPerPixel")
    if samples != 1:
        raise UnreadableCT(path, f"has {samples} samples per pixel, expected 1", "leave colour captures out")


def _header(path: Path, dataset: pydicom.Dataset) -> CTHeader:
    rows, columns = _whole(path, dataset, "Rows"), _whole(path, dataset, "Columns")
    if not (1 <= rows <= MAX_SIDE_PX and 1 <= columns <= MAX_SIDE_PX):
        raise UnreadableCT(path, f"is {rows} x {columns} pixels, expected 1 to {MAX_SIDE_PX} a side", "leave it out")
    bits, signed = _encoding(path, dataset)
    slope, intercept = _rescale(path, dataset)
    _check_axial(path, dataset)
    thickness = _numbers(path, dataset, "SliceThickness", 1) if _values(dataset, "SliceThickness") else [None]
    instance = _values(dataset, "InstanceNumber")
    return CTHeader(
        patient_name=_printable(dataset.get("PatientName") or ""),
        rows=rows,
        columns=columns,
        pixel_spacing_mm=_pixel_spacing(path, dataset),
        thickness_mm=thickness[0],
        kernel="/".join(_printable(value) for value in _values(dataset, "ConvolutionKernel")),
        position_mm=tuple(_numbers(path, dataset, "ImagePositionPatient", 3)),
        instance_number=int(instance[0]) if instance else None,
        slope=slope,
        intercept=intercept,
        signed=signed,
        bits_stored=bits,
        padding=_padding(dataset, signed),
    )


def _encoding(path: Path, dataset: pydicom.Dataset) -> tuple[int, bool]:
    allocated, bits, high, signed = (
        _whole(path, dataset, keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
    )
    if allocated != 16 or not 1 <= bits <= 16 or high != bits - 1 or signed not in (0, 1):
        raise UnreadableCT(
            path,
            f"has {allocated} bits allocated, {bits} stored, high bit {high}, pixel representation {signed}",
            "a CT image has 16 allocated, 12 to 16 stored, high bit one less, representation 0 or 1: export it again",
        )
    return bits, bool(signed)


def _rescale(path: Path, dataset: pydicom.Dataset) -> tuple[float, float]:
    (slope,) = _numbers(path, dataset, "RescaleSlope", 1)
    (intercept,) = _numbers(path, dataset, "RescaleIntercept", 1)
    if slope <= 0:
        raise UnreadableCT(path, f"has rescale slope {slope:g}, expected > 0", "HU cannot be told: leave it out")
    return slope, intercept


def _pixel_spacing(path: Path, dataset: pydicom.Dataset) -> float:
    along_rows, along_columns = _numbers(path, dataset, "PixelSpacing", 2)
    if along_rows <= 0 or not math.isclose(along_rows, along_columns, rel_tol=1e-3):
        reason = f"has pixel spacing {along_rows:g} x {along_columns:g} mm, expected square pixels"
        raise UnreadableCT(path, reason, "resample it, or leave it out")
    return along_rows


def _check_axial(path: Path, dataset: pydicom.Dataset) -> None:
    cosines = np.array(_numbers(path, dataset, "ImageOrientationPatient", 6))
    if abs(np.cross(cosines[:3], cosines[3:])[2]) < MIN_AXIAL_COSINE:
        raise UnreadableCT(path, "is not an axial slice", "leave reformatted planes out")


def _padding(dataset: pydicom.Dataset, signed: bool) -> int | None:
    values = _values(dataset, "PixelPaddingValue")
    if not values:
        return None
    # Some writers give -2000 as the unsigned 63536, and the reverse: take the meaning that the pixels have.
    value = int(values[0]) & 0xFFFF
    return value - 0x10000 if signed and value > 0x7FFF else value


def _unpack(stored: bytes, header: CTHeader) -> np.ndarray:
    # Bits above the stored ones may hold old-style overlays: shift them out, then back with the sign.
    unused = 16 - header.bits_stored
    words = np.frombuffer(stored, dtype="<u2").reshape(header.rows, header.columns)
    return (words << unused).view("<i2" if header.signed else "<u2") >> unused


def _values(dataset: pydicom.Dataset, keyword: str) -> list[Any]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, pydicom.multival.MultiValue | list) else [value]


def _numbers(path: Path, dataset: pydicom.Dataset, keyword: str, count: int) -> list[float]:
    try:
        numbers = [float(value) for value in _values(dataset, keyword)]
    except (TypeError, ValueError):
        numbers = [math.nan]
    if len(numbers) == count and all(math.isfinite(number) for number in numbers):
        return numbers
    state = "invalid" if _values(dataset, keyword) else "missing"
    noun = "a number is" if count == 1 else f"{count} numbers are"
    raise UnreadableCT(
        path, f"{keyword} is {state} ({noun} expected)", f"{_COPY_AGAIN}, or export it with that element"
    )


def _whole(path: Path, dataset: pydicom.Dataset, keyword: str) -> int:
    (number,) = _numbers(path, dataset, keyword, 1)
    return int(number)


def _printable(value: Any) -> str:
    # Header text reaches messages and tables: no control characters, no megabytes.
    return "".join(character for character in str(value) if character.isprintable())[:64].strip()
