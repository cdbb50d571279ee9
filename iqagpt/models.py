"""Opening any fitted model of the pipeline, captioner or baseline, as a `Scorer`."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from iqagpt.artifacts import open_artifact, read_json
from iqagpt.errors import ArtifactError
from iqagpt.scorers import Scorer
from iqagpt.sections import SECTIONS

BASELINES = tuple(name.removeprefix("baseline.") for name in SECTIONS if name.startswith("baseline."))


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted model.

    Attributes
    ----------
    name : str
        ``iqagpt`` for the captioner, else the baseline's name.
    weights_sha256 : str or None
        Of the weights, where it has any.
    scorer : Scorer
    """

    name: str
    weights_sha256: str | None
    scorer: Scorer


def open_model(path: str | Path) -> Model:
    """Open a model's folder.

    Parameters
    ----------
    path : path
        ``models/iqagpt`` or ``models/baseline/NAME`` of a run.

    Raises
    ------
    ArtifactError
        If it is no model's folder, is incomplete, or the model scores no images from outside.
    """
    folder = Path(path)
    kind = read_json(folder / "artifact.json").get("kind") if (folder / "artifact.json").is_file() else None
    if kind == "captioner":
        from iqagpt.captioner.scorer import load_scorer

        artifact = open_artifact(folder, "captioner")
        return Model("iqagpt", artifact.info.get("weights_sha256"), load_scorer(folder))
    if kind == "baseline":
        artifact = open_artifact(folder, "baseline")
        name = artifact.info.get("name")
        if name not in BASELINES:
            raise ArtifactError(
                f"{folder}: artifact.json does not name the baseline (an older version's); run dvc repro"
            )
        load = getattr(import_module(f"iqagpt.baselines.{name}"), "load_scorer", None)
        if load is None:
            raise ArtifactError(
                f"{folder}: '{name}' cannot score images from outside: it is told how images were made, or asks an endpoint"
            )
        return Model(name, artifact.info.get("weights_sha256"), load(artifact))
    found = f"found '{kind}'" if kind else "artifact.json is missing"
    raise ArtifactError(f"{folder}: no model ({found}); expected models/iqagpt or models/baseline/NAME")
