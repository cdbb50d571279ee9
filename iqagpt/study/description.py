"""What a study's files and columns mean: ``study.yaml``, the command line, or a format that is known (LDCTIQAC 2023).

A description says where the scores and images are, which columns name image, reader and set, the window of pictures, and
how the study's scales map to our criteria, with the direction of each.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from iqagpt.config import suggest
from iqagpt.criteria import KEYS
from iqagpt.errors import InputError
from iqagpt.study.expressions import Expression

FILE = "study.yaml"
#: Of the challenge page: width 350 HU, level 40 HU.
LDCTIQAC_WINDOW_HU = (-135.0, 215.0)
_LDCTIQAC_NOTE = (
    "LDCTIQAC 2023 format: score 0 (bad) to 4 (excellent), the mean of five radiologists, read as diagnostic confidence; window "
    "[-135, 215] HU as on the challenge page (W350 L40; other texts say W400 L50: --window -210 290)"
)
_MAPPINGS = ("higher_is_worse", "higher_is_better")


@dataclass(frozen=True, slots=True)
class CriterionMap:
    """One of our criteria as an expression over a study's columns.

    Attributes
    ----------
    criterion : str
        One of `iqagpt.criteria.KEYS`.
    expression : Expression
    higher_is_worse : bool
        Direction of the expression's values. Ours: higher is worse.
    """

    criterion: str
    expression: Expression
    higher_is_worse: bool

    def __str__(self) -> str:
        return f"{self.criterion} = {self.expression.text} (higher is {'worse' if self.higher_is_worse else 'better'})"


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns of the table of scores that are not scores.

    Attributes
    ----------
    image : str
        File of the image, from the folder of images; required.
    reader : str
        Without it, all rows are one reader's (or already a consensus).
    set : str
        Images that belong together: one patient, or one slice in several qualities. Without it, every image stands alone.
    slice : str
        Index of the slice in files that hold several, from 0 at the feet.
    variant : str
        How the image was made (the denoiser, the dose). Without it, all images count as made in one way.
    """

    image: str = "image"
    reader: str = "reader"
    set: str = "set"
    slice: str = "slice"
    variant: str = "variant"


@dataclass(frozen=True, slots=True)
class Description:
    """Where a study's parts are and what they mean; see the fields of ``study.yaml`` in docs/method.md.

    Attributes
    ----------
    folder : Path
        What all other paths count from.
    scores : Path
        Table: CSV, TSV, or JSON ``{image: score}``.
    images : Path
        Folder that image names count from.
    window_hu : (lower, upper) or None
        HU of black and white of PNG and TIFF.
    columns : Columns
    mappings : tuple of CriterionMap
    notes : tuple of str
        For the user to see.
    """

    folder: Path
    scores: Path
    images: Path
    window_hu: tuple[float, float] | None = None
    columns: Columns = field(default_factory=Columns)
    mappings: tuple[CriterionMap, ...] = ()
    notes: tuple[str, ...] = ()


def describe_study(source: str | Path, given: Mapping[str, Any] | None = None) -> Description:
    """Find out what a study's files mean.

    Parameters
    ----------
    source : path
        A folder, with or without ``study.yaml``, or such a file anywhere.
    given : mapping, optional
        Keys as in ``study.yaml`` that take the place of those in it, from a command line. A mapping given here replaces all of
        the file's.

    Raises
    ------
    InputError
        If there is no such study, a key is unknown or wrong, or no mapping is given.
    """
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path}: no such study; expected a folder with images and scores, or a {FILE}")
    file = path / FILE if path.is_dir() else path
    where, content, notes = str(path), {}, ()
    if file.is_file():
        where, content = str(file), _read(file)
    elif _is_ldctiqac(path):
        content, notes = _ldctiqac(), (_LDCTIQAC_NOTE,)
    given = {key: value for key, value in (given or {}).items() if value}
    if any(key in given for key in _MAPPINGS):
        content = {key: value for key, value in content.items() if key not in _MAPPINGS}
    given["columns"] = {**(content.get("columns") or {}), **given.get("columns", {})}
    return _build({**content, **given}, file.parent, where, notes)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected keys such as scores and {_MAPPINGS[0]}, got {type(content).__name__}")
    known = ["folder", "scores", "images", "window_hu", "columns", *_MAPPINGS]
    for key in content:
        if key not in known:
            raise InputError(f"{file}: unknown key '{key}'{suggest(key, known)}; known: {', '.join(known)}")
    return content


def _is_ldctiqac(folder: Path) -> bool:
    return (folder / "train.json").is_file() and any((folder / "image").glob("*.tif"))


def _ldctiqac() -> dict[str, Any]:
    return {
        "scores": "train.json",
        "images": "image",
        "window_hu": list(LDCTIQAC_WINDOW_HU),
        "higher_is_better": {"diagnostic_confidence": "score"},
    }


def _build(content: dict[str, Any], folder: Path, where: str, notes: tuple[str, ...]) -> Description:
    root = folder / str(content.get("folder", "."))
    mappings = tuple(mapping for key in _MAPPINGS for mapping in _mappings(content.get(key), key, where))
    names = [mapping.criterion for mapping in mappings]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"{where}: {twice} is mapped twice; expected one expression and one direction")
    if not mappings:
        raise InputError(
            f"{where}: no mapping from its columns to our criteria; give --higher-is-worse CRITERION=EXPRESSION or "
            f"--higher-is-better, or those keys in {FILE} (criteria: {', '.join(KEYS)})"
        )
    return Description(
        folder=root,
        scores=root / str(content.get("scores", "scores.csv")),
        images=root / str(content.get("images", ".")),
        window_hu=_window(content.get("window_hu"), where),
        columns=_columns(content.get("columns"), where),
        mappings=mappings,
        notes=notes,
    )


def _mappings(content: Any, key: str, where: str) -> list[CriterionMap]:
    if content is None:
        return []
    if not isinstance(content, dict):
        raise InputError(f"{where}: {key}: expected criteria with expressions, got {content!r}")
    found = []
    for criterion, text in content.items():
        if criterion not in KEYS:
            raise InputError(
                f"{where}: {key}: unknown criterion '{criterion}'{suggest(criterion, list(KEYS))}; known: {', '.join(KEYS)}"
            )
        try:
            found.append(CriterionMap(criterion, Expression(str(text)), key == "higher_is_worse"))
        except InputError as error:
            raise InputError(f"{where}: {key}: {criterion}: {error}") from error
    return found


def _window(value: Any, where: str) -> tuple[float, float] | None:
    if value is None:
        return None
    try:
        lower, upper = (float(number) for number in value)
    except (TypeError, ValueError):
        lower = upper = math.nan
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise InputError(f"{where}: window_hu: expected the HU of black and of white, as [-160, 240], got {value!r}")
    return lower, upper


def _columns(content: Any, where: str) -> Columns:
    known = [item.name for item in dataclasses.fields(Columns)]
    if not isinstance(content, dict) or any(not isinstance(name, str) for name in content.values()):
        raise InputError(f"{where}: columns: expected names for {', '.join(known)}, got {content!r}")
    for key in content:
        if key not in known:
            raise InputError(f"{where}: columns: unknown '{key}'{suggest(key, known)}; known: {', '.join(known)}")
    return Columns(**content)
