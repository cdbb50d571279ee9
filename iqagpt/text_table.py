"""CSV tables from outside: every cell text, every row with its line, as a spreadsheet shows them."""

import io
from pathlib import Path

import pandas as pd

from iqagpt.errors import InputError

#: What people write for "nothing here to score".
ABSENT = ("n/a", "na", "no lesion")
#: Problems shown in one message; more are counted.
_SHOWN = 5


def load_text_table(path: str | Path, purpose: str) -> pd.DataFrame:
    """Read a CSV file, separated by commas or semicolons.

    Parameters
    ----------
    path : path
        UTF-8, with or without byte order mark.
    purpose : str
        What must name a CSV file, such as ``read.table``; for the message.

    Returns
    -------
    DataFrame
        Cells and column names stripped text, empty for nothing; the index holds line numbers, 2 for the first row.
        Empty lines are left out.

    Raises
    ------
    InputError
        If the file cannot be read, is no table, or names a column twice.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
        head = text.split("\n", 1)[0]
        separator = ";" if head.count(";") > head.count(",") else ","
        rows = pd.read_csv(
            io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, skip_blank_lines=False, header=None
        )
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {purpose} must name a CSV file") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file}: not a CSV table ({' '.join(str(error).split())}); save it as CSV in UTF-8"
        ) from error
    rows = rows.fillna("").apply(lambda column: column.str.strip())
    rows.index += 1
    names = rows.iloc[0].tolist()
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{file}: column {twice} is there twice; rename or remove one")
    rows = rows.iloc[1:].set_axis(names, axis=1)
    return rows[(rows != "").any(axis=1)]


def list_problems(problems: list[str]) -> str:
    """Write problems one a line, the first few only, and count the rest."""
    more = f"\n  ... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "\n  ".join(["", *problems[:_SHOWN]]) + more
