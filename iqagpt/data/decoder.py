"""Decompressing a CT frame in a process of its own, which is started when first needed and replaced when it dies.

Between `iqagpt.data.dicom`, which finds the frame, and `iqagpt.data.decoding_process`, which does the work under limits.
"""

import atexit
import itertools
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from iqagpt.data import decoding_process
from iqagpt.data.decoding_process import JPEG, JPEG_2000, READY, REPLY, REQUEST, RLE

__all__ = ["CODECS", "DecodingError", "decode_frame", "loses_detail"]

JPEG_LS = "1.2.840.10008.1.2.4.80"
#: Codec by transfer syntax; lossless ones, and JPEG 2000 whose header says whether it lost anything.
CODECS = {
    "1.2.840.10008.1.2.4.57": JPEG,
    "1.2.840.10008.1.2.4.70": JPEG,
    JPEG_LS: JPEG,
    "1.2.840.10008.1.2.4.90": JPEG_2000,
    "1.2.840.10008.1.2.4.91": JPEG_2000,
    "1.2.840.10008.1.2.5": RLE,
}
#: Markers of JPEG 2000 (COD) and JPEG (SOS; SOF of every process that transforms by cosines), and how many are looked at.
_CODING_STYLE, _SCAN_START = 0x52, 0xDA
_DCT_STARTS = frozenset((0xC0, 0xC1, 0xC2, 0xC5, 0xC6, 0xC9, 0xCA, 0xCD, 0xCE))
MAX_SEGMENTS = 1000
#: Wall time, far beyond the processor time a frame may take: for a machine that is busy otherwise.
START_SECONDS, REPLY_SECONDS = 120.0, 60.0


class DecodingError(ValueError):
    """A frame cannot be decompressed; the message says why, without content of the file."""


def decode_frame(syntax: str, frame: bytes, rows: int, columns: int) -> np.ndarray:
    """Decompress one frame of one sample a pixel.

    Parameters
    ----------
    syntax : str
        Transfer syntax UID, one of `CODECS`.
    frame : bytes
    rows, columns : int
        As the header states.

    Returns
    -------
    ndarray, (rows, columns), uint16, read-only

    Raises
    ------
    DecodingError
        If the frame is damaged, of another size, or takes too much time or memory.
    """
    with _lock:
        global _process
        if _process is None or _process.owner != os.getpid():
            _process = _Process()
        try:
            words = _process.decode(CODECS[syntax], frame, rows, columns)
        except (OSError, EOFError) as error:
            _process.close()
            _process = None
            raise DecodingError("the decoder gave up: damaged, or too costly to decode") from error
    return np.frombuffer(words, "<u2").reshape(rows, columns)


def loses_detail(syntax: str, frame: bytes) -> bool:
    """Tell whether a frame was compressed with losses, by its own markers, whatever the header says.

    A lossless stream that was cut to a size is not told from a whole one.

    References
    ----------
    ISO/IEC 10918-1 B.2.2 (JPEG, start of frame), 14495-1 C.2.3 (JPEG-LS, NEAR), 15444-1 A.6.1 (JPEG 2000, transformation).
    """
    codec = CODECS[syntax]
    if codec == RLE:
        return False
    for marker, content in itertools.islice(_segments(frame), MAX_SEGMENTS):
        if codec == JPEG_2000 and marker == _CODING_STYLE:
            return content[9:10] == b"\0"
        if codec == JPEG and marker == _SCAN_START:
            return syntax == JPEG_LS and content[-3:-2] not in (b"\0", b"")
        if codec == JPEG and marker in _DCT_STARTS:
            return True
    return False


def _segments(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the markers and contents of a stream's header."""
    place = 2
    while stream[place : place + 1] == b"\xff" and place + 4 <= len(stream):
        length = max(2, int.from_bytes(stream[place + 2 : place + 4], "big"))
        yield stream[place + 1], stream[place + 4 : place + 2 + length]
        place += 2 + length


class _Process:
    def __init__(self) -> None:
        # -P: the script's own folder, whose modules have common names, must not be searched first.
        command = [sys.executable, "-P", str(Path(decoding_process.__file__))]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.owner = os.getpid()
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._child.stdout, selectors.EVENT_READ)
        self._read(len(READY), START_SECONDS)

    def decode(self, codec: int, frame: bytes, rows: int, columns: int) -> bytes:
        request = memoryview(REQUEST.pack(codec, rows, columns, len(frame)) + frame)
        while request:
            request = request[self._child.stdin.write(request) :]
        good, length = REPLY.unpack(self._read(REPLY.size, REPLY_SECONDS))
        content = self._read(length, REPLY_SECONDS)
        if not good:
            raise DecodingError(f"the decoder refused ({content.decode()})")
        if length != 2 * rows * columns:
            raise DecodingError("the frame decodes to another size")
        return content

    def close(self) -> None:
        self._selector.close()
        self._child.kill()
        self._child.wait()
        self._child.stdin.close()
        self._child.stdout.close()

    def _read(self, count: int, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        content = bytearray()
        while len(content) < count:
            if not self._selector.select(deadline - time.monotonic()):
                raise EOFError("no answer in time")
            piece = os.read(self._child.stdout.fileno(), count - len(content))
            if not piece:
                raise EOFError("the decoder ended")
            content += piece
        return bytes(content)


_lock = threading.Lock()
_process: _Process | None = None


@atexit.register
def _close() -> None:
    if _process is not None and _process.owner == os.getpid():
        _process.close()
