"""Five thousand damaged and hostile DICOM files: how each ends, the slowest, and the peak of memory.

Command: ``python -m benchmarks.fuzz_dicom``. Ends with 1 if a file was neither read nor refused with a reason, took over
two seconds, or memory passed 512 MiB. The tests read 500 of the same kind.
"""

import sys
import tempfile
from pathlib import Path

from tests.data.dicom_mutations import watch

COUNT, SEED = 5000, 20160
MOST_SECONDS, MOST_MIB = 2.0, 512


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = watch(Path(folder), COUNT, SEED)
    for name, value in report.items():
        print(f"{name:12} {value}")
    if report["escaped"] or report["slowest_s"] > MOST_SECONDS or report["peak_mib"] > MOST_MIB:
        sys.exit("missed: every file is read or refused, in under 2 s and 512 MiB")


if __name__ == "__main__":
    main()
