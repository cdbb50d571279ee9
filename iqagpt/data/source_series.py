"""Finding the slices of one CT series, whatever its files are called: a file, or a folder at any depth.

Unlike `iqagpt.data.aapm` this knows no patients, doses or layouts; `iqagpt.data.dose_series` reads with it.
"""

import dataclasses
import math
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pydicom.uid import CTImageStorage

from iqagpt.data.dicom import CTHeader, UnreadableCT, is_dicom, read_elements, read_header
from iqagpt.errors import InputError

#: Of a file that does not say: only the unit of photons hangs on it when they are measured.
DEFAULT_THICKNESS_MM = 1.0
_KEYWORDS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesDescription", "XRayTubeCurrent", "SeriesInstanceUID", "NumberOfFrames",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class SourceSlice:
    """One slice of the series.

    Attributes
    ----------
    path : Path
    name : str
        Path relative to the folder given; the result is written under the same.
    header : CTHeader
    series_uid, instance_uid, description : str
        Empty where the file has none.
    current_ma : float or None
        Tube current.
    """

    path: Path
    name: str
    header: CTHeader
    series_uid: str
    instance_uid: str
    description: str
    current_ma: float | None

    @property
    def thickness_mm(self) -> float:
        """Slice thickness, or 1 mm where the file does not say."""
        return self.header.thickness_mm or DEFAULT_THICKNESS_MM


def find_series(source: Path) -> tuple[list[SourceSlice], list[UnreadableCT]]:
    """Find the slices of the one series in a folder; pixels stay unread.

    Returns
    -------
    slices : list of SourceSlice
        Sorted by position.
    skipped : list of UnreadableCT
        Files that are no usable CT slice. What is no DICOM file at all is passed over.

    Raises
    ------
    InputError
        If there is no slice, or more than one series.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; expected a CT slice or a folder with one series")
    root = source if source.is_dir() else source.parent
    series: dict[tuple[object, ...], list[SourceSlice]] = defaultdict(list)
    skipped = []
    for path in _candidates(source):
        try:
            item = _source_slice(path, path.relative_to(root).as_posix())
        except UnreadableCT as error:
            skipped.append(error)
        else:
            # Anonymisers empty the UID of different reconstructions: thickness and kernel tell those apart.
            series[item.series_uid, item.header.thickness_mm, item.header.kernel].append(item)
    if not series:
        raise InputError(nothing_usable(source, skipped))
    if len(series) > 1:
        lines = sorted(_name(items) for items in series.values())
        raise InputError(f"{source}: {len(series)} series, expected one: {'; '.join(lines)}; give the folder of one")
    (slices,) = series.values()
    return sorted(slices, key=lambda item: (item.header.z_mm, item.name)), skipped


def _candidates(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
        return
    for folder, names, files in os.walk(source):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for path in (Path(folder, name) for name in sorted(files) if not name.startswith(".")):
            # A damaged image keeps its suffix and is reported; a README is neither an image nor a damaged one.
            if path.suffix.lower() in (".ima", ".dcm") or (path.name != "DICOMDIR" and is_dicom(path)):
                yield path


def _source_slice(path: Path, name: str) -> SourceSlice:
    header = read_header(path)
    if header.frames > 1:
        raise UnreadableCT(path, "holds several frames (enhanced CT)", "convert it to one file a slice")
    elements = read_elements(path, _KEYWORDS)
    if (
        int(elements.get("NumberOfFrames") or 1) > 1
        or (elements.get("SOPClassUID") or CTImageStorage) != CTImageStorage
    ):
        raise UnreadableCT(path, "is an enhanced CT image", "convert it to one file a slice")
    try:
        current_ma = float(elements.get("XRayTubeCurrent"))
    except (TypeError, ValueError):
        current_ma = 0.0
    texts = (str(elements.get(key) or "") for key in ("SeriesInstanceUID", "SOPInstanceUID", "SeriesDescription"))
    stated = math.isfinite(current_ma) and current_ma > 0.0
    return SourceSlice(path, name, header, *texts, current_ma if stated else None)


def _name(items: list[SourceSlice]) -> str:
    first = min(items, key=lambda item: item.name)
    facts = [f"{len(items)} slice{'s' * (len(items) > 1)}", f"{first.thickness_mm:g} mm", first.header.kernel]
    title = "".join(character for character in first.description if character.isprintable())[:64]
    return f"{title or 'untitled'} ({', '.join(filter(None, facts))}, first {first.name})"


def nothing_usable(source: Path, skipped: list[UnreadableCT]) -> str:
    """Return the message for an input of which nothing is left."""
    if not skipped:
        return f"{source}: no CT slices there; expected a DICOM file, or a folder with one CT series"
    more = f"; and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    return f"no usable slice among {len(skipped)}: {skipped[0]}{more}"
