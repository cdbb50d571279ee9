"""A model folder by path, or from the Hugging Face hub when the user names it: ``hf:OWNER/NAME`` or ``hf:OWNER/NAME@REVISION``.

Nothing else in the package asks the hub.
"""

from collections.abc import Sequence
from pathlib import Path

from iqagpt.captioner.foreign.reading import MODEL_FILES
from iqagpt.errors import InputError

PREFIX = "hf:"
_SMALL = ["config.json", "vocab.txt"]


def local_path(source: str, files: Sequence[str] = MODEL_FILES, beside: Sequence[str] = _SMALL) -> Path:
    """Return the local path of a source; what names the hub is fetched into the hub's own cache.

    Parameters
    ----------
    source : str
    files : sequence of str
        Names of the weights, best first; the first that is there is fetched.
    beside : sequence of str
        Small files to fetch with them.

    Raises
    ------
    InputError
        If the hub cannot be asked, or does not have the model.
    """
    if not source.startswith(PREFIX):
        return Path(source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    name, _, revision = source.removeprefix(PREFIX).partition("@")
    folder = Path()
    try:
        # The pickle is fetched only where there is nothing safer.
        for file in files:
            folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=[*beside, file]))
            if (folder / file).is_file():
                break
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{source}: not found on the hub ({reason}); give a local folder instead") from error
    return folder
