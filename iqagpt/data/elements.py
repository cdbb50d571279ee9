"""Finding the data elements of a DICOM file within hard limits on number, depth and size.

A general parser takes a file at its word: it inflates, recurses and converts whatever the file claims, so that a few
kilobytes can cost gigabytes or minutes. This one walks over the file once, keeps the place of the few elements asked
for, and reads values only on demand; whatever it does is bounded by constants below, whatever the file says.

Used by `iqagpt.data.dicom` alone, which gives the values their meaning.

References
----------
DICOM PS3.5 7 (data set encoding), A.4 (encapsulated pixel data); PS3.10 7 (file format).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

#: Elements and items looked at in one file: a second or less. An enhanced CT has some 50 a frame.
MAX_ELEMENTS = 500_000
#: Sequences within sequences; real files have below 10.
MAX_DEPTH = 64
#: Longest value that is read: a header's numbers and names are far shorter.
MAX_VALUE_BYTES = 4096

PIXEL_DATA = 0x7FE00010
UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
#: Value representations with a length of four bytes in explicit encoding.
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_TAG = struct.Struct("<HH")
_HEAD = struct.Struct("<HH2sH")
_IMPLICIT_HEAD = struct.Struct("<HHI")


class MalformedError(ValueError):
    """The bytes are not DICOM, or exceed a limit; the message says which, without content of the file."""


@dataclass(frozen=True, slots=True)
class Element:
    """Where a value is.

    Attributes
    ----------
    offset : int
        Of the value's first byte.
    length : int
        In bytes; `UNDEFINED` where a delimiter ends it.
    explicit : bool
        Encoding of what is inside, if it is a sequence.
    """

    offset: int
    length: int
    explicit: bool


class ElementReader:
    """Walk over one open file.

    Parameters
    ----------
    file : binary file
        Seekable; read in small pieces.
    size : int
        Of the file, in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._left = MAX_ELEMENTS

    def meta(self, wanted: frozenset[int]) -> tuple[dict[int, Element], int]:
        """Return elements of the file meta information, and where the data set begins.

        Raises
        ------
        MalformedError
            If the file has no preamble followed by ``DICM``.
        """
        self._file.seek(0)
        if self._file.read(132)[128:] != b"DICM":
            raise MalformedError("not a DICOM file")
        found: dict[int, Element] = {}
        place = 132
        while place < self._size:
            tag, element = self._element(place, explicit=True, group=2)
            if tag >> 16 != 2:
                break
            if element.length == UNDEFINED:
                raise MalformedError("its file meta information has no end")
            if tag in wanted:
                found[tag] = element
            place = element.offset + element.length
        return found, place

    def dataset(
        self, start: int, wanted: frozenset[int], *, explicit: bool, end: int | None = None
    ) -> dict[int, Element]:
        """Return the places of the wanted elements of a data set; the first of equal tags counts.

        Parameters
        ----------
        start : int
            Offset of its first element.
        wanted : frozenset of int
            Tags.
        explicit : bool
            Whether value representations are written.
        end : int, optional
            Where it ends; None for the file's own data set, which is left at Pixel Data, or for an item that
            a delimiter ends.
        """
        found: dict[int, Element] = {}
        place, end = start, self._size if end is None else min(end, self._size)
        while place < end:
            tag, element = self._element(place, explicit=explicit)
            if tag in (_ITEM_END, _SEQUENCE_END):
                break
            if tag in wanted:
                found.setdefault(tag, element)
            if tag == PIXEL_DATA:
                break
            place = self._after(element)
        return found

    def starts_explicit(self, start: int) -> bool:
        """Tell whether the first element has a value representation; some files say otherwise than they do."""
        self._file.seek(start + 4)
        name = self._file.read(2)
        return len(name) == 2 and name.isalpha() and name.isupper()

    def value(self, element: Element) -> bytes:
        """Read a short value.

        Raises
        ------
        MalformedError
            If it is too long or the file ends within it.
        """
        if element.length > MAX_VALUE_BYTES:
            raise MalformedError(f"a header value is longer than {MAX_VALUE_BYTES} bytes")
        self._file.seek(element.offset)
        content = self._file.read(element.length)
        if len(content) < element.length:
            raise MalformedError("the file ends within its header")
        return content

    def items(self, sequence: Element) -> Iterator[Element]:
        """Yield the items of a sequence, or the fragments of encapsulated pixel data."""
        place = sequence.offset
        end = self._size if sequence.length == UNDEFINED else min(place + sequence.length, self._size)
        while place < end:
            tag, length = self._item(place)
            if tag == _SEQUENCE_END:
                return
            if tag != _ITEM:
                raise MalformedError("a sequence holds something that is no item")
            item = Element(place + 8, length, sequence.explicit)
            yield item
            place = self._after_item(item)

    def item_dataset(self, item: Element, wanted: frozenset[int]) -> dict[int, Element]:
        """Return the places of the wanted elements of one item."""
        end = None if item.length == UNDEFINED else item.offset + item.length
        return self.dataset(item.offset, wanted, explicit=item.explicit, end=end)

    def _element(self, place: int, *, explicit: bool, group: int | None = None) -> tuple[int, Element]:
        self._spend()
        self._file.seek(place)
        head = self._file.read(8)
        if len(head) < 8:
            raise MalformedError("the file ends within its header")
        high, low, name, length = _HEAD.unpack(head)
        tag = high << 16 | low
        if group is not None and high != group:
            return tag, Element(place, 0, explicit)
        if not explicit or high == 0xFFFE:
            return tag, Element(place + 8, _IMPLICIT_HEAD.unpack(head)[2], explicit=explicit)
        if name in _LONG:
            long = self._file.read(4)
            if len(long) < 4:
                raise MalformedError("the file ends within its header")
            # A sequence of unknown type is encoded without types (PS3.5 6.2.2, note 4).
            inside = not (name == b"UN" and long == b"\xff\xff\xff\xff")
            return tag, Element(place + 12, int.from_bytes(long, "little"), explicit=inside)
        if not (name.isalpha() and name.isupper()):
            raise MalformedError("an element has no value representation")
        return tag, Element(place + 8, length, explicit=True)

    def _after(self, element: Element) -> int:
        if element.length != UNDEFINED:
            end = element.offset + element.length
            if end > self._size:
                raise MalformedError("an element is longer than the file")
            return end
        return self._end_of_sequence(element)

    def _after_item(self, item: Element) -> int:
        if item.length == UNDEFINED:
            return self._end_of_sequence(item, in_item=True)
        if item.offset + item.length > self._size:
            raise MalformedError("an item is longer than the file")
        return item.offset + item.length

    def _end_of_sequence(self, start: Element, *, in_item: bool = False) -> int:
        """Skip a sequence, or an item, of undefined length, without recursion."""
        place = start.offset
        levels = [(in_item, start.explicit)]
        while levels:
            inside_item, explicit = levels[-1]
            if inside_item:
                tag, element = self._element(place, explicit=explicit)
                is_end, is_item = tag == _ITEM_END, False
            else:
                tag, length = self._item(place)
                element = Element(place + 8, length, explicit)
                is_end, is_item = tag == _SEQUENCE_END, tag == _ITEM
                if not (is_end or is_item):
                    raise MalformedError("a sequence holds something that is no item")
            if is_end:
                levels.pop()
                place = element.offset
            elif element.length == UNDEFINED:
                if len(levels) >= MAX_DEPTH:
                    raise MalformedError(f"sequences are nested more than {MAX_DEPTH} deep")
                levels.append((is_item, element.explicit))
                place = element.offset
            else:
                place = element.offset + element.length
        return place

    def _item(self, place: int) -> tuple[int, int]:
        self._spend()
        self._file.seek(place)
        head = self._file.read(8)
        if len(head) < 8:
            raise MalformedError("the file ends within a sequence")
        high, low, length = _IMPLICIT_HEAD.unpack(head)
        return high << 16 | low, length

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise MalformedError(f"has more than {MAX_ELEMENTS} elements")
