"""Reading CT slices from DICOM files, trusting nothing in them; the only module that reads DICOM.

Everything is checked before pixels are decoded: general readers accept a truncated image without a word, inflate a
deflated file whole, and recurse on nested sequences. What is read: CT Image Storage and enhanced multi-frame CT, axial,
16 bits allocated, uncompressed little endian or losslessly compressed (JPEG, JPEG-LS, JPEG 2000, RLE). Everything else
is refused with what to do about it. No reason quotes text of the file: reasons are stored, and text may name a patient.

First in the chain: `ingest` reads series with it, `iqagpt assess` single files.

References
----------
DICOM PS3.3 A.3 (CT Image IOD), A.38 (Enhanced CT), C.8.2.1 (CT Image module), C.7.6.2 (Image Plane module); PS3.5 A
(transfer syntaxes).
"""

import functools
import math
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    UID_dictionary,
)

from iqagpt.ct import AIR_HU, to_hu
from iqagpt.data.decoder import CODECS, DecodingError, decode_frame
from iqagpt.data.elements import PIXEL_DATA, UNDEFINED, Element, ElementReader, MalformedError
from iqagpt.errors import InputError

#: Room for 4,000 uncompressed frames of 512 x 512; frames are read one at a time.
MAX_FILE_BYTES = 2**31
MAX_SIDE_PX = 4096
MAX_FRAMES = 4000
#: Least cosine between the slice normal and the patient's long axis: gantry tilt passes, other planes do not.
MIN_AXIAL_COSINE = 0.85

_IDENTITY = ("PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SeriesDescription")
_SHORTS = (
    "SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit",
)  # fmt: skip
_TEXTS = (
    "SOPClassUID", "Modality", "ImageType", "BurnedInAnnotation", "LossyImageCompression", "NumberOfFrames",
    "SliceThickness", "ConvolutionKernel", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "RescaleIntercept", "RescaleSlope", *_IDENTITY,
)  # fmt: skip
#: Functional groups of enhanced CT that hold one of the elements above.
_GROUPS = (
    "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence",
    "CTReconstructionSequence", "CTImageFrameTypeSequence",
)  # fmt: skip
_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_TAGS = {name: tag_for_keyword(name) for name in (*_SHORTS, *_TEXTS, *_GROUPS, _SHARED, _PER_FRAME, "FrameType")}
_NAMES = {tag: name for name, tag in _TAGS.items()}
_WANTED = frozenset(_NAMES) | {PIXEL_DATA}
_GROUP_TAGS = frozenset(_TAGS[name] for name in _GROUPS)
_TRANSFER_SYNTAX = 0x00020010

_MULTI_FRAME = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_COPY_AGAIN = "copy or download the file again"
#: Image types of pictures that are not CT slices.
_NO_SLICE = {
    "LOCALIZER": "is a localiser (scout view)",
    "DOSE": "is a dose report",
    "SCREEN": "is a screen capture",
    "PROT": "is a dose report or protocol page",
    "MIP": "is a projection of several slices",
    "MINIP": "is a projection of several slices",
}
#: Kernels as vendors name them: B30f, Br38f, FC08, YA, STANDARD, and the strength of an iterative method.
_KERNEL = re.compile(
    r"[A-Z][a-z]{0,2}\d{1,3}[a-z]?|FC\d\d(-[A-Z])?|[A-Z]|Y[A-D]|\d{1,2}|\d\.\d{3}|"
    r"STANDARD|STND|SOFT|LUNG|BONE|BONEPLUS|DETAIL|EDGE|CHEST|ULTRA|HD ?STND|BODY|BRAIN|DL|FBP|SMOOTH|SHARP"
)


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
class Identity:
    """Text that may name a patient: for grouping in memory and for structured reports, never for a stage's output.

    Attributes
    ----------
    patient_name : str
        In the AAPM data ``L506_FD_1``.
    patient_id : str
        In the AAPM data "Anonymous" for all.
    study_uid, series_uid, sop_uid, series_description : str
    """

    patient_name: str
    patient_id: str
    study_uid: str
    series_uid: str
    sop_uid: str
    series_description: str


@dataclass(frozen=True, slots=True)
class CTHeader:
    """Facts about one CT slice, all read from the file, none assumed.

    Attributes
    ----------
    rows, columns : int
        1 to 4096.
    pixel_spacing_mm : float
        Side of the square pixel.
    thickness_mm : float or None
        None where the file does not say.
    kernel : str
        Reconstruction kernel such as ``B30f``; several values are joined by "/"; empty where the file does not say. A name
        that no vendor uses becomes ``unlisted-`` and four digits that stand for it.
    position_mm : (x, y, z)
        Centre of the first pixel in patient coordinates; z grows towards the head. Slice Location is not read: in the
        AAPM data it has the opposite sign.
    orientation : tuple of 6 floats
        Direction cosines of a row and of a column.
    instance_number : int or None
        In a multi-frame file the number of the frame, from 1.
    slope, intercept : float
        Of the modality transform to HU.
    signed : bool
    bits_stored : int
        12 to 16 in a valid CT image; 1 to 16 is accepted.
    padding, padding_limit : int or None
        Stored value outside the field of view, and the other end where it is a range.
    frame : int
        Index within the file.
    frames : int
        Number of frames of the file.
    compressed : bool
        Whether pixels must be decompressed.
    identity : Identity
        Not shown by ``repr``.
    """

    rows: int
    columns: int
    pixel_spacing_mm: float
    thickness_mm: float | None
    kernel: str
    position_mm: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    instance_number: int | None
    slope: float
    intercept: float
    signed: bool
    bits_stored: int
    padding: int | None
    padding_limit: int | None
    frame: int
    frames: int
    compressed: bool
    identity: Identity = field(repr=False)

    @property
    def z_mm(self) -> float:
        """Position along the patient's long axis."""
        return self.position_mm[2]

    @property
    def tilt_deg(self) -> float:
        """Angle between the slice normal and the patient's long axis: the gantry's tilt."""
        return math.degrees(math.acos(min(1.0, _axial_cosine(self.orientation))))

    @property
    def pixel_bytes(self) -> int:
        """Length of one uncompressed frame."""
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


def read_headers(path: str | Path) -> list[CTHeader]:
    """Read and check all CT slices of a file without their pixels: one, or those of a multi-frame image.

    A file that is too short for its uncompressed pixels is found here too.

    Raises
    ------
    UnreadableCT
        If `read_ct` could not read it; the message names the file, the reason and the remedy.
    """
    with _Opened(Path(path)) as opened:
        return list(opened.headers())


def read_header(path: str | Path, frame: int = 0) -> CTHeader:
    """Read and check one CT slice without its pixels; see `read_headers`."""
    with _Opened(Path(path)) as opened:
        return opened.header(frame)


def read_ct(path: str | Path, frame: int = 0) -> CTSlice:
    """Read one CT slice in HU.

    Photometric interpretation and window tags say how to display an image and do not touch HU; they are ignored.

    Parameters
    ----------
    path : path
    frame : int
        Index of the frame in a multi-frame file.

    Raises
    ------
    UnreadableCT
        As `read_headers`, or if the pixels cannot be decompressed.
    """
    with _Opened(Path(path)) as opened:
        header = opened.header(frame)
        words = opened.words(header)
    facts = header.slope, header.intercept, header.signed, header.bits_stored, header.padding, header.padding_limit
    return CTSlice(header, np.take(_hu_table(*facts), words))


def read_stored(path: str | Path, frame: int = 0) -> tuple[CTHeader, np.ndarray]:
    """Read one CT slice as it is stored, for writing a like image.

    Returns
    -------
    header : CTHeader
    stored : ndarray, (rows, columns), int16 or uint16
        Before the modality transform; unused high bits are gone.

    Raises
    ------
    UnreadableCT
        As `read_ct`.
    """
    with _Opened(Path(path)) as opened:
        header = opened.header(frame)
        words = opened.words(header)
    return header, _stored(words, header.signed, header.bits_stored)


def is_dicom(path: Path) -> bool:
    """Tell whether a file starts like a DICOM file (preamble and ``DICM``)."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


class _Opened:
    """One file while it is read. Any exception that leaves its ``with`` block is an `UnreadableCT`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fail = functools.partial(UnreadableCT, path)

    def __enter__(self) -> "_Opened":
        self._file = None
        try:
            self._file = self._path.open("rb")
            self._parse(self._file)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._file is not None:
            self._file.close()
        if isinstance(error, UnreadableCT) or not isinstance(error, Exception):
            return
        if isinstance(error, OSError):
            raise self._fail(f"cannot be read ({error.strerror})", "check name and rights") from error
        if isinstance(error, MalformedError):
            reason, remedy = str(error), _COPY_AGAIN
            if reason == "not a DICOM file":
                remedy = "remove it, or copy it again"
            raise self._fail(reason, remedy) from error
        raise self._fail(f"cannot be parsed as DICOM ({type(error).__name__})", _COPY_AGAIN) from error

    def _parse(self, file: BinaryIO) -> None:
        self._size = os.fstat(file.fileno()).st_size
        if self._size > MAX_FILE_BYTES:
            raise self._fail(f"is {self._size} bytes, more than {MAX_FILE_BYTES}", "split it into single slices")
        self._reader = ElementReader(file, self._size)
        meta, start = self._reader.meta(frozenset((_TRANSFER_SYNTAX,)))
        self._syntax = _text(self._reader.value(meta[_TRANSFER_SYNTAX])) if _TRANSFER_SYNTAX in meta else ""
        # Looked at before anything else: a deflated data set would have to be inflated even to be searched.
        self._check_syntax()
        explicit = self._syntax != ImplicitVRLittleEndian and self._reader.starts_explicit(start)
        self._top = _Values(self._reader, self._reader.dataset(start, _WANTED, explicit=explicit), self._fail)
        _check_kind(self._top)
        self._frames = self._frame_count()

    def _check_syntax(self) -> None:
        if not self._syntax:
            raise self._fail("has no transfer syntax (0002,0010)", "write it again as a DICOM Part 10 file")
        if self._syntax == DeflatedExplicitVRLittleEndian:
            raise self._fail("is deflated", "write it uncompressed, e.g. dcmconv +te in.dcm out.dcm")
        if self._syntax not in _NATIVE and self._syntax not in CODECS:
            name = UID(self._syntax).name if self._syntax in UID_dictionary else "no known one"
            reason = f"has transfer syntax {name}; little endian, uncompressed or losslessly compressed, is expected"
            raise self._fail(reason, "decompress it, e.g. gdcmconv --raw in.dcm out.dcm")

    def _frame_count(self) -> int:
        frames = self._top.whole("NumberOfFrames") if self._top.has("NumberOfFrames") else 1
        if not 1 <= frames <= MAX_FRAMES:
            raise self._fail(f"holds {frames} frames, expected 1 to {MAX_FRAMES}", "split it into single slices")
        if frames > 1 and _PER_FRAME not in self._top:
            raise self._fail("holds several frames without saying where they lie", "convert it to one file a slice")
        return frames

    def headers(self) -> Iterator[CTHeader]:
        """Yield the header of every frame."""
        if _PER_FRAME not in self._top:
            yield self._checked(_header(self._top, 0, 1, compressed=self._syntax in CODECS))
            return
        count = 0
        for count, values in enumerate(self._grouped(), start=1):
            if count > self._frames:
                break
            yield self._frame_header(values, count - 1)
        if count < self._frames:
            raise self._fail(f"describes {count} of its {self._frames} frames", _COPY_AGAIN)

    def header(self, frame: int) -> CTHeader:
        """Return the header of one frame."""
        if not 0 <= frame < self._frames:
            raise self._fail(f"has no frame {frame + 1}, but {self._frames}", "give a frame that it has")
        if _PER_FRAME not in self._top:
            return next(self.headers())
        for k, values in enumerate(self._grouped(only=frame)):
            if k == frame:
                return self._frame_header(values, frame)
        raise self._fail(f"does not describe frame {frame + 1}", _COPY_AGAIN)

    def _frame_header(self, values: "_Values", frame: int) -> CTHeader:
        try:
            return self._checked(_header(values, frame, self._frames, compressed=self._syntax in CODECS))
        except UnreadableCT as error:
            raise self._fail(f"{error.reason} (frame {frame + 1})", error.remedy) from error

    def _grouped(self, only: int | None = None) -> Iterator["_Values"]:
        """Yield the elements that hold for each frame: its own, then the shared, then those of the file."""
        shared = {}
        if _SHARED in self._top:
            for item in self._top.items(_SHARED):
                shared = self._functional_group(item)
                break
        for k, item in enumerate(self._top.items(_PER_FRAME)):
            own = self._functional_group(item) if only in (None, k) else {}
            yield _Values(self._reader, {**self._top.places, **shared, **own}, self._fail)

    def _functional_group(self, item: Element) -> dict[int, Element]:
        found: dict[int, Element] = {}
        for group in self._reader.item_dataset(item, _GROUP_TAGS).values():
            for inner in self._reader.items(group):
                found.update(self._reader.item_dataset(inner, _WANTED | {_TAGS["FrameType"]}))
                break
        found.pop(PIXEL_DATA, None)
        return found

    def _checked(self, header: CTHeader) -> CTHeader:
        pixels = self._top.places.get(PIXEL_DATA)
        if header.compressed:
            if pixels is None or pixels.length != UNDEFINED:
                raise self._fail("its pixel data are missing or not encapsulated", _COPY_AGAIN)
            return header
        expected = header.pixel_bytes * header.frames
        found = stated = 0
        if pixels is not None:
            stated = pixels.length
            found = min(stated, max(0, self._size - pixels.offset))
        if stated - expected not in (0, expected % 2) or found < expected:
            cut = "truncated" if found < expected else "inconsistent"
            size = f"{header.rows} x {header.columns} x 2" + (f" x {header.frames}" if header.frames > 1 else "")
            raise self._fail(f"pixel data are {cut}: {found} bytes, expected {size} = {expected}", _COPY_AGAIN)
        return header

    def words(self, header: CTHeader) -> np.ndarray:
        """Read the stored words of one frame."""
        pixels = self._top.places[PIXEL_DATA]
        if header.compressed:
            frame = self._compressed(pixels, header)
            try:
                return decode_frame(self._syntax, frame, header.rows, header.columns)
            except DecodingError as error:
                raise self._fail(f"its pixels cannot be decompressed: {error}", _COPY_AGAIN) from error
        self._file.seek(pixels.offset + header.frame * header.pixel_bytes)
        content = self._file.read(header.pixel_bytes)
        if len(content) < header.pixel_bytes:
            raise MalformedError("pixel data are truncated")
        return np.frombuffer(content, "<u2").reshape(header.rows, header.columns)

    def _compressed(self, pixels: Element, header: CTHeader) -> bytes:
        table, *fragments = self._reader.items(pixels)
        if any(part.length == UNDEFINED for part in fragments):
            raise MalformedError("a fragment of the pixel data has no length")
        if header.frames > 1:
            fragments = self._of_frame(table, fragments, header)
        length = sum(part.length for part in fragments)
        if not 0 < length <= 2 * header.pixel_bytes + 2**16:
            raise self._fail(
                f"its compressed frame has {length} bytes, for {header.pixel_bytes} of pixels", _COPY_AGAIN
            )
        pieces = []
        for part in fragments:
            self._file.seek(part.offset)
            pieces.append(self._file.read(part.length))
        return b"".join(pieces)

    def _of_frame(self, table: Element, fragments: list[Element], header: CTHeader) -> list[Element]:
        if len(fragments) == header.frames:
            return [fragments[header.frame]]
        if table.length != 4 * header.frames or not fragments:
            raise self._fail("several fragments a frame without an offset table", "convert it to one file a slice")
        self._file.seek(table.offset)
        starts = [*np.frombuffer(self._file.read(table.length), "<u4").tolist(), math.inf]
        first, last = starts[header.frame : header.frame + 2]
        base = fragments[0].offset
        return [part for part in fragments if first <= part.offset - base < last]


class _Values:
    """The values of one set of elements, by keyword."""

    def __init__(self, reader: ElementReader, places: dict[int, Element], fail: functools.partial) -> None:
        self._reader = reader
        self.places = places
        self.fail = fail

    def __contains__(self, keyword: str) -> bool:
        return _TAGS[keyword] in self.places

    def has(self, keyword: str) -> bool:
        """Tell whether an element is there and not empty."""
        return bool(self.texts(keyword))

    def items(self, keyword: str) -> Iterator[Element]:
        """Yield the items of a sequence."""
        return self._reader.items(self.places[_TAGS[keyword]])

    def raw(self, keyword: str) -> bytes:
        """Return the bytes of an element, none where it is absent."""
        place = self.places.get(_TAGS[keyword])
        return b"" if place is None or place.length == UNDEFINED else self._reader.value(place)

    def texts(self, keyword: str) -> list[str]:
        """Return the values of a text element without padding; empty where it is absent or empty."""
        content = _text(self.raw(keyword))
        return [part.strip() for part in content.split("\\")] if content else []

    def text(self, keyword: str) -> str:
        """Return a text element of one value."""
        return _text(self.raw(keyword))

    def numbers(self, keyword: str, count: int) -> list[float]:
        """Return the numbers of a text element."""
        texts = self.texts(keyword)
        try:
            numbers = [float(value) for value in texts]
        except ValueError:
            numbers = [math.nan]
        if len(numbers) == count and all(abs(number) < 1e9 for number in numbers):
            return numbers
        state = "invalid" if texts else "missing"
        noun = "a number is" if count == 1 else f"{count} numbers are"
        remedy = f"{_COPY_AGAIN}, or export it with that element"
        raise self.fail(f"{keyword} is {state} ({noun} expected)", remedy)

    def whole(self, keyword: str) -> int:
        """Return a whole number, of a text element or a binary one."""
        if keyword not in _SHORTS:
            return int(self.numbers(keyword, 1)[0])
        content = self.raw(keyword)
        if len(content) != 2:
            state = "invalid" if content else "missing"
            raise self.fail(
                f"{keyword} is {state} (a number is expected)", f"{_COPY_AGAIN}, or export it with that element"
            )
        return int.from_bytes(content, "little")


def _check_kind(values: _Values) -> None:
    # SOP class before the rest: it says most plainly what another kind of object is. Some anonymisers empty it.
    kind = values.text("SOPClassUID")
    if kind and kind != CTImageStorage and kind not in _MULTI_FRAME:
        name = UID(kind).name if kind in UID_dictionary else "of an unknown class"
        raise values.fail(f"is {name}, not a CT image", "leave it out")
    modality = values.text("Modality")
    if modality != "CT":
        shown = modality if re.fullmatch("[A-Z]{2}", modality) else "unknown" if modality else "absent"
        raise values.fail(f"has modality {shown!r}, expected 'CT'", "leave it out")
    _check_image_type(values, "ImageType")
    if values.text("BurnedInAnnotation").upper() == "YES":
        raise values.fail("has text burnt into its pixels, which may name the patient", "leave it out")
    if values.text("LossyImageCompression") == "01":
        raise values.fail("was compressed with losses, which change noise and texture", "use the original image")
    samples = values.whole("SamplesPerPixel")
    if samples != 1:
        raise values.fail(f"has {samples} samples per pixel, expected 1", "leave colour captures out")


def _check_image_type(values: _Values, keyword: str) -> None:
    for word in re.split(r"[\W_]+", values.text(keyword).upper()):
        if word in _NO_SLICE:
            raise values.fail(_NO_SLICE[word], "leave it out")


def _header(values: _Values, frame: int, frames: int, *, compressed: bool) -> CTHeader:
    rows, columns = values.whole("Rows"), values.whole("Columns")
    if not (1 <= rows <= MAX_SIDE_PX and 1 <= columns <= MAX_SIDE_PX):
        raise values.fail(f"is {rows} x {columns} pixels, expected 1 to {MAX_SIDE_PX} a side", "leave it out")
    if "FrameType" in values:
        _check_image_type(values, "FrameType")
    bits, signed = _encoding(values)
    slope, intercept = _rescale(values)
    grouped = _PER_FRAME in values
    number = frame + 1 if grouped else values.whole("InstanceNumber") if values.has("InstanceNumber") else None
    return CTHeader(
        rows=rows,
        columns=columns,
        pixel_spacing_mm=_pixel_spacing(values),
        thickness_mm=values.numbers("SliceThickness", 1)[0] if values.has("SliceThickness") else None,
        kernel="/".join(_kernel(text) for text in values.texts("ConvolutionKernel")),
        position_mm=tuple(values.numbers("ImagePositionPatient", 3)),
        orientation=_orientation(values),
        instance_number=number,
        slope=slope,
        intercept=intercept,
        signed=signed,
        bits_stored=bits,
        padding=_padding(values, "PixelPaddingValue", signed),
        padding_limit=_padding(values, "PixelPaddingRangeLimit", signed),
        frame=frame,
        frames=frames,
        compressed=compressed,
        identity=Identity(*(values.text(keyword) for keyword in _IDENTITY)),
    )


def _encoding(values: _Values) -> tuple[int, bool]:
    allocated, bits, high, signed = (
        values.whole(keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
    )
    if allocated != 16 or not 1 <= bits <= 16 or high != bits - 1 or signed not in (0, 1):
        raise values.fail(
            f"has {allocated} bits allocated, {bits} stored, high bit {high}, pixel representation {signed}",
            "a CT image has 16 allocated, 12 to 16 stored, high bit one less, representation 0 or 1: export it again",
        )
    return bits, bool(signed)


def _rescale(values: _Values) -> tuple[float, float]:
    (slope,) = values.numbers("RescaleSlope", 1)
    (intercept,) = values.numbers("RescaleIntercept", 1)
    if slope <= 0:
        raise values.fail(f"has rescale slope {slope:g}, expected > 0", "HU cannot be told: leave it out")
    return slope, intercept


def _pixel_spacing(values: _Values) -> float:
    along_rows, along_columns = values.numbers("PixelSpacing", 2)
    if along_rows <= 0 or not math.isclose(along_rows, along_columns, rel_tol=1e-3):
        reason = f"has pixel spacing {along_rows:g} x {along_columns:g} mm, expected square pixels"
        raise values.fail(reason, "resample it, or leave it out")
    return along_rows


def _orientation(values: _Values) -> tuple[float, ...]:
    cosines = tuple(values.numbers("ImageOrientationPatient", 6))
    if _axial_cosine(cosines) < MIN_AXIAL_COSINE:
        raise values.fail("is not an axial slice", "leave reformatted planes out")
    return cosines


def _axial_cosine(cosines: tuple[float, ...]) -> float:
    return abs(cosines[0] * cosines[4] - cosines[1] * cosines[3])


def _kernel(name: str) -> str:
    # A name that is none may be anything, also a patient's.
    return name if _KERNEL.fullmatch(name) else f"unlisted-{zlib.crc32(name.encode()) & 0xFFFF:04x}"


def _padding(values: _Values, keyword: str, signed: bool) -> int | None:
    if len(values.raw(keyword)) != 2:
        return None
    # Some writers give -2000 as the unsigned 63536, and the reverse: take the meaning that the pixels have.
    value = values.whole(keyword)
    return value - 0x10000 if signed and value > 0x7FFF else value


@functools.lru_cache(maxsize=64)
def _hu_table(
    slope: float, intercept: float, signed: bool, bits_stored: int, padding: int | None, padding_limit: int | None
) -> np.ndarray:
    """Return the HU of each of the 65,536 words that can be stored; most slices of a series share the table."""
    stored = _stored(np.arange(2**16, dtype=np.uint16), signed, bits_stored)
    table = to_hu(stored, slope, intercept)
    if padding is not None:
        ends = padding, padding if padding_limit is None else padding_limit
        table[(stored >= min(ends)) & (stored <= max(ends))] = AIR_HU
    table.setflags(write=False)
    return table


def _stored(words: np.ndarray, signed: bool, bits_stored: int) -> np.ndarray:
    # Bits above the stored ones may hold old-style overlays: shift them out, then back with the sign.
    unused = 16 - bits_stored
    return (words << unused).view(np.int16 if signed else np.uint16) >> unused


def _text(content: bytes) -> str:
    # Header text reaches keys and messages: no control characters.
    return "".join(character for character in content.decode("latin-1") if character.isprintable()).strip()
