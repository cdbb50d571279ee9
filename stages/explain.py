"""Draw the paper's figures 2, 4 and 6 to 9, and measure what they claim.  Reads models, predictions, scores; writes ``figures``.

Command: ``python -m stages.explain --model models/iqagpt --baselines models/baseline --variants data/variants --captions
data/captions --split data/split --scores data/scores --predictions predictions --results results --reports reports
--output figures --metrics metrics/explain.json``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import write_metrics
from iqagpt.config import load_section
from iqagpt.explain.explanation import ExplainParams, load_inputs, write_figures
from iqagpt.stage import stage_app


def main(
    model: Annotated[Path, typer.Option(help="Artifact of the captioner.")],
    baselines: Annotated[Path, typer.Option(help="Folder of the baselines' artifacts.")],
    variants: Annotated[Path, typer.Option(help="Artifact of image variants.")],
    captions: Annotated[Path, typer.Option(help="Artifact of captions.")],
    split: Annotated[Path, typer.Option(help="Artifact of the split.")],
    scores: Annotated[Path, typer.Option(help="Artifact of readers' scores.")],
    predictions: Annotated[Path, typer.Option(help="Folder with a table of predictions per method.")],
    results: Annotated[Path, typer.Option(help="Artifact of the evaluation, which names the methods.")],
    reports: Annotated[Path, typer.Option(help="Artifact of reports.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    metrics: Annotated[Path, typer.Option(help="Metrics file to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Draw the figures and measure what they claim."""
    section = load_section(params, "explain", ExplainParams)
    inputs = load_inputs(
        model=model, baselines=baselines, variants=variants, captions=captions, split=split, scores=scores,
        predictions=predictions, results=results, reports=reports,
    )  # fmt: skip
    write_metrics(metrics, write_figures(output, inputs, section))


app = stage_app(main)

if __name__ == "__main__":
    app()
