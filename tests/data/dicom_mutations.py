"""Damaged and hostile DICOM files without end, made from good ones, and a watch over what reading them does.

Run as a script it reads a number of them in a fresh process, whose memory is then that of reading alone:
``python -m tests.data.dicom_mutations --count 500 --folder SCRATCH`` prints a JSON report. ``benchmarks/fuzz_dicom.py``
and ``tests/data/test_fuzz_dicom.py`` are built on it.
"""

import argparse
import json
import re
import resource
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from iqagpt.data.dicom import UnreadableCT, is_dicom, read_ct, read_headers
from tests.data.dicom_files import write_enhanced, write_slice

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
PYDICOM = Path(pydicom.__file__).parent / "data/test_files"
LENGTHS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
TYPES = (b"SQ", b"UN", b"OB", b"OW", b"DS", b"US", b"UT", b"\0\0", b"zz", b"FD")
Mutation = Callable[[bytes, np.random.Generator], bytes]


def _peak_mib() -> float:
    """Return this process's own peak; `getrusage` starts at what the parent held when it forked."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seeds(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Good files: CT of every encoding, real CT included where it is at hand; and pydicom's own test files."""
    rng = np.random.default_rng(5)
    image = rng.integers(-1000, 1000, size=(64, 64), dtype=np.int32)
    paths = [write_slice(folder / "plain.dcm", hu=image), write_enhanced(folder / "enhanced.dcm", frames=3)]
    for name, syntax in (("j2k", JPEG2000Lossless), ("rle", RLELossless)):
        dataset = pydicom.dcmread(paths[0])
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(folder / f"{name}.dcm")
        paths.append(folder / f"{name}.dcm")
    paths += sorted(SHARED.glob("aapm_layout/L506/*/*.IMA"))[:2]
    others = [path for path in sorted(PYDICOM.glob("*.dcm")) if path.stat().st_size < 300_000]
    return [path.read_bytes() for path in paths], [path.read_bytes() for path in others]


def flip_bits(whole: bytes, rng: np.random.Generator) -> bytes:
    """Flip one to eight bits, most of them in the header."""
    damaged = bytearray(whole)
    for _ in range(rng.integers(1, 9)):
        place = int(rng.integers(min(len(whole), 3000 if rng.random() < 0.8 else len(whole))))
        damaged[place] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def truncate(whole: bytes, rng: np.random.Generator) -> bytes:
    """Cut at a multiple of 64 bytes."""
    return whole[: 64 * int(rng.integers(len(whole) // 64 + 1))]


def change_length(whole: bytes, rng: np.random.Generator) -> bytes:
    """Replace the length of an element by 0, 2^31, -1 and their like."""
    place = _element(whole, rng)
    length = LENGTHS[rng.integers(len(LENGTHS))]
    if rng.random() < 0.5:
        return whole[: place + 6] + struct.pack("<H", length & 0xFFFF) + whole[place + 8 :]
    return whole[: place + 8] + struct.pack("<I", length) + whole[place + 12 :]


def change_type(whole: bytes, rng: np.random.Generator) -> bytes:
    """Replace the value representation of an element."""
    place = _element(whole, rng)
    return whole[: place + 4] + TYPES[rng.integers(len(TYPES))] + whole[place + 6 :]


def nest(whole: bytes, rng: np.random.Generator) -> bytes:
    """Put sequences within sequences before an element."""
    place = _element(whole, rng)
    one = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return whole[:place] + one * int(rng.integers(1, 5001)) + whole[place:]


def break_fragments(whole: bytes, rng: np.random.Generator) -> bytes:
    """Damage the items of encapsulated pixel data, or the stream within."""
    start = whole.rfind(b"\xe0\x7f\x10\x00")
    if start < 0 or start + 20 >= len(whole):
        return flip_bits(whole, rng)
    damaged = bytearray(whole)
    for _ in range(rng.integers(1, 12)):
        damaged[int(rng.integers(start, min(start + 400, len(whole))))] = int(rng.integers(256))
    return bytes(damaged)


def change_size(whole: bytes, rng: np.random.Generator) -> bytes:
    """Make the image claim other rows, columns or bits."""
    damaged = whole
    for tag in (b"\x28\x00\x10\x00US", b"\x28\x00\x11\x00US", b"\x28\x00\x00\x01US"):
        place = damaged.find(tag)
        if place > 0 and rng.random() < 0.6:
            value = int(rng.choice([0, 1, 8, 32, 64, 512, 4096, 30000, 65535]))
            damaged = damaged[: place + 8] + struct.pack("<H", value) + damaged[place + 10 :]
    return damaged


def bomb(whole: bytes, rng: np.random.Generator) -> bytes:
    """Make a small file ask for much: inflation, values without end, elements without end, frames without end."""
    place = _element(whole, rng)
    kind = int(rng.integers(6))
    if kind == 0:
        head = whole[: _meta_end(whole)].replace(
            b"1.2.840.10008.1.2.1\0", DeflatedExplicitVRLittleEndian.encode() + b"\0"
        )
        packer = zlib.compressobj(9, wbits=-15)
        return head + packer.compress(bytes(2**24)) + packer.flush()
    if kind == 1:  # a character set of many names
        return whole[:place] + struct.pack("<HH2sHI", 8, 5, b"UT", 0, 2**20) + b"\\A" * 2**19 + whole[place:]
    if kind == 2:  # empty elements
        return whole[:place] + struct.pack("<HH2sH", 8, 0x70, b"LO", 0) * 200_000 + whole[place:]
    if kind == 3:  # numbers
        return whole[:place] + struct.pack("<HH2sH", 0x28, 0x30, b"DS", 0xFFFE) + b"1\\" * 32767 + whole[place:]
    if kind == 4:  # items
        items = b"\xfe\xff\x00\xe0\0\0\0\0" * 200_000
        return whole[:place] + struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, len(items)) + items + whole[place:]
    frames = struct.pack("<HH2sH", 0x28, 8, b"IS", 10) + b"2000000000"
    return whole[:place] + frames + whole[place:]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, truncate, change_length, change_type, nest, break_fragments, change_size, bomb,
)  # fmt: skip


def mutants(good: tuple[list[bytes], list[bytes]], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield damaged files with the name of what was done; CT and other files by turns, every mutation on each."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        mutate = MUTATIONS[index % len(MUTATIONS)]
        turn = index // len(MUTATIONS)
        files = good[turn % 2]
        whole = files[(turn // 2) % len(files)]
        yield mutate.__name__, mutate(whole, rng) if len(whole) > 200 else whole


def watch(folder: Path, count: int, seed: int) -> dict[str, object]:
    """Read many mutants and report outcomes, the slowest, and memory."""
    good = seeds(folder)
    file = folder / "mutant.dcm"
    for whole in good[0]:  # starts the decoder: its start is no part of reading
        file.write_bytes(whole)
        read_ct(file)
    outcomes: Counter[str] = Counter()
    slowest, culprit, escaped = 0.0, "", []
    for index, (name, content) in enumerate(mutants(good, count, seed)):
        file.write_bytes(content)
        outcome, wrong, taken = _read(file)
        if taken > slowest:  # again: another program may have had the processor meanwhile
            taken = min(taken, *(_read(file)[2] for _ in range(2)))
        outcomes.update(outcome)
        escaped += [f"{index} {name}: {what}" for what in wrong]
        if taken > slowest:
            slowest, culprit = taken, f"{index} {name}"
    return {
        "outcomes": dict(outcomes),
        "escaped": escaped,
        "slowest_s": slowest,
        "slowest": culprit,
        "peak_mib": _peak_mib(),
        "seeds": [len(files) for files in good],
    }


def _read(file: Path) -> tuple[list[str], list[str], float]:
    """Read a mutant: its outcome, if it is a right one, what was wrong otherwise, and the seconds."""
    outcome, wrong = [], []
    begin = time.perf_counter()
    try:
        is_dicom(file)
        for header in read_headers(file)[:2]:
            read_ct(file, header.frame)
        outcome.append("read")
    except UnreadableCT as error:
        outcome.append("refused")
        if not (error.reason and error.remedy and str(file) in str(error)):
            wrong.append("incomplete message")
    except BaseException as error:
        wrong.append(f"{type(error).__name__}: {error}")
    return outcome, wrong, time.perf_counter() - begin


def _element(whole: bytes, rng: np.random.Generator) -> int:
    """Return the place of an element of the header, by its typical look; anywhere where there is none."""
    places = [
        place
        for place in range(132, min(len(whole) - 16, 4000))
        if whole[place + 1] == 0 and whole[place + 4 : place + 6].isupper() and whole[place + 4 : place + 6].isalpha()
    ]
    return places[rng.integers(len(places))] if places else int(rng.integers(len(whole) - 16))


def _meta_end(whole: bytes) -> int:
    place = whole.find(b"\x08\x00", 200)
    return place if place > 0 else len(whole)


def main() -> None:
    """Print the report of one run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    print(json.dumps(watch(options.folder, options.count, options.seed)))


if __name__ == "__main__":
    main()
