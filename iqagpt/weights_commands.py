"""The commands ``iqagpt weights``: convert weights from outside once, without running code from them.

Nothing else in the package reads a pickle.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iqagpt.errors import ParamsError, UserError

if TYPE_CHECKING:
    from iqagpt.artifacts import Artifact

app = typer.Typer(help="Convert weights from outside once, without running code from them.", no_args_is_help=True)
_FOLDER = "a folder, a file, or hf:OWNER/NAME on the Hugging Face hub"


@app.command("import")
def import_weights(
    output: Annotated[Path, typer.Argument(help="Folder to write, for pretrain.weights or the CLIP-IQA rivals.")],
    medical_x_vl: Annotated[
        str | None, typer.Option(help="Medical X-VL checkpoint (.pth of the 2022 commits): both halves.")
    ] = None,
    bert: Annotated[str | None, typer.Option(help=f"Hugging Face BERT, for the text stack: {_FOLDER}.")] = None,
    vit: Annotated[str | None, typer.Option(help=f"ViT of timm, for the image encoder: {_FOLDER}.")] = None,
    clip: Annotated[str | None, typer.Option(help=f"CLIP with a ResNet, for the CLIP-IQA rivals: {_FOLDER}.")] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="vocab.txt of the text stack, where it is not in its folder.")
    ] = None,
    params: Annotated[Path, typer.Option(help="Parameter file whose captioner they are tried on.")] = Path(
        "params.yaml"
    ),
) -> None:
    """Convert a checkpoint to safetensors; print by name what was loaded, resized and dropped."""
    sources = {"medical-x-vl": medical_x_vl, "bert": bert, "vit": vit}
    given = {kind: source for kind, source in sources.items() if source is not None}
    if clip is not None and not given:
        _import_clip(clip, output)
        return
    if clip is not None or not given:
        raise typer.BadParameter("give --medical-x-vl, --bert or --vit; or --clip alone")
    # Imported here: PyTorch takes seconds, and the other commands do without.
    from iqagpt.artifacts import create_artifact
    from iqagpt.captioner.foreign.hub import local_path
    from iqagpt.captioner.foreign.importing import import_checkpoint, save_import
    from iqagpt.captioner.foreign.loading import KIND, open_imported

    with _messages():
        parts = [import_checkpoint(local_path(source), kind, vocabulary) for kind, source in given.items()]
        with create_artifact(output, KIND) as writer:
            report = save_import(writer, parts)
        artifact = open_imported(output)
    typer.echo(report.text())
    typer.echo(f"{output}: weights.safetensors, sha256 {artifact.info['weights_sha256']}")
    _try_on(artifact, params)
    typer.echo(f"set pretrain.source to checkpoint and pretrain.weights to {output}")


def _import_clip(source: str, output: Path) -> None:
    from iqagpt.artifacts import create_artifact
    from iqagpt.clip.importing import import_clip
    from iqagpt.clip.stored import KIND

    with _messages(), create_artifact(output, KIND) as writer:
        report = import_clip(source, writer)
    typer.echo(report.text())
    typer.echo(
        f"set weights of baseline.clip_iqa and of baseline.clip_iqa_plus.clip to {output}, "
        f"and weights_sha256 to {writer.info['weights_sha256']}"
    )


def _try_on(artifact: "Artifact", params: Path) -> None:
    """Print what the captioner of a parameter file would load; that it does not fit is no error here."""
    from iqagpt.captioner.foreign.trial import try_on

    if not params.is_file():
        return
    try:
        report = try_on(artifact, params)
    except UserError as error:
        hint = "" if isinstance(error, ParamsError) else f"; change {params}"
        typer.echo(f"{error}{hint}", err=True)
        return
    typer.echo(f"into the captioner of {params}:\n{report.text(only_counted=('loaded',))}")


@app.command("red-cnn")
def red_cnn(
    checkpoint: Annotated[Path, typer.Argument(help="REDCNN_*iter.ckpt of SSinyu, or redcnn.pt of ldct-benchmark.")],
    output: Annotated[Path, typer.Argument(help="The .safetensors file to write, for denoisers.red_cnn.weights.")],
    source: Annotated[str, typer.Option(help="Where it comes from: ssinyu or ldct-benchmark; they differ in scale.")],
) -> None:
    """Convert published RED-CNN weights to safetensors."""
    from iqagpt.denoise.red_cnn_checkpoint import Source, convert_checkpoint

    if source not in list(Source):
        typer.echo(f"--source: expected {' or '.join(Source)}, got '{source}'", err=True)
        raise typer.Exit(1)
    with _messages():
        convert_checkpoint(checkpoint, output, Source(source))
    typer.echo(f"{output}: set denoisers.red_cnn.weights to it, and denoisers.red_cnn.width to 96")


@contextmanager
def _messages() -> Iterator[None]:
    """Show an error that the user can mend as one line, exit status 1."""
    try:
        yield
    except UserError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
