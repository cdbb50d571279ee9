"""Score every image.  Reads ``data/variants`` and a reader's table if given, writes ``data/scores``.

Command: ``python -m stages.read --variants data/variants --output data/scores --metrics metrics/read.json``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact, open_artifact, write_metrics
from iqagpt.config import given_file, load_section
from iqagpt.readers.agreement import ceiling, describe_scores
from iqagpt.readers.simulated import ReadParams, measure_images, score_images
from iqagpt.readers.table import read_scores
from iqagpt.stage import stage_app


def main(
    variants: Annotated[Path, typer.Option(help="Folder of stage denoise.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    metrics: Annotated[Path, typer.Option(help="Metrics JSON to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Score four criteria, 1 (best) to 4 (worst), by the simulated reader or from a reader's own table."""
    read_params = load_section(params, "read", ReadParams)
    images = open_artifact(variants, "variants")
    table = given_file(read_params.table)
    with create_artifact(output, "scores") as writer:
        if table is None:
            measured = measure_images(images, read_params)
            scores = score_images(measured, read_params)
            writer.table("measures", measured)
            best_guess = score_images(measured, read_params, noise_free=True)
            result = {"simulated": describe_scores(scores) | {"ceiling": ceiling(best_guess, scores)}}
        else:
            scores = read_scores(table, images)
            result = {"reader": describe_scores(scores)}
        writer.info["score_source"] = next(iter(result))
        writer.manifest(scores)
    write_metrics(metrics, result)


app = stage_app(main)

if __name__ == "__main__":
    app()
