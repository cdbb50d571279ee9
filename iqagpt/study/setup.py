"""Name a reader study in ``study/params.yaml``, so that ``dvc repro study/dvc.yaml`` runs it.

What the study's files say (its sets) and what a captioner to start from says (geometry, image size, window) is written there; all
other values and comments stay as they are.
"""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

import iqagpt
from iqagpt.artifacts import Artifact, open_artifact
from iqagpt.config import NO_FILE
from iqagpt.errors import InputError
from iqagpt.study.description import FILE, describe_study
from iqagpt.study.folds import set_folds
from iqagpt.study.study import Study, load_study, safe_name

PARAMS = Path("study/params.yaml")
#: Of the captioner to start from: none; otherwise a folder.
NOTHING = "none"


def shipped_captioner() -> Path | None:
    """Return the folder of the captioner that comes with the package, or None where it is not there."""
    folder = Path(iqagpt.__file__).parent / "shipped/captioner"
    return _from_here(folder) if (folder / "artifact.json").is_file() else None


def set_up_study(
    source: Path,
    params: Path = PARAMS,
    *,
    description: Path | None = None,
    start: str | None = None,
    name: str | None = None,
    folds: int | None = None,
) -> str:
    """Write a study into a parameter file of ``study/dvc.yaml``.

    Parameters
    ----------
    source : path
        Folder with images and scores.
    params : path
        The file to change.
    description : path, optional
        Its ``study.yaml``, where that is not in the folder.
    start : str, optional
        Folder of a captioner to start from, or ``none``; by default the one that comes with the package, if it does.
    name : str, optional
        By default the folder's.
    folds : int, optional
        By default as many as there are sets.

    Returns
    -------
    str
        What was found and written, for the user to see.

    Raises
    ------
    UserError
        If the study, the captioner or the file cannot be used.
    """
    if not source.is_dir():
        raise InputError(
            f"{source}: no such folder; expected one with images and scores, its {FILE} there or given apart"
        )
    given = {"folder": str(source.resolve())} if description else None
    study = load_study(describe_study(description or source, given))
    sets = study.images["set"].nunique()
    number = sets if folds is None else folds
    set_folds(study.images["set"], number)
    name = safe_name(source.resolve().name if name is None else name)
    text, content, parser = _read(params)
    content["study"].update(
        names=_flow([name]), root=str(source), description=str(description or NO_FILE), folds=_flow(range(number))
    )
    captioner = _find_start(start)
    _start_from(content, captioner)
    _write(params, content, parser, before=text)
    return "\n".join(_report(study, name, number, captioner))


def _find_start(start: str | None) -> Artifact | None:
    folder = shipped_captioner() if start is None else None if start == NOTHING else Path(start)
    return None if folder is None else open_artifact(folder, "captioner")


def _start_from(content: dict[str, Any], captioner: Artifact | None) -> None:
    """Let section ``pretrain`` start from a captioner, whose geometry, image size and window the study then has."""
    pretrain = content["pretrain"]
    if captioner is None:
        pretrain.update(source="none", weights=str(NO_FILE))
        return
    config = captioner.info["config"]
    pretrain.update(source="checkpoint", weights=str(captioner.path))
    for part in ("encoder", "text"):
        for key, value in config[part].items():
            pretrain[part][key] = value
    content["study"]["matrix"] = config["image_size"]
    for place, limit in enumerate(captioner.info["window_hu"]):
        content["study"]["window_hu"][place] = float(limit)


def _report(study: Study, name: str, folds: int, captioner: Artifact | None) -> list[str]:
    sets = study.images["set"].nunique()
    variants = study.images["variant"].nunique()
    return [
        f"study {name}: {len(study.images)} images in {variants} quality(ies), {sets} sets, {len(study.readers)} reader(s)",
        *(f"  {mapping}" for mapping in study.description.mappings),
        *(f"  note: {note}" for note in study.notes),
        f"  {folds} folds" + (": leave one set out" if folds == sets else ""),
        f"  start: {captioner.path if captioner else 'random weights'}",
        f"run: dvc repro study/dvc.yaml   (results: study/{name}/results/tables.md)",
    ]


def _read(params: Path) -> tuple[str, dict[str, Any], YAML]:
    parser = YAML()
    parser.preserve_quotes = True
    parser.width = 10_000
    try:
        text = params.read_text(encoding="utf-8")
        content = parser.load(text)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{params}: cannot be read: {error}; run from the repository's root or give --params"
        ) from error
    if not isinstance(content, dict) or not {"study", "pretrain"} <= set(content):
        raise InputError(f"{params}: expected sections study and pretrain, as in the repository's {PARAMS}")
    return text, content, parser


def _write(params: Path, content: dict[str, Any], parser: YAML, *, before: str) -> None:
    stream = io.StringIO()
    parser.dump(content, stream)
    if stream.getvalue() != before:
        params.write_text(stream.getvalue(), encoding="utf-8", newline="\n")


def _flow(values: Any) -> CommentedSeq:
    sequence = CommentedSeq(values)
    sequence.fa.set_flow_style()
    return sequence


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
