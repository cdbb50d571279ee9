"""Checkpoints from outside as one artifact with the captioner's names: what ``iqagpt weights import`` writes.

The geometry stays the file's; `iqagpt.captioner.foreign.loading` fits it to a captioner. A part whose layers compute
something else than ours is refused; what the captioner has no use for is dropped by name.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from iqagpt.artifacts import ArtifactWriter
from iqagpt.captioner.foreign.bert import import_bert
from iqagpt.captioner.foreign.loading import VOCABULARY
from iqagpt.captioner.foreign.medical_x_vl import import_medical_x_vl
from iqagpt.captioner.foreign.names import State
from iqagpt.captioner.foreign.reading import find_model_file, read_tensors, sha256_of
from iqagpt.captioner.foreign.report import Report
from iqagpt.captioner.foreign.vit import import_vit
from iqagpt.captioner.tokenizer import read_vocabulary
from iqagpt.errors import InputError
from iqagpt.weights import save_tensors

#: How each kind becomes tensors and geometry, given its file, tensors, config.json and a report to fill.
KINDS: dict[str, Callable[[Path, State, Mapping[str, Any], Report], tuple[State, dict[str, Any]]]] = {
    "medical-x-vl": import_medical_x_vl,
    "bert": import_bert,
    "vit": import_vit,
}


class Imported(NamedTuple):
    """A converted checkpoint.

    Attributes
    ----------
    tensors : dict of str to Tensor, float32
        Under the names of `iqagpt.captioner.captioner.Captioner`.
    config : dict
        Geometry of the parts in the file: ``encoder`` and ``image_size``, ``text`` and ``vocabulary_size``.
    report : Report
    source : dict
        ``kind``, ``file`` (name without folder) and ``sha256``.
    vocabulary : list of str or None
        Tokens by row of the word embeddings, where a ``vocab.txt`` lies beside a text stack.
    """

    tensors: State
    config: dict[str, Any]
    report: Report
    source: dict[str, str]
    vocabulary: list[str] | None


def import_checkpoint(path: Path, kind: str, vocabulary: Path | None = None) -> Imported:
    """Read a checkpoint from outside and give its tensors our names.

    Parameters
    ----------
    path : Path
        A file, or a folder as Hugging Face or timm write it.
    kind : {"medical-x-vl", "bert", "vit"}
    vocabulary : Path, optional
        The ``vocab.txt`` of its text stack; by default the one in the folder, if there is one.

    Raises
    ------
    InputError
        If a file is missing, needs code to be read, or is not a model of that kind.
    """
    file = find_model_file(path)
    report = Report()
    tensors, config = KINDS[kind](file, read_tensors(file), _read_config(file.with_name("config.json")), report)
    words = vocabulary or file.with_name(VOCABULARY)
    tokens = None
    if "text" in config and (vocabulary or words.is_file()):
        tokens = read_vocabulary(words)
        if len(tokens) > config["vocabulary_size"]:
            raise InputError(
                f"{words}: {len(tokens)} tokens, but {file} has {config['vocabulary_size']} word embeddings"
            )
    return Imported(tensors, config, report, {"kind": kind, "file": file.name, "sha256": sha256_of(file)}, tokens)


def save_import(writer: ArtifactWriter, parts: Sequence[Imported]) -> Report:
    """Write imported parts as one artifact: weights, geometry, sources, report, vocabulary.

    Returns
    -------
    Report
        Of all parts.

    Raises
    ------
    InputError
        If two parts hold the same half of the captioner.
    """
    for key in ("encoder", "text"):
        kinds = [part.source["kind"] for part in parts if key in part.config]
        if len(kinds) > 1:
            half = {"encoder": "image encoder", "text": "text stack"}[key]
            raise InputError(f"{' and '.join(kinds)}: both have the {half}; give one of them")
    save_tensors(writer, {name: tensor for part in parts for name, tensor in part.tensors.items()})
    writer.info["config"] = {key: value for part in parts for key, value in part.config.items()}
    writer.info["sources"] = [part.source for part in parts]
    for part in parts:
        if part.vocabulary is not None:
            text = "".join(f"{token}\n" for token in part.vocabulary)
            (writer.path / VOCABULARY).write_text(text, encoding="utf-8", newline="\n")
    report = Report([line for part in parts for line in part.report.lines])
    writer.table("report", report.table())
    return report


def _read_config(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not readable JSON ({error}); get the model's folder again") from error
    return content if isinstance(content, dict) else {}
