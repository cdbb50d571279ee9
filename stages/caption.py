"""Turn scores into captions by the paper's template.  Reads ``data/scores``, writes ``data/captions``.

Command: ``python -m stages.caption --scores data/scores --output data/captions``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.captioner.captions import caption_scores
from iqagpt.captioner.tokenizer import CaptionParams, build_tokenizer
from iqagpt.config import load_section
from iqagpt.stage import stage_app


def main(
    scores: Annotated[Path, typer.Option(help="Artifact of scores.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Turn scores into captions, and build the tokenizer."""
    section = load_section(params, "caption", CaptionParams)
    tokenizer = build_tokenizer(section)
    source = open_artifact(scores, "scores")
    table = caption_scores(source.manifest)
    with create_artifact(output, "captions") as writer:
        writer.manifest(table)
        tokenizer.save(writer.path)
        writer.info["vocabulary_size"] = tokenizer.size
        writer.info.update({key: source.info[key] for key in ("criteria", "data_source") if key in source.info})


app = stage_app(main)

if __name__ == "__main__":
    app()
