"""The process that decompresses pixel data: a script, run by `iqagpt.data.decoder`, never called otherwise.

Codecs are C libraries that meet whatever bytes a file holds. Here a crash, an endless loop or a request for all memory
ends this process and no other: memory is limited, and so is the processor time of each frame. Frames come on standard
input and go to standard output, each with a fixed head.
"""

import contextlib
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

#: Codec, rows, columns, length of the compressed frame.
REQUEST = struct.Struct("<BIII")
#: 1 and the length of the words that follow, or 0 and the length of the reason.
REPLY = struct.Struct("<BI")
JPEG, JPEG_2000, RLE = range(3)
READY = b"R"

#: Memory beyond what the process holds at the start.
EXTRA_BYTES = 256 * 2**20
#: Processor time for a frame: at least this, more for more than 512 x 512 pixels, which take 0.1 s.
FRAME_SECONDS = 1.2


def decode(codec: int, frame: bytes, rows: int, columns: int) -> np.ndarray:
    """Decompress one frame.

    Parameters
    ----------
    codec : int
        `JPEG` (lossless), `JPEG_2000` or `RLE`.
    frame : bytes
        The compressed frame.
    rows, columns : int
        Size that the header states; the frame must have it too, which is looked at before it is decoded.

    Returns
    -------
    ndarray, (rows, columns), little-endian uint16
        Words as they would stand in an uncompressed file.
    """
    if codec == RLE:
        from rle.rle import decode_frame as decode_rle

        return np.frombuffer(decode_rle(frame, rows * columns, 16, "<"), "<u2").reshape(rows, columns)
    # Imported here, since the reader imports this module too and is never to load a codec.
    if codec == JPEG:
        import libjpeg as library
    else:
        import openjpeg as library
    facts = library.get_parameters(frame)
    samples = facts.get("nr_components", facts.get("samples_per_pixel"))
    if (facts["rows"], facts["columns"], samples) != (rows, columns, 1):
        raise ValueError(f"the compressed frame is {facts['rows']} x {facts['columns']} x {samples}")
    image = library.decode(frame)
    if image.dtype.itemsize > 2:
        raise ValueError("the compressed frame has more than 16 bits")
    return image.astype(np.int32).astype("<u2").reshape(rows, columns)


def main() -> None:
    """Answer requests until standard input ends."""
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # codecs print
    _load_codecs()
    _limit_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the reader decides
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    target.write(READY)
    target.flush()
    while head := source.read(REQUEST.size):
        _answer(target, head, source.read)


def _answer(target: BinaryIO, head: bytes, read: Callable[[int], bytes]) -> None:
    codec, rows, columns, length = REQUEST.unpack(head)
    frame = read(length)
    signal.setitimer(signal.ITIMER_PROF, FRAME_SECONDS * max(1.0, rows * columns / 2**18))
    try:
        content, good = decode(codec, frame, rows, columns).tobytes(), 1
    except Exception as error:  # whatever a codec raises becomes the answer
        content, good = f"{type(error).__name__}".encode(), 0
    signal.setitimer(signal.ITIMER_PROF, 0)
    target.write(REPLY.pack(good, len(content)))
    target.write(content)
    target.flush()


def _load_codecs() -> None:
    import libjpeg  # noqa: F401
    import openjpeg  # noqa: F401
    import rle.rle  # noqa: F401


def _limit_memory() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # where the system has no such limit
        with open("/proc/self/statm", encoding="ascii") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + EXTRA_BYTES, held + EXTRA_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
