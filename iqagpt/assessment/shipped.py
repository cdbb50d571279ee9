"""Where the captioner is that images are assessed with: one named by the user, else the one shipped with the package."""

from pathlib import Path

from iqagpt.errors import ArtifactError

#: A folder as `models/iqagpt`, with its model card beside it.
SHIPPED = Path(__file__).resolve().parents[1] / "shipped" / "captioner"


def captioner_folder(path: str | Path | None = None) -> Path:
    """Return the folder of a captioner; its files are not looked into.

    Raises
    ------
    ArtifactError
        If there is none.
    """
    folder = SHIPPED if path is None else Path(path)
    if (folder / "artifact.json").is_file():
        return folder
    if path is None:
        raise ArtifactError("no captioner comes with this installation; give one with --model, e.g. models/iqagpt")
    state = "artifact.json is missing" if folder.is_dir() else "no such folder"
    raise ArtifactError(f"{folder}: no captioner ({state}); expected a folder such as models/iqagpt")
