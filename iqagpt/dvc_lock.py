"""A ``dvc.lock`` that a signal has cut off: found, kept, and mended with the entries that are whole.

DVC writes the file in place after every stage and has no setting that would change this. A signal at that moment leaves the
beginning of the file, which the next ``dvc repro`` refuses. Cutting back to the last whole entry is enough: DVC restores a
stage without an entry from its run cache, or runs it again. What is no beginning of a lock file is never changed.
"""

import codecs
import os
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from iqagpt.errors import ArtifactError

#: Of the pipeline and of a reader study, below the repository's root.
LOCK_FILES = (Path("dvc.lock"), Path("study/dvc.lock"))
#: Added to the name of a damaged file to name the copy that is kept.
SUFFIX = ".damaged"
_EMPTY = "schema: '2.0'\n"
_CONFLICT = re.compile(r"^(?:<{7}|={7}|>{7})(?: .*)?$", re.MULTILINE)
_ENTRY = re.compile(r"^  (?=[^\s#-])", re.MULTILINE)
#: Spaces before a stage's name; what belongs to the stage stands further in.
_INDENT = 2
#: Leaves every value as text: whether it could be a date or a number is of no interest here.
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def mend_lock(file: Path) -> str | None:
    """Cut a damaged lock file back to its whole entries; what was there is kept as ``dvc.lock.damaged`` beside it.

    Parameters
    ----------
    file : Path
        A ``dvc.lock``, which need not exist. The repository's root is the working directory.

    Returns
    -------
    str or None
        What was done; None where nothing was wrong.

    Raises
    ------
    ArtifactError
        If the file is unusable in another way: merge conflicts, or no lock file at all. It is left as it is.
    """
    if not file.is_file():
        return None
    content = file.read_bytes()
    if whole_part(content, file).encode() == content:
        return None
    return _mend(file)


def whole_part(content: bytes, file: Path) -> str:
    """Return the beginning of a lock file that ends with its last whole entry, or with the header alone.

    A file that was cut exactly between two entries looks like a shorter one and is returned as it is.

    Raises
    ------
    ArtifactError
        As `mend_lock`.
    """
    text = _decode(content, file)
    if found := _CONFLICT.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ArtifactError(
            f"{file}: holds merge conflicts (line {line}); take one side, 'git checkout --ours {file}' or '--theirs', "
            "then run dvc repro"
        )
    end = text.rfind("\n") + 1
    lines, rest = text[:end], text[end:]
    starts = [found.start() for found in _ENTRY.finditer(lines, lines.find("\nstages:\n") + 1)]
    continues = len(rest) - len(rest.lstrip(" ")) > _INDENT
    if starts and (continues or not _is_whole(lines[starts[-1] :])):
        lines = lines[: starts.pop()]
    if not starts:
        if text.startswith(_EMPTY[: len(text)]):
            return _EMPTY
        raise _unusable(file, "does not begin as a lock file")
    _check(lines, file)
    return lines


def _mend(file: Path) -> str | None:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    copy, partial = file.with_name(f"{file.name}{SUFFIX}"), file.with_name(f".{file.name}.partial")
    try:
        # DVC holds this lock while it writes: a file that is only half written yet is not taken for a damaged one.
        with Repo() as repo, repo.lock:
            content = file.read_bytes()
            kept = whole_part(content, file)
            if kept.encode() == content:
                return None
            shutil.copyfile(file, copy)
            partial.write_text(kept, encoding="utf-8", newline="\n")
            os.replace(partial, file)
    except DvcException as error:
        raise ArtifactError(f"{file}: is cut off, and cannot be mended now: {error}") from error
    count = len(_load(kept).get("stages", {}))
    return (
        f"{file}: was cut off (a signal met DVC while it wrote the file); mended: {count} whole stage entries kept, the damaged "
        f"file is now {copy}. Run dvc repro: stages without an entry are restored from DVC's run cache, or run again"
    )


def _decode(content: bytes, file: Path) -> str:
    try:
        # An incremental decoder lets the last character be cut off; a crash of the system may leave zeros behind it.
        return codecs.getincrementaldecoder("utf-8")().decode(content.rstrip(b"\0"))
    except UnicodeDecodeError as error:
        raise _unusable(file, "is no UTF-8 text") from error


def _is_whole(entry: str) -> bool:
    """Tell whether an entry that ends with a line has all that DVC writes; every stage has outputs, which come last."""
    try:
        (stage,) = _load(entry).values()
        files = [*(stage.get("deps") or []), *stage["outs"]]
        return bool(stage["cmd"] and stage["outs"]) and all(map(_is_hashed, files))
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        return False


def _is_hashed(file: dict[str, str]) -> bool:
    folder = file["md5"].endswith(".dir")
    return bool(file["path"] and file["size"]) and (not folder or bool(file["nfiles"]))


def _check(lines: str, file: Path) -> None:
    try:
        content = _load(lines)
        usable = content["schema"] == "2.0" and all(stage["cmd"] for stage in content["stages"].values())
    except yaml.MarkedYAMLError as error:
        raise _unusable(file, f"is not valid YAML (line {error.problem_mark.line + 1}: {error.problem})") from error
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise _unusable(file, "is not what DVC writes") from error
    if not usable:
        raise _unusable(file, "is not what DVC writes")


def _load(text: str) -> Any:
    return yaml.load(text, _Loader)


def _unusable(file: Path, reason: str) -> ArtifactError:
    return ArtifactError(
        f"{file}: {reason}, and it is not merely cut off, so it was left as it is; 'git checkout {file}' brings the committed "
        "one back (without git: delete it), then run dvc repro"
    )
