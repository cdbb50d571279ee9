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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from iqagpt.data.aapm import PROJECTIONS
from iqagpt.data.rejections import Rejections
from iqagpt.errors import InputError

log = logging.getLogger(__name__)

MAX_MEMBERS = 200_000
#: Of one file, and of one archive, unpacked; CT hardly shrinks to a third, and what shrinks a hundredfold is no image.
MAX_MEMBER_BYTES, MAX_ARCHIVE_BYTES = 2**31, 2**36
MAX_RATIO = 100
_MIN_SUSPECT_BYTES = 2**20
_PIECE_BYTES = 2**20
#: A name that is file and folder at once, or too long, is the archive's fault; a full disk is not.
_NAME_ERRORS = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
_DRIVE = re.compile(r"^[A-Za-z]:")


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
    if root.is_dir():
        base, files = root, list(_walk(root))
    elif root.is_file() and zipfile.is_zipfile(root):
        base, files = root.parent, [root]
    else:
        state = "is no folder or zip archive" if root.exists() else "no such folder or zip archive"
        raise InputError(
            f"ingest.root: {state}: {root}; expected DICOM series, such as L067/full_3mm/*.IMA beside "
            "L067/quarter_3mm/*.IMA. Outside the repository give an absolute path: queued and --temp runs see only "
            "such a one"
        )
    rejected = Rejections(base, scratch)
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
        archives = [path for path in files if path.suffix.lower() == ".zip"]
        for archive in archives:
            _unpack(archive, scratch / archive.relative_to(base), rejected)
        files = [path for path in files if path not in archives]
        yield Source(files + (list(_walk(scratch)) if archives else []), rejected)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _walk(root: Path) -> Iterator[Path]:
    # Data folders are often links; a link back to a folder already seen ends there.
    seen = set()
    for folder, names, files in os.walk(root, followlinks=True):
        seen.add(os.path.realpath(folder))
        skipped = [name for name in names if PROJECTIONS.search(name)]
        if skipped:
            log.info("skipped raw projections: %s", ", ".join(sorted(skipped)))
        names[:] = sorted(
            name
            for name in names
            if name not in skipped
            and not name.startswith((".", "__MACOSX"))
            and os.path.realpath(os.path.join(folder, name)) not in seen
        )
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _unpack(archive: Path, target: Path, rejected: Rejections) -> None:
    target.mkdir(parents=True, exist_ok=True)
    total = 0
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if len(members) > MAX_MEMBERS:
                rejected.add(archive, f"holds {len(members)} files, more than {MAX_MEMBERS}", "unpack it yourself")
                return
            for member in sorted(members, key=lambda item: item.filename):
                problem = "" if member.is_dir() else _problem(member, total)
                if problem:
                    rejected.add(archive, f"a member {problem}", "unpack it yourself", part=member.filename)
                elif not member.is_dir():
                    total += _unpack_member(opened, member, target, rejected, archive)
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        rejected.add(archive, f"cannot be unpacked ({type(error).__name__})", "copy or download the file again")


def _problem(member: zipfile.ZipInfo, total: int) -> str:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or _DRIVE.match(member.filename) or "\0" in member.filename:
        return "points outside the archive"
    if len(str(name)) > 1024 or any(len(part.encode()) > 200 for part in name.parts):
        return "has too long a name"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is no plain file"
    if member.flag_bits & 1:
        return "is encrypted"
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
            rejected.add(archive, "a second member of that name", "unpack it yourself", part=member.filename)
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
        rejected.add(archive, "a member has an impossible name", "unpack it yourself", part=member.filename)
    except Exception as error:  # zlib.error, lzma.LZMAError, BadZipFile and others have no common base
        path.unlink(missing_ok=True)
        reason = f"a member cannot be unpacked ({type(error).__name__})"
        rejected.add(archive, reason, "copy or download the file again", part=member.filename)
    return written
