"""Put the captioner of a finished run into the package, with its model card.

Command: ``python -m iqagpt.shipped.build``, in the repository, after ``dvc repro`` with ``presets/shipped.yaml`` (``make shipped``
does both).
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml

from iqagpt.artifacts import open_artifact, read_json
from iqagpt.criteria import CRITERIA
from iqagpt.errors import ArtifactError
from iqagpt.shipped import CAPTIONER
from iqagpt.stage import stage_app

#: What a captioner needs to be opened; curves and checkpoints stay in the run.
FILES = ("artifact.json", "tokenizer.json", "weights.safetensors")
#: A package should stay small.
MAX_BYTES = 16_000_000
CARD = "MODEL_CARD.md"


def ship(model: Path, params: Path, metrics: Path, target: Path) -> None:
    """Copy a captioner and write its model card.

    Parameters
    ----------
    model : Path
        ``models/iqagpt`` of a run.
    params : Path
        The run's parameter file.
    metrics : Path
        Its ``metrics`` folder.
    target : Path
        Folder to write; files of an earlier captioner are replaced.

    Raises
    ------
    ArtifactError
        If the run is not finished, or the weights are larger than `MAX_BYTES`.
    """
    artifact = open_artifact(model, "captioner")
    missing = [str(path) for path in (*(model / name for name in FILES), *_metric_files(metrics)) if not path.is_file()]
    if missing:
        raise ArtifactError(f"{', '.join(missing)}: missing; run dvc repro to its end first")
    size = (model / "weights.safetensors").stat().st_size
    if size > MAX_BYTES:
        raise ArtifactError(
            f"{model}: weights of {size} bytes; expected at most {MAX_BYTES}: choose a smaller geometry"
        )
    card = model_card(artifact.info, yaml.safe_load(params.read_text()), *map(read_json, _metric_files(metrics)), size)
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(model / name, target / name)
    (target / CARD).write_text(card)


def _metric_files(metrics: Path) -> tuple[Path, ...]:
    return tuple(metrics / f"{name}.json" for name in ("evaluate", "read", "train"))


def model_card(
    info: dict[str, Any],
    params: dict[str, Any],
    evaluated: dict[str, Any],
    read: dict[str, Any],
    trained: dict[str, Any],
    size: int,
) -> str:
    """Write the model card: what it is, what it learned from, how it does, its limits; Markdown."""
    return "\n".join(
        [*_about(info, size), "", *_training(params, trained), "", *_figures(evaluated, read), "", *_limits()]
    )


def _about(info: dict[str, Any], size: int) -> Iterator[str]:
    (lower, upper), side = info["window_hu"], info["config"]["image_size"]
    yield "# Model card: the captioner that ships with IQAGPT"
    yield ""
    yield "**Research software, not for diagnosis.** Scores run from 1 (best) to 4 (worst)."
    yield ""
    yield f"* Input: axial abdominal CT slices of {side} pixels a side in HU, window [{lower:g}, {upper:g}] HU."
    yield "* Output: a caption with four scores, and a probability for each score."
    yield f"* Weights: safetensors, {size / 1e6:.1f} MB, sha256 `{info['weights_sha256']}`."
    yield f"* Geometry: `{json.dumps(info['config'], sort_keys=True)}`"


def _training(params: dict[str, Any], trained: dict[str, Any]) -> Iterator[str]:
    phantom, split, recipe = params["phantom"], params["split"], params["train"]
    extra = params["denoise"]["extra"]
    yield "## What it learned from"
    yield ""
    yield "Built-in data only: phantoms and a **simulated reader**. It was never fitted to a real image or a real radiologist's"
    yield "score; kinds of image qualities, photons and the reader's weights were chosen with sets 1-3 of a real study in view."
    yield ""
    yield f"* {phantom['patients']} phantom patients, {params['ingest']['pairs']} slices (phantom.seed {phantom['seed']});"
    yield f"  {split['test_patients']} patients test, {split['val_patients']} choose the epoch."
    yield f"* {8 + len(extra)} qualities of every slice: the paper's eight and {', '.join(extra) or 'no others'}."
    yield f"* {recipe['epochs']} epochs, batch {recipe['batch_size']}, learning rate {recipe['lr']:g}, seed {recipe['seed']};"
    yield f"  the weights of epoch {trained['epoch']} are kept."
    yield "* All parameters: `presets/shipped.yaml`. `make shipped` rebuilds it."


def _figures(evaluated: dict[str, Any], read: dict[str, Any]) -> Iterator[str]:
    own, source = evaluated["iqagpt"], evaluated["score_source"]
    ceiling = read[source]["ceiling"]["accuracy"]
    yield "## How it does on its own test split"
    yield ""
    yield f"{evaluated['n_images']} images of {evaluated['n_patients']} phantom patients; scores: {source}."
    yield ""
    yield "| | accuracy | ceiling | PLCC, expected scores | SROCC, expected scores |"
    yield "|---|---|---|---|---|"
    for name, key in (*((c.title, c.key) for c in CRITERIA), ("mean", "mean")):
        correlations = " | ".join(_number(own[kind].get(key)) for kind in ("plcc_expected", "srocc_expected"))
        yield f"| {name} | {own['accuracy'][key]:.3f} | {ceiling[key]:.3f} | {correlations} |"
    yield ""
    others = [name for name, found in evaluated.items() if name != "iqagpt" and isinstance(found, dict)]
    shown = ", ".join(f"`{name}` {evaluated[name]['accuracy']['mean']:.3f}" for name in others)
    yield f"Mean accuracy of others: {shown}."
    yield "The ceiling is the noise-free reader scored against the noisy one. How it does on real radiologists' scores: README."


def _limits() -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield "* Axial abdominal CT with soft-tissue kernels and slices of about 3 mm. `iqagpt assess` warns of what it has not seen."
    yield '* It hardly sees lesions: take lesion conspicuity for what it is, mostly "no lesion".'
    yield "* Its scores follow a simulated reader whose thresholds were set on phantoms."


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def main(
    model: Path = Path("models/iqagpt"),
    params: Path = Path("params.yaml"),
    metrics: Path = Path("metrics"),
    target: Path = CAPTIONER,
) -> None:
    """Put the captioner of a finished run into the package, with its model card."""
    ship(model, params, metrics, target)
    typer.echo(f"{target}: captioner and {CARD} written")


app = stage_app(main)

if __name__ == "__main__":
    app()
