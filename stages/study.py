"""Import a reader study: its images as variants, its scores as 1 to 4, a split for every fold.  Reads ``study.root``.

Command: ``python -m stages.study --variants study/NAME/variants --scores study/NAME/scores --folds study/NAME/folds
--metrics study/NAME/metrics/study.json --params study/params.yaml``
"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact, write_metrics
from iqagpt.config import load_section
from iqagpt.stage import stage_app
from iqagpt.study.importing import StudyParams, open_study, write_folds, write_scores, write_variants

log = logging.getLogger(__name__)


def main(
    variants: Annotated[Path, typer.Option(help="Folder of images to write.")],
    scores: Annotated[Path, typer.Option(help="Folder of scores to write.")],
    folds: Annotated[Path, typer.Option(help="Folder with a split per fold to write.")],
    metrics: Annotated[Path, typer.Option(help="Metrics JSON to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("study/params.yaml"),
) -> None:
    """Import a reader study as the artifacts that captions, training and evaluation read."""
    section = load_section(params, "study", StudyParams)
    study = open_study(section)
    for note in study.notes:
        log.info("%s", note)
    with create_artifact(variants, "variants") as writer:
        images = write_variants(study, section, writer)
    with create_artifact(scores, "scores") as writer:
        result = write_scores(study, images, section, writer)
    write_folds(study, section, folds)
    write_metrics(metrics, result)


app = stage_app(main)

if __name__ == "__main__":
    app()
