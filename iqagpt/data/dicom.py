"""Reading CT slices from DICOM files, trusting nothing in them; the only module that reads DICOM.

Others import names and UIDs from pydicom, or write with it: ``tests/data/test_one_reader.py`` lists them.

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
import stat
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UID_dictionary,
)

from iqagpt.ct import AIR_HU, to_hu
from iqagpt.data.ct_header import (
    COPY_AGAIN,
    GROUP_TAGS,
    LOSSY,
    PER_FRAME,
    SHARED,
    TAGS,
    WANTED,
    CTHeader,
    UnreadableCT,
    Values,
    check_kind,
    decode_text,
    make_header,
)
from iqagpt.data.decoder import CODECS, DecodingError, decode_frame, loses_detail
from iqagpt.data.elements import PIXEL_DATA, UNDEFINED, Element, ElementReader, MalformedError

__all__ = [
    "CTHeader", "CTSlice", "UnreadableCT", "is_dicom", "read_ct", "read_elements", "read_header", "read_headers", "read_stored",
]  # fmt: skip

#: Room for 4,000 uncompressed frames of 512 x 512; frames are read one at a time.
MAX_FILE_BYTES = 2**31
MAX_FRAMES = 4000
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_TRANSFER_SYNTAX = 0x00020010


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


def read_elements(path: Path, keywords: Sequence[str] | None = None) -> Dataset:
    """Read elements of a file that `read_header` has accepted, for writing a like image; by default all.

    Unlike everything else here this is pydicom's reader, since a writer needs elements that are not looked at before.

    Raises
    ------
    UnreadableCT
        If an element outside those that were checked cannot be parsed.
    """
    try:
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, specific_tags=keywords, stop_before_pixels=keywords is not None)
    except Exception as error:  # a hostile nested sequence ends in RecursionError
        reason = f"has elements that cannot be parsed ({type(error).__name__})"
        raise UnreadableCT(path, reason, "copy or export the file again") from error


def is_dicom(path: Path) -> bool:
    """Tell whether a plain file starts like a DICOM file (preamble and ``DICM``)."""
    try:
        if not path.is_file():  # opening a pipe would wait for a writer
            return False
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
            if not stat.S_ISREG(self._path.stat().st_mode):  # opening a pipe would wait for a writer
                raise self._fail("is no plain file", "leave it out")
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
            reason, remedy = str(error), COPY_AGAIN
            if reason == "not a DICOM file":
                remedy = "remove it, or copy it again"
            raise self._fail(reason, remedy) from error
        raise self._fail(f"cannot be parsed as DICOM ({type(error).__name__})", COPY_AGAIN) from error

    def _parse(self, file: BinaryIO) -> None:
        self._size = os.fstat(file.fileno()).st_size
        if self._size > MAX_FILE_BYTES:
            raise self._fail(f"is {self._size} bytes, more than {MAX_FILE_BYTES}", "split it into single slices")
        self._reader = ElementReader(file, self._size)
        meta, start = self._reader.meta(frozenset((_TRANSFER_SYNTAX,)))
        self._syntax = decode_text(self._reader.value(meta[_TRANSFER_SYNTAX])) if _TRANSFER_SYNTAX in meta else ""
        # Looked at before anything else: a deflated data set would have to be inflated even to be searched.
        self._check_syntax()
        explicit = self._syntax != ImplicitVRLittleEndian and self._reader.starts_explicit(start)
        self._top = Values(self._reader, self._reader.dataset(start, WANTED, explicit=explicit), self._fail)
        check_kind(self._top)
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
        if frames > 1 and PER_FRAME not in self._top:
            raise self._fail("holds several frames without saying where they lie", "convert it to one file a slice")
        return frames

    def headers(self) -> Iterator[CTHeader]:
        """Yield the header of every frame."""
        if PER_FRAME not in self._top:
            yield self._checked(make_header(self._top, 0, 1, compressed=self._syntax in CODECS))
            return
        count = 0
        for count, values in enumerate(self._grouped(), start=1):
            if count > self._frames:
                break
            yield self._frame_header(values, count - 1)
        if count < self._frames:
            raise self._fail(f"describes {count} of its {self._frames} frames", COPY_AGAIN)

    def header(self, frame: int) -> CTHeader:
        """Return the header of one frame."""
        if not 0 <= frame < self._frames:
            raise self._fail(f"has no frame {frame + 1}, but {self._frames}", "give a frame that it has")
        if PER_FRAME not in self._top:
            return next(self.headers())
        for k, values in enumerate(self._grouped(only=frame)):
            if k == frame:
                return self._frame_header(values, frame)
        raise self._fail(f"does not describe frame {frame + 1}", COPY_AGAIN)

    def _frame_header(self, values: "Values", frame: int) -> CTHeader:
        try:
            return self._checked(make_header(values, frame, self._frames, compressed=self._syntax in CODECS))
        except UnreadableCT as error:
            raise self._fail(f"{error.reason} (frame {frame + 1})", error.remedy) from error

    def _grouped(self, only: int | None = None) -> Iterator["Values"]:
        """Yield the elements that hold for each frame: its own, then the shared, then those of the file."""
        shared = {}
        if SHARED in self._top:
            for item in self._top.items(SHARED):
                shared = self._functional_group(item)
                break
        for k, item in enumerate(self._top.items(PER_FRAME)):
            own = self._functional_group(item) if only in (None, k) else {}
            yield Values(self._reader, {**self._top.places, **shared, **own}, self._fail)

    def _functional_group(self, item: Element) -> dict[int, Element]:
        found: dict[int, Element] = {}
        for group in self._reader.item_dataset(item, GROUP_TAGS).values():
            for inner in self._reader.items(group):
                found.update(self._reader.item_dataset(inner, WANTED | {TAGS["FrameType"]}))
                break
        found.pop(PIXEL_DATA, None)
        return found

    def _checked(self, header: CTHeader) -> CTHeader:
        pixels = self._top.places.get(PIXEL_DATA)
        if header.compressed:
            if pixels is None or pixels.length != UNDEFINED:
                raise self._fail("its pixel data are missing or not encapsulated", COPY_AGAIN)
            return header
        expected = header.pixel_bytes * header.frames
        found = stated = 0
        if pixels is not None:
            stated = pixels.length
            found = min(stated, max(0, self._size - pixels.offset))
        if stated - expected not in (0, expected % 2) or found < expected:
            cut = "truncated" if found < expected else "inconsistent"
            size = f"{header.rows} x {header.columns} x 2" + (f" x {header.frames}" if header.frames > 1 else "")
            raise self._fail(f"pixel data are {cut}: {found} bytes, expected {size} = {expected}", COPY_AGAIN)
        return header

    def words(self, header: CTHeader) -> np.ndarray:
        """Read the stored words of one frame."""
        pixels = self._top.places[PIXEL_DATA]
        if header.compressed:
            frame = self._compressed(pixels, header)
            if loses_detail(self._syntax, frame):
                raise self._fail(*LOSSY)
            try:
                return decode_frame(self._syntax, frame, header.rows, header.columns)
            except DecodingError as error:
                raise self._fail(f"its pixels cannot be decompressed: {error}", COPY_AGAIN) from error
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
            raise self._fail(f"its compressed frame has {length} bytes, for {header.pixel_bytes} of pixels", COPY_AGAIN)
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
