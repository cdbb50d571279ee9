"""The files that `ingest` is given: a folder, a zip archive, or a folder with archives in it.

Archives are unpacked under limits into a scratch folder beside the stage's output. Nothing but plain files comes out of
them, and nothing outside that folder: links, absolute names and ``..`` become rejected rows.

Read by `iqagpt.data.finding`.
"""

import contextlib
import errno
import logging
import os
import re
import shutil
import stat
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from iqagpt.data.aapm import PROJECTIONS, identify
from iqagpt.data.rejections import Rejections
from iqagpt.errors import InputError

log = logging.getLogger(__name__)

MAX_MEMBERS = 200_000
#: Folders within folders of an archive.
MAX_DEPTH = 32
#: Of one file, and of one archive, unpacked; CT hardly shrinks to a third, and what shrinks a hundredfold is no image.
MAX_MEMBER_BYTES, MAX_ARCHIVE_BYTES = 2**31, 2**36
MAX_RATIO = 100
_MIN_SUSPECT_BYTES = 2**20
_PIECE_BYTES = 2**20
#: A name that is file and folder at once, or too long, is the archive's fault; a full disk is not.
_NAME_ERRORS = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|7z|rar|tar\.\w+)$", re.IGNORECASE)
_DRIVE = re.compile(r"^[A-Za-z]:")
#: Windows packs large files by another one, Deflate64.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@dataclass(frozen=True, slots=True)
class Source:
    """All plain files of the input, in a fixed order.

    Attributes
    ----------
    files : list of Path
    rejected : Rejections
        Knows what each file is called to the user.
    """

    files: list[Path]
    rejected: Rejections

    def relative(self, path: Path) -> Path:
        """Return the name of a file below the root; inside an archive, below the archive's name."""
        return Path(self.rejected.name(path))


@contextlib.contextmanager
def opened_source(root: Path, scratch: Path) -> Iterator[Source]:
    """List the files below a folder, or in a zip archive.

    Parameters
    ----------
    root : Path
    scratch : Path
        Folder for unpacked archives; made when needed, gone afterwards.

    Raises
    ------
    InputError
        If `root` is missing or neither a folder nor a zip archive.
    """
    archive = root.is_file() and zipfile.is_zipfile(root)
    if not archive and not root.is_dir():
        state = "is no folder or zip archive" if root.exists() else "no such folder or zip archive"
        raise InputError(
            f"ingest.root: {state}: {root}; expected DICOM series, such as L067/full_3mm/*.IMA beside "
            "L067/quarter_3mm/*.IMA. Outside the repository give an absolute path: queued and --temp runs see only "
            "such a one"
        )
    rejected = Rejections(root.parent if archive else root, scratch)
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
        given = [root] if archive else list(_walk(root, rejected))
        files = []
        for path in given:
            if path == root or path.suffix.lower() == ".zip":
                _unpack(path, scratch / path.relative_to(rejected.root), rejected)
            else:
                files.append(path)
        if scratch.exists():
            files += _walk(scratch, rejected)
        for path in files:
            if _ARCHIVE.search(path.name):
                reason = "is an archive that is not unpacked: only .zip is, and not within another"
                _lost(rejected, path, reason, "unpack it yourself")
        yield Source(files, rejected)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _walk(root: Path, rejected: Rejections) -> Iterator[Path]:
    """Yield the plain files below a folder; what is hidden or a raw projection is passed over."""
    # Data folders are often links. These come last: what lies below the root as well keeps its own place, and a link back
    # to a folder already seen ends there.
    seen: set[str] = set()
    folders, links = [(root, os.path.realpath(root))], deque[tuple[Path, str]]()
    while folders or links:
        folder, place = folders.pop() if folders else links.popleft()
        if place in seen:
            continue
        seen.add(place)
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            _lost(rejected, folder, f"cannot be read ({error.strerror})", "check name and rights")
            continue
        below = []
        for path in (folder / name for name in names if not name.startswith((".", "__MACOSX"))):
            if os.path.isfile(path):
                yield path
            elif not os.path.isdir(path):
                _lost(rejected, path, "is a link to nothing, or no plain file", "copy it again, or remove it")
            elif PROJECTIONS.search(path.name):
                log.info("skipped raw projections: %s", path.name)
            elif path.is_symlink():
                links.append((path, os.path.realpath(path)))
            else:
                below.append((path, os.path.join(place, path.name)))
        folders += reversed(below)


def _lost(rejected: Rejections, path: Path, reason: str, remedy: str, *, part: str = "") -> None:
    """List a file, folder or archive that was lost before anything could be read of it."""
    patient_id = identify(Path(rejected.name(path), part))[0]
    # Nobody knows whose files a whole folder or archive held.
    rejected.unknown |= patient_id is None and not part and os.path.exists(path)
    rejected.add(path, reason, remedy, patient_id, part=part)


def _unpack(archive: Path, target: Path, rejected: Rejections) -> None:
    target.mkdir(parents=True, exist_ok=True)
    total = 0
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if len(members) > MAX_MEMBERS:
                _lost(rejected, archive, f"holds {len(members)} files, more than {MAX_MEMBERS}", "unpack it yourself")
                return
            for member in sorted(members, key=lambda item: item.filename):
                problem = "" if member.is_dir() else _problem(member, total)
                if problem:
                    _lost(rejected, archive, f"a member {problem}", "unpack it yourself", part=member.filename)
                elif not member.is_dir():
                    total += _unpack_member(opened, member, target, rejected, archive)
    except OSError as error:
        if error.errno in _FULL:
            raise
        _lost(rejected, archive, f"cannot be unpacked ({error.strerror})", "check name and rights")
    except (EOFError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        _lost(rejected, archive, f"cannot be unpacked ({type(error).__name__})", "copy or download the file again")


def _problem(member: zipfile.ZipInfo, total: int) -> str:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or _DRIVE.match(member.filename) or "\0" in member.filename:
        return "points outside the archive"
    if len(name.parts) > MAX_DEPTH or len(str(name)) > 1024 or any(len(part.encode()) > 200 for part in name.parts):
        return "has too long a name"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is no plain file"
    if member.flag_bits & 1:
        return "is encrypted"
    if member.compress_type not in _METHODS:
        return "is packed by a method that is not read here"
    if member.file_size > MAX_MEMBER_BYTES or total + member.file_size > MAX_ARCHIVE_BYTES:
        return f"unpacks to {member.file_size} bytes, too many"
    if member.file_size > max(_MIN_SUSPECT_BYTES, MAX_RATIO * member.compress_size):
        return f"unpacks to over {MAX_RATIO} times its size"
    return ""


def _unpack_member(
    opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, rejected: Rejections, archive: Path
) -> int:
    path = target / member.filename.replace("\\", "/")
    written = 0
    try:
        if path.exists():
            _lost(rejected, archive, "a second member of that name", "unpack it yourself", part=member.filename)
            return 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as packed, path.open("wb") as file:
            while piece := packed.read(_PIECE_BYTES):
                written += len(piece)
                if written > member.file_size:  # what the directory claims is not what is inside
                    raise zipfile.BadZipFile
                file.write(piece)
    except OSError as error:
        if error.errno not in _NAME_ERRORS:
            raise
        _lost(rejected, archive, "a member has an impossible name", "unpack it yourself", part=member.filename)
    except Exception as error:  # zlib.error, lzma.LZMAError, BadZipFile and others have no common base
        path.unlink(missing_ok=True)
        reason = f"a member cannot be unpacked ({type(error).__name__})"
        _lost(rejected, archive, reason, "copy or download the file again", part=member.filename)
    return written
