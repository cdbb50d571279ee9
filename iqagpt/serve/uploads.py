"""An upload as an image in HU, in memory, within limits.

The size is checked before the body is read, and again while it comes in. The guarded readers of `iqagpt.images` read files,
so the bytes are given to them as a file in memory; where the system has none (macOS, Windows), as a file in a private temporary
folder that is removed at once.
"""

import asyncio
import gzip
import io
import os
import re
import tempfile
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from iqagpt.chat.opened_image import OpenedImage, open_bounded
from iqagpt.errors import InputError
from iqagpt.images import SUFFIXES

#: Around the file in a request: the other fields and their headers.
_FORM_BYTES = 64 * 1024
_SECONDS = 300
_CHUNK = 1024 * 1024
#: Of stored NIfTI values, at most; what unpacks to more is refused.
_BYTES_A_PIXEL = 4


class UploadError(InputError):
    """An upload that is refused before it is read as an image.

    Attributes
    ----------
    status : int
        HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Budget:
    """Bytes of uploads that may be in memory at one time; a request waits for its share."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def share(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes, at most the total, while the block runs."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            async with self._changed:
                self._free += size
                self._changed.notify_all()


class _InMemory(MultiPartParser):
    spool_max_size = 0  # tempfile's word for: never move to a file on disk


def stated_size(request: Request, limit: int) -> int:
    """Return the size of a request's body.

    Raises
    ------
    UploadError
        If it is not stated, or too large for a file of `limit` bytes.
    """
    stated = request.headers.get("content-length", "")
    if not re.fullmatch(r"\d{1,15}", stated):
        raise UploadError(411, "the size of the upload is not stated; send Content-Length")
    size = int(stated)
    if size > limit + _FORM_BYTES:
        raise UploadError(413, f"the upload has {size} bytes; at most {limit} are taken")
    return size


@asynccontextmanager
async def upload(request: Request, limit: int) -> AsyncIterator[tuple[str, BinaryIO, dict[str, str]]]:
    """Read a form with one file named ``file``; all stays in memory, and is freed behind the block.

    Parameters
    ----------
    request : Request
    limit : int
        Of the file, in bytes.

    Yields
    ------
    name : str
        Of the file, for its suffix and for people.
    file : binary file
    fields : dict
        The other fields.

    Raises
    ------
    UploadError
        If it is too large, too slow, or no such form.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UploadError(415, "expected a form (multipart/form-data) with one file named 'file'")
    parser = _InMemory(request.headers, _bounded(request, limit + _FORM_BYTES), max_files=1, max_fields=8)
    try:
        async with asyncio.timeout(_SECONDS):
            form = await parser.parse()
    except TimeoutError:
        raise UploadError(408, f"the upload took longer than {_SECONDS} s") from None
    except MultiPartException as error:
        raise UploadError(400, f"the form cannot be read: {error.message}") from None
    except ClientDisconnect:
        raise UploadError(400, "the upload was broken off") from None
    try:
        file = form.get("file")
        if file is None or isinstance(file, str):
            raise UploadError(400, "the form holds no file named 'file'")
        if file.size > limit:
            raise UploadError(413, f"the file has {file.size} bytes; at most {limit} are taken")
        yield file.filename or "", file.file, {k: v for k, v in form.multi_items() if isinstance(v, str)}
    finally:
        await form.close()


async def _bounded(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise UploadError(413, f"the upload has more than {limit} bytes")
        yield chunk


def read_upload(name: str, file: BinaryIO, window_hu: tuple[float, float] | None, max_pixels: int) -> OpenedImage:
    """Read uploaded bytes as an image.

    Parameters
    ----------
    name : str
        As the sender called it; only a known suffix of it is used.
    file : binary file
    window_hu, max_pixels
        As for `open_bounded`.

    Raises
    ------
    InputError
        As `open_bounded`; the message names the file as the sender does.
    """
    suffix = _suffix(name)
    try:
        with (
            _unpacked(file, max_pixels) if suffix.endswith(".gz") else nullcontext(file) as plain,
            _as_path(plain, suffix.removesuffix(".gz")) as path,
        ):
            return open_bounded(path, window_hu, max_pixels, name=display_name(name))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{display_name(name)}: cannot be unpacked ({error}); copy it again") from None


def display_name(name: str) -> str:
    """Return a file's name for people: the last part of its path, printable, of bounded length."""
    last = PurePosixPath(name.replace("\\", "/")).name
    printable = "".join(char for char in last if char.isprintable())
    return printable[:80] or "the upload"


def _suffix(name: str) -> str:
    lower = name.lower()
    known = (suffix for suffixes in SUFFIXES.values() for suffix in suffixes if lower.endswith(suffix))
    return max(known, key=len, default="")


@contextmanager
def _as_path(file: BinaryIO, suffix: str) -> Iterator[Path]:
    """Give bytes a path with a suffix, by which readers know the kind."""
    with tempfile.TemporaryDirectory(prefix="iqagpt-") as folder:
        path = Path(folder) / f"upload{suffix}"
        if not hasattr(os, "memfd_create"):
            with path.open("wb") as target:
                _copy(file, target)
            yield path
            return
        with os.fdopen(os.memfd_create("iqagpt-upload"), "wb") as target:
            _copy(file, target)
            target.flush()
            # The folder holds a link to the memory, no bytes of the image.
            path.symlink_to(f"/proc/{os.getpid()}/fd/{target.fileno()}")
            yield path


@contextmanager
def _unpacked(file: BinaryIO, max_pixels: int) -> Iterator[BinaryIO]:
    """Unpack gzip in memory, no further than an image of the largest size can go."""
    limit = _BYTES_A_PIXEL * max_pixels + _FORM_BYTES
    file.seek(0)
    with gzip.open(file) as packed, io.BytesIO() as plain:
        while piece := packed.read(_CHUNK):
            plain.write(piece)
            if plain.tell() > limit:
                raise InputError(f"the file holds more than {limit} bytes when unpacked; give fewer slices at a time")
        yield plain


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    source.seek(0)
    while chunk := source.read(_CHUNK):
        target.write(chunk)
