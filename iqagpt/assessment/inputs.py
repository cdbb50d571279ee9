"""Finding what there is to assess: files, folders and zip archives to series of slices, before any pixel is read.

A series is what was scanned and reconstructed together. DICOM says so itself; of other kinds, a file with several slices is
one series, and files of one slice in one folder are another. What cannot be used is a problem with a reason and never ends a run.
"""

import contextlib
import filecmp
import itertools
import re
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from iqagpt.data.ct_header import CTHeader, UnreadableCT
from iqagpt.data.rejections import printable
from iqagpt.data.sources import opened_source
from iqagpt.errors import InputError
from iqagpt.images import SUFFIXES, image_kind, open_image

FAILED, SKIPPED = "failed", "skipped"
_ALL_SUFFIXES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
_NO_WINDOW = "its grey levels cannot be told in HU; state the HU of black and of white: --window LOWER UPPER"
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class Problem:
    """A file, or a part of one, that was not assessed.

    Attributes
    ----------
    name : str
        As the user knows it.
    status : str
        `FAILED`, or `SKIPPED` where the file is sound and simply no axial CT slice: a scout view, another modality.
    reason : str
        With what to do about it.
    """

    name: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class SliceFile:
    """One slice to assess: where its pixels are.

    Attributes
    ----------
    path : Path
    name : str
        Of its file, as the user knows it.
    index : int
        Within the file.
    header : CTHeader or None
        Of DICOM.
    """

    path: Path
    name: str
    index: int
    header: CTHeader | None = field(repr=False)

    @property
    def sop_uid(self) -> str:
        """SOP Instance UID; empty where there is none, or none of valid form."""
        return _uid(self.header.identity.sop_uid) if self.header else ""


@dataclass(frozen=True, slots=True)
class Series:
    """Slices that belong together.

    Attributes
    ----------
    number : int
        From 1, in the order of the inputs.
    name : str
        Where it is, and for DICOM what it is.
    series_uid : str
        Empty where there is none.
    slices : list of SliceFile
        DICOM from the feet to the head.
    """

    number: int
    name: str
    series_uid: str
    slices: list[SliceFile] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """All that was found: series, and what cannot be used."""

    series: list[Series]
    problems: list[Problem]

    @property
    def slices(self) -> int:
        """Number of slices to assess."""
        return sum(len(series.slices) for series in self.series)


@contextlib.contextmanager
def found_inputs(inputs: Iterable[Path], window_hu: tuple[float, float] | None) -> Iterator[Found]:
    """Look through the inputs; archives are unpacked, within limits, until the context ends.

    Parameters
    ----------
    inputs : iterable of Path
        Files, folders or zip archives; named twice they count once, and so does a DICOM file that lies in several.
    window_hu : (lower, upper) or None
        Of PNG and TIFF.
    """
    search = _Search(window_hu)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="iqagpt-")))
        for number, path in enumerate(inputs):
            for file, name in _files(path, scratch / str(number), search, stack):
                search.add(file, name)
        yield search.found()


def reason_of(error: InputError, path: Path) -> str:
    """Return an error's text without the path in front, which may be that of a scratch file."""
    if isinstance(error, UnreadableCT):
        return f"{error.reason}; {error.remedy}"
    return str(error).removeprefix(f"{path}: ").replace(f"{path.parent}/", "")


def _files(path: Path, scratch: Path, search: "_Search", stack: contextlib.ExitStack) -> Iterator[tuple[Path, str]]:
    """Yield the files of one input with their names; what an archive holds besides becomes a problem."""
    try:
        path.stat()
    except OSError as error:
        search.problems.append(Problem(printable(path.as_posix()), FAILED, f"cannot be read ({error.strerror})"))
        return
    archive = path.is_file() and not image_kind(path) and zipfile.is_zipfile(path)
    if not path.is_dir() and not archive:
        yield path, path.as_posix()
        return
    source = stack.enter_context(opened_source(path, scratch))
    prefix = path if path.is_dir() else path.parent
    for row in source.rejected.table().itertuples():
        search.problems.append(
            Problem(printable((prefix / row.file).as_posix()), FAILED, f"{row.reason}; {row.remedy}")
        )
    found = False
    for file in source.files:
        # Damaged images keep their suffix and are reported; a README is neither an image nor a damaged one.
        if file.name != "DICOMDIR" and (file.name.lower().endswith(_ALL_SUFFIXES) or image_kind(file)):
            found = True
            yield file, (prefix / source.relative(file)).as_posix()
    if not found and not len(source.rejected):
        search.problems.append(Problem(printable(path.as_posix()), FAILED, "no image of a known kind in it"))


class _Search:
    def __init__(self, window_hu: tuple[float, float] | None) -> None:
        self._window_hu = window_hu
        self._groups: dict[tuple[object, ...], list[SliceFile]] = defaultdict(list)
        self._seen: set[Path] = set()
        self._images: dict[tuple[str, int], SliceFile] = {}  # DICOM by UID and size in bytes
        self.problems: list[Problem] = []

    def add(self, path: Path, name: str) -> None:
        resolved = path.resolve()
        if resolved in self._seen:
            return
        self._seen.add(resolved)
        name = printable(name)
        picture = image_kind(path) in ("PNG", "TIFF") and path.is_file()
        if picture and self._window_hu is None:
            self.problems.append(Problem(name, FAILED, _NO_WINDOW))
            return
        try:
            if picture:  # read whole, so not opened twice
                slices = [SliceFile(path, name, 0, None)]
            else:
                with open_image(path, self._window_hu) as image:
                    headers = image.headers or itertools.repeat(None)
                    pairs = zip(range(image.count), headers, strict=False)
                    slices = [SliceFile(path, name, index, header) for index, header in pairs]
        except InputError as error:
            self.problems.append(Problem(name, _status(error), reason_of(error, path)))
            return
        first = self._first_copy(slices[0])
        if first is not None:
            self.problems.append(Problem(name, SKIPPED, f"the same file as {first.name}, which is assessed"))
            return
        for item in slices:
            self._groups[_key(item, alone=len(slices) == 1)].append(item)

    def _first_copy(self, item: SliceFile) -> SliceFile | None:
        """Return the slice of which this is a copy, as in a folder and in its archive; a UID alone is not always unique."""
        if not item.sop_uid:
            return None
        first = self._images.setdefault((item.sop_uid, item.path.stat().st_size), item)
        return first if first is not item and filecmp.cmp(first.path, item.path, shallow=False) else None

    def found(self) -> Found:
        series = []
        for number, (_, slices) in enumerate(self._groups.items(), start=1):
            if slices[0].header is not None:
                slices.sort(key=lambda item: (item.header.z_mm, item.name, item.index))
            uid = _uid(slices[0].header.identity.series_uid) if slices[0].header else ""
            series.append(Series(number, _name(slices), uid, slices))
        return Found(series, self.problems)


def _key(item: SliceFile, *, alone: bool) -> tuple[object, ...]:
    header = item.header
    if header is None:
        return ("files of one slice", item.path.parent) if alone else ("file", item.path)
    # Anonymisers empty the UID, or give one to several reconstructions; the folder tells patients of a collection apart.
    facts = header.kernel, header.thickness_mm, header.pixel_spacing_mm, header.rows, header.columns
    return ("DICOM", header.identity.series_uid, item.path.parent if not header.identity.series_uid else None, *facts)


def _name(slices: list[SliceFile]) -> str:
    first = slices[0]
    names = sorted({item.name for item in slices})
    place = names[0] if len(names) == 1 else Path(names[0]).parent.as_posix()
    facts = [f"{len(slices)} slice{'s' * (len(slices) > 1)}"]
    if first.header is not None:
        header = first.header
        thickness = f"{header.thickness_mm:g} mm" if header.thickness_mm else ""
        facts += [thickness, header.kernel, header.body_part.lower(), f"{header.pixel_spacing_mm:.3g} mm pixels"]
    return f"{place} ({', '.join(filter(None, facts))})"


def _status(error: InputError) -> str:
    # The reader tells what is to be mended from what is sound and to be left out.
    return SKIPPED if isinstance(error, UnreadableCT) and error.remedy.startswith("leave") else FAILED


def _uid(text: str) -> str:
    return text if _UID.fullmatch(text) else ""
