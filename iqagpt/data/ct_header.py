"""What the elements of a CT image mean: checks, geometry, encoding and identity of one slice.

No reason quotes text of the file: reasons are stored with the data, and any text may name a patient. Between
`iqagpt.data.elements`, which finds the elements, and `iqagpt.data.dicom`, which is what others call.

References
----------
DICOM PS3.3 C.8.2.1 (CT Image module), C.7.6.2 (Image Plane module), C.7.6.16 (multi-frame functional groups).
"""

import functools
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.datadict import tag_for_keyword
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    UID_dictionary,
)

from iqagpt.data.elements import PIXEL_DATA, UNDEFINED, Element, ElementReader
from iqagpt.errors import InputError

COPY_AGAIN = "copy or download the file again"
LOSSY = "was compressed with losses, which change noise and texture", "use the original image"
MAX_SIDE_PX = 4096
PIXEL_SPACING_MM, THICKNESS_MM = (0.05, 10.0), (0.05, 100.0)
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
    "PixelSpacing", "RescaleIntercept", "RescaleSlope", "RescaleType", "BodyPartExamined", *_IDENTITY,
)  # fmt: skip
#: Functional groups of enhanced CT that hold one of the elements above.
_GROUPS = (
    "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence",
    "CTReconstructionSequence", "CTImageFrameTypeSequence",
)  # fmt: skip
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
TAGS = {name: tag_for_keyword(name) for name in (*_SHORTS, *_TEXTS, *_GROUPS, SHARED, PER_FRAME, "FrameType")}
_NAMES = {tag: name for name, tag in TAGS.items()}
WANTED = frozenset(_NAMES) | {PIXEL_DATA}
GROUP_TAGS = frozenset(TAGS[name] for name in _GROUPS)

_MULTI_FRAME = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
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

#: Terms of DICOM PS3.16, annex L, and common spellings, without spaces.
BODY_PARTS = frozenset((
    "ABDOMEN", "ABD", "ABDOMENPELVIS", "ABDPELVIS", "ABDOMENANDPELVIS", "PELVIS", "LIVER", "KIDNEY", "PANCREAS",
    "SPLEEN", "COLON", "STOMACH", "ADRENAL", "CHEST", "THORAX", "LUNG", "HEART", "BREAST", "CHESTABDOMEN",
    "CHESTABDPELVIS", "CHESTABDOMENPELVIS", "CAP", "THORAXABDOMEN", "HEAD", "SKULL", "BRAIN", "NECK",
    "HEADNECK", "HEADANDNECK", "ORBIT", "SINUS", "EAR", "TEMPORALBONE", "JAW", "FACE", "SPINE", "CSPINE",
    "TSPINE", "LSPINE", "CSPINETSPINE", "TLSPINE", "SACRUM", "HIP", "SHOULDER", "KNEE", "ANKLE", "FOOT", "HAND",
    "WRIST", "ELBOW", "EXTREMITY", "LEG", "ARM", "THIGH", "CALF", "WHOLEBODY", "AORTA",
))  # fmt: skip


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
        None where the file does not say, or says 0.
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
    body_part : str
        One of DICOM's terms, such as ``ABDOMEN``; empty where the file says none, or anything else.
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
    body_part: str
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


class Values:
    """The values of one set of elements, by keyword.

    Parameters
    ----------
    reader : ElementReader
    places : dict
        Element by tag.
    fail : callable
        Makes the error of a reason and a remedy.
    """

    def __init__(self, reader: ElementReader, places: dict[int, Element], fail: functools.partial) -> None:
        self._reader = reader
        self.places = places
        self.fail = fail

    def __contains__(self, keyword: str) -> bool:
        return TAGS[keyword] in self.places

    def has(self, keyword: str) -> bool:
        """Tell whether an element is there and not empty."""
        return bool(self.texts(keyword))

    def items(self, keyword: str) -> Iterator[Element]:
        """Yield the items of a sequence."""
        return self._reader.items(self.places[TAGS[keyword]])

    def raw(self, keyword: str) -> bytes:
        """Return the bytes of an element, none where it is absent."""
        place = self.places.get(TAGS[keyword])
        return b"" if place is None or place.length == UNDEFINED else self._reader.value(place)

    def texts(self, keyword: str) -> list[str]:
        """Return the values of a text element without padding; empty where it is absent or empty."""
        content = decode_text(self.raw(keyword))
        return [part.strip() for part in content.split("\\")] if content else []

    def text(self, keyword: str) -> str:
        """Return a text element of one value."""
        return decode_text(self.raw(keyword))

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
        remedy = f"{COPY_AGAIN}, or export it with that element"
        raise self.fail(f"{keyword} is {state} ({noun} expected)", remedy)

    def whole(self, keyword: str) -> int:
        """Return a whole number, of a text element or a binary one."""
        if keyword not in _SHORTS:
            return int(self.numbers(keyword, 1)[0])
        content = self.raw(keyword)
        if len(content) != 2:
            state = "invalid" if content else "missing"
            raise self.fail(
                f"{keyword} is {state} (a number is expected)", f"{COPY_AGAIN}, or export it with that element"
            )
        return int.from_bytes(content, "little")


def check_kind(values: Values) -> None:
    """Refuse what is no CT slice.

    Raises
    ------
    UnreadableCT
        With the reason.
    """
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
        raise values.fail(*LOSSY)
    samples = values.whole("SamplesPerPixel")
    if samples != 1:
        raise values.fail(f"has {samples} samples per pixel, expected 1", "leave colour captures out")


def _check_image_type(values: Values, keyword: str) -> None:
    for word in re.split(r"[\W_]+", values.text(keyword).upper()):
        if word in _NO_SLICE:
            raise values.fail(_NO_SLICE[word], "leave it out")


def make_header(values: Values, frame: int, frames: int, *, compressed: bool) -> CTHeader:
    """Read and check all facts about one slice.

    Parameters
    ----------
    values : Values
    frame, frames : int
        Index of the slice in its file, and how many there are.
    compressed : bool

    Raises
    ------
    UnreadableCT
        For the first fact that is missing or wrong.
    """
    rows, columns = values.whole("Rows"), values.whole("Columns")
    if not (1 <= rows <= MAX_SIDE_PX and 1 <= columns <= MAX_SIDE_PX):
        raise values.fail(f"is {rows} x {columns} pixels, expected 1 to {MAX_SIDE_PX} a side", "leave it out")
    if "FrameType" in values:
        _check_image_type(values, "FrameType")
    bits, signed = _encoding(values)
    slope, intercept = _rescale(values)
    grouped = PER_FRAME in values
    number = frame + 1 if grouped else values.whole("InstanceNumber") if values.has("InstanceNumber") else None
    return CTHeader(
        rows=rows,
        columns=columns,
        pixel_spacing_mm=_pixel_spacing(values),
        thickness_mm=_thickness(values),
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
        body_part=_body_part(values.text("BodyPartExamined")),
        identity=Identity(*(values.text(keyword) for keyword in _IDENTITY)),
    )


def _encoding(values: Values) -> tuple[int, bool]:
    allocated, bits, high, signed = (
        values.whole(keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
    )
    if allocated != 16 or not 1 <= bits <= 16 or high != bits - 1 or signed not in (0, 1):
        raise values.fail(
            f"has {allocated} bits allocated, {bits} stored, high bit {high}, pixel representation {signed}",
            "a CT image has 16 allocated, 12 to 16 stored, high bit one less, representation 0 or 1: export it again",
        )
    return bits, bool(signed)


def _rescale(values: Values) -> tuple[float, float]:
    (slope,) = values.numbers("RescaleSlope", 1)
    (intercept,) = values.numbers("RescaleIntercept", 1)
    # "US" is unspecified; others are iodine, effective atomic number, electron density, ...
    if values.text("RescaleType").upper() not in ("", "HU", "US"):
        raise values.fail("holds no HU (by RescaleType), but a map of another quantity", "leave it out")
    if slope <= 0:
        raise values.fail(f"has rescale slope {slope:g}, expected > 0", "HU cannot be told: leave it out")
    return slope, intercept


def _pixel_spacing(values: Values) -> float:
    along_rows, along_columns = values.numbers("PixelSpacing", 2)
    if along_rows <= 0 or not math.isclose(along_rows, along_columns, rel_tol=1e-3):
        reason = f"has pixel spacing {along_rows:g} x {along_columns:g} mm, expected square pixels"
        raise values.fail(reason, "resample it, or leave it out")
    return _plausible(values, "pixel spacing", along_rows, PIXEL_SPACING_MM)


def _thickness(values: Values) -> float | None:
    (thickness,) = values.numbers("SliceThickness", 1) if values.has("SliceThickness") else (0.0,)
    # Some writers give 0 where they do not know.
    return _plausible(values, "slice thickness", thickness, THICKNESS_MM) if thickness else None


def _plausible(values: Values, name: str, number: float, limits: tuple[float, float]) -> float:
    # Filters are set in mm: what they cost, in time and memory, grows without end with the pixels in a mm.
    if not limits[0] <= number <= limits[1]:
        reason = f"has {name} {number:g} mm, expected {limits[0]:g} to {limits[1]:g}"
        raise values.fail(reason, "correct it, or leave the file out")
    return number


def _orientation(values: Values) -> tuple[float, ...]:
    cosines = tuple(values.numbers("ImageOrientationPatient", 6))
    if _axial_cosine(cosines) < MIN_AXIAL_COSINE:
        raise values.fail("is not an axial slice", "leave reformatted planes out")
    return cosines


def _axial_cosine(cosines: tuple[float, ...]) -> float:
    return abs(cosines[0] * cosines[4] - cosines[1] * cosines[3])


def _kernel(name: str) -> str:
    # A name that is none may be anything, also a patient's.
    return name if _KERNEL.fullmatch(name) else f"unlisted-{zlib.crc32(name.encode()) & 0xFFFF:04x}"


def _body_part(term: str) -> str:
    # Free text in this place may be anything, as with kernels.
    squeezed = re.sub(r"[^A-Z]", "", term.upper())
    return squeezed if squeezed in BODY_PARTS else ""


def _padding(values: Values, keyword: str, signed: bool) -> int | None:
    if len(values.raw(keyword)) != 2:
        return None
    # Some writers give -2000 as the unsigned 63536, and the reverse: take the meaning that the pixels have.
    value = values.whole(keyword)
    return value - 0x10000 if signed and value > 0x7FFF else value


def decode_text(content: bytes) -> str:
    """Return the text of a value without padding and control characters, which would reach keys and messages."""
    text = content.decode("latin-1")
    if not text.isprintable():  # rare, and looking at each character is slow
        text = "".join(character for character in text if character.isprintable())
    return text.strip()
