"""Set every method beside the paper, with intervals, tests and audits: Tables 1 to 4 and what they leave out.

Reads ``predictions``, ``data/captions``, ``data/split``, ``data/variants``; writes ``results``.

Command: ``python -m stages.evaluate --predictions predictions --captions data/captions --split data/split
--variants data/variants --output results --metrics metrics/evaluate.json --by-variant metrics/by_variant.json``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import write_metrics
from iqagpt.config import load_section
from iqagpt.evaluation.comparison import load_comparison
from iqagpt.evaluation.fidelity import load_fidelity
from iqagpt.evaluation.results import evaluate, write_results
from iqagpt.evaluation.tables import EvaluateParams
from iqagpt.stage import stage_app


def main(
    predictions: Annotated[Path, typer.Option(help="Folder with a table of predictions per method.")],
    captions: Annotated[Path, typer.Option(help="Captions artifact: the reader's scores.")],
    split: Annotated[Path, typer.Option(help="Split artifact.")],
    variants: Annotated[Path, typer.Option(help="Variants artifact: PSNR, SSIM and RMSE of every image.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    metrics: Annotated[Path, typer.Option(help="Metrics file to write.")],
    by_variant: Annotated[Path, typer.Option(help="Metrics file to write, accuracy by image quality.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Compare all enabled methods with the reader, and with the paper's Tables 1 to 4."""
    settings = load_section(params, "evaluate", EvaluateParams)
    test, val = (
        load_comparison(predictions, captions, split, baselines=settings.baselines, name=name)
        for name in ("test", "val")
    )
    results = evaluate(test, val, settings, load_fidelity(variants, test.truth))
    write_results(output, results)
    write_metrics(metrics, results.metrics)
    write_metrics(by_variant, results.by_variant)


app = stage_app(main)

if __name__ == "__main__":
    app()
