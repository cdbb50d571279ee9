"""All problems of a params file at once, before anything runs: what ``iqagpt check`` prints."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iqagpt.config import load_section, read_params, suggest
from iqagpt.errors import ParamsError
from iqagpt.sections import SECTIONS, STUDY_SECTIONS

_FILES = ("read.table", "caption.vocabulary", "denoisers.map_nn.weights", "denoisers.red_cnn.weights", "report.space")
_FOLDER = "ingest.root"
#: A file or a package, and a folder; each may be the file that says "none".
_EITHER = (
    "denoise.code", "denoise.folder", "pretrain.weights", "baseline.minigpt4.model", "baseline.minigpt4.language_model",
    "baseline.minigpt4.projection", "study.root", "study.description",
)  # fmt: skip
#: Begins a name to download, which is no path.
_HUB = "hub:"
#: Written by the stage ``phantom``, so that it need not exist beforehand.
_PHANTOM = Path("data/phantom")


def find_problems(params_file: str | Path) -> list[str]:
    """Check every section of a params file.

    Parameters
    ----------
    params_file : path
        Paths within it are taken from the working directory, as the stages do.

    Returns
    -------
    list of str
        One entry per problem: unknown, missing or wrong sections and keys, baselines that do not exist, named files
        that are absent. Empty for a valid file.
    """
    try:
        params = read_params(params_file)
    except ParamsError as error:
        return [str(error)]
    sections = STUDY_SECTIONS if "study" in params else SECTIONS
    problems = [*_unknown_sections(params, sections, str(params_file))]
    names = _value(params, "evaluate.baselines")
    enabled = names if isinstance(names, list) else []
    for section, target in sections.items():
        module, name = target.split(":")
        try:
            loaded = load_section(params_file, section, getattr(importlib.import_module(module), name))
            if section.removeprefix("baseline.") in enabled and hasattr(loaded, "check_enabled"):
                loaded.check_enabled()
        except ParamsError as error:
            problems.append(str(error))
    problems += _unknown_baselines(params, str(params_file))
    problems += _absent_files(params, str(params_file))
    return list(dict.fromkeys(problems))


def _unknown_sections(params: dict[str, Any], sections: dict[str, str], where: str) -> Iterator[str]:
    groups = {section.split(".")[0] for section in sections if "." in section}
    top = {section.split(".")[0] for section in sections}
    for name, content in params.items():
        if name not in top:
            yield f"{where}: unknown section '{name}'{suggest(name, sorted(top))}; known: {', '.join(sorted(top))}"
        elif name in groups and isinstance(content, dict):
            known = sorted(section.split(".", 1)[1] for section in sections if section.startswith(f"{name}."))
            for part in content:
                if part not in known:
                    yield f"{where}: {name}.{part}: unknown{suggest(part, known)}; known: {', '.join(known)}"


def _unknown_baselines(params: dict[str, Any], where: str) -> Iterator[str]:
    known = [section.removeprefix("baseline.") for section in SECTIONS if section.startswith("baseline.")]
    names = _value(params, "evaluate.baselines")
    for name in names if isinstance(names, list) else []:
        if name not in known:
            yield f"{where}: evaluate.baselines: unknown '{name}'{suggest(name, known)}; known: {', '.join(known)}"


def _absent_files(params: dict[str, Any], where: str) -> Iterator[str]:
    for key in _FILES:
        value = _value(params, key)
        if isinstance(value, str) and not Path(value).is_file():
            yield f"{where}: {key}: no such file '{value}'; give a file, or presets/none.txt for none"
    for key in _EITHER:
        value = _value(params, key)
        if isinstance(value, str) and not value.startswith(_HUB) and not Path(value).exists():
            yield f"{where}: {key}: no such file or folder '{value}'; presets/none.txt says none"
    root = _value(params, _FOLDER)
    if isinstance(root, str) and Path(root) != _PHANTOM and not _is_source(Path(root)):
        yield f"{where}: {_FOLDER}: no such folder or zip archive '{root}'; give one with CT series, or {_PHANTOM}"


def _is_source(root: Path) -> bool:
    return root.is_dir() or (root.is_file() and root.suffix.lower() == ".zip")


def _value(params: dict[str, Any], key: str) -> Any:
    node: Any = params
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node
