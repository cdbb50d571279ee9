"""Score every image.  Reads ``data/variants`` and a table of readers if given, writes ``data/scores``.

Command: ``python -m stages.read --variants data/variants --output data/scores --metrics metrics/read.json``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact, open_artifact, write_metrics
from iqagpt.config import given_file, load_section
from iqagpt.readers.agreement import ceiling
from iqagpt.readers.consensus import add_consensus, consensus_scores
from iqagpt.readers.output import describe_readers, write_readers
from iqagpt.readers.simulated import ReadParams, measure_images, score_images
from iqagpt.readers.table import read_scores
from iqagpt.stage import stage_app


def main(
    variants: Annotated[Path, typer.Option(help="Folder of stage denoise.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    metrics: Annotated[Path, typer.Option(help="Metrics JSON to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Score four criteria, 1 (best) to 4 (worst), by simulated readers or from real readers' table."""
    read_params = load_section(params, "read", ReadParams)
    images = open_artifact(variants, "variants")
    table = given_file(read_params.table)
    with create_artifact(output, "scores") as writer:
        if table is None:
            measured = measure_images(images, read_params)
            scores = add_consensus(score_images(measured, read_params), read_params.consensus)
            writer.table("measures", measured)
            best_guess = add_consensus(score_images(measured, read_params, noise_free=True), read_params.consensus)
            further = {"ceiling": ceiling(consensus_scores(best_guess), consensus_scores(scores))}
        else:
            scores, further = add_consensus(read_scores(table, images), read_params.consensus), {}
        writer.info["data_source"] = images.info["data_source"]
        agreement = write_readers(writer, scores, seed=read_params.seed)
        result = {writer.info["score_source"]: describe_readers(scores, agreement) | further}
    write_metrics(metrics, result)


app = stage_app(main)

if __name__ == "__main__":
    app()
