"""Write the eight qualities of every slice, and further ones.

Reads ``data/lesions``, ``models/denoisers`` and what ``denoise.code`` and ``denoise.folder`` name; writes
``data/variants``.

Command: ``python -m stages.denoise --lesions data/lesions --denoisers models/denoisers --output data/variants
--metrics metrics/denoise.json``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact, open_artifact, write_metrics
from iqagpt.config import load_section
from iqagpt.denoise.further import DenoiseParams, open_further
from iqagpt.denoise.variants import write_variants
from iqagpt.stage import stage_app


def main(
    lesions: Annotated[Path, typer.Option(help="Slice pairs to denoise.")],
    denoisers: Annotated[Path, typer.Option(help="Folder with the denoisers map_nn and red_cnn.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    metrics: Annotated[Path, typer.Option(help="JSON of PSNR, SSIM and RMSE against NDCT to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Denoise every slice: NDCT, LDCT, the levels of MAP-NN, RED-CNN, and further variants."""
    section = load_section(params, "denoise", DenoiseParams)
    pairs = open_artifact(lesions, "lesions")
    further = open_further(section, pairs)
    with create_artifact(output, "variants") as writer:
        fidelity = write_variants(pairs, denoisers, further, writer)
    write_metrics(metrics, fidelity)


app = stage_app(main)
if __name__ == "__main__":
    app()
