"""Denoisers beside the paper's eight qualities: built in, functions of the user's, or folders of finished images.

Stage ``denoise`` opens them; each becomes a variant like the others, through reading, training and evaluation.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from iqagpt.artifacts import Artifact
from iqagpt.config import given_file, suggest
from iqagpt.denoise.filters import FILTERS, Images
from iqagpt.denoise.own_code import OwnFunction, open_functions
from iqagpt.denoise.own_images import OwnFolder, open_folders
from iqagpt.errors import InputError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
#: The paper's variants, and other names in ``data/variants`` and in tables by variant.
_TAKEN = re.compile(r"ndct|ldct|map_nn|map_nn_d\d+|red_cnn|lesion_mask|window_hu|mean", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DenoiseParams:
    """Section ``denoise``: variants beside the paper's eight.

    Attributes
    ----------
    extra : tuple of str
        Names of `iqagpt.denoise.filters.FILTERS`, or of functions in `code`; each is a variant.
    code : str
        A Python file, or a package folder with ``__init__.py``; ``presets/none.txt`` for none.
    folder : str
        A folder of images, ``NAME/SLICE_ID.npy`` or ``.dcm``; every NAME is a variant. ``presets/none.txt`` for none.
    """

    extra: tuple[str, ...]
    code: str
    folder: str

    def __post_init__(self) -> None:
        """Check names; those of functions are looked up when the stage runs."""
        for key in ("code", "folder"):
            if not getattr(self, key):
                raise ValueError(f"{key}: expected a path, or presets/none.txt for none, got ''")
        for name in self.extra:
            if problem := _name_problem(name):
                raise ValueError(f"extra: {problem}")
            if name not in FILTERS and given_file(self.code) is None:
                raise ValueError(
                    f"extra: unknown {name!r}{suggest(name, list(FILTERS))}; built in: {', '.join(FILTERS)}; "
                    "a function of your own needs its file in denoise.code"
                )
        if twice := _repeated(self.extra):
            raise ValueError(f"extra: expected each name once, got {twice!r} repeatedly")


@dataclass(frozen=True)
class Further:
    """Variants to make beside the paper's.

    Attributes
    ----------
    names : tuple of str
        In the order in which they are written.
    filters : dict
        Built-in denoisers by name.
    own : dict
        Functions and folders of the user's by name.
    """

    names: tuple[str, ...]
    filters: dict[str, Callable[[Images], np.ndarray]]
    own: dict[str, OwnFunction | OwnFolder]


def open_further(params: DenoiseParams, lesions: Artifact) -> Further:
    """Find everything that the params name, before any slice is denoised.

    Parameters
    ----------
    params : DenoiseParams
    lesions : Artifact
        The slices that need images.

    Raises
    ------
    InputError
        If the code cannot be imported, a name is unknown or given twice, or a folder lacks a slice.
    """
    code, path = given_file(params.code), given_file(params.folder)
    functions = open_functions(code, params.extra, list(FILTERS), lesions) if code else {}
    folders = open_folders(path, lesions) if path else {}
    for name in folders:
        if problem := _name_problem(name):
            raise InputError(f"denoise.folder: {path / name}: {problem}; rename the folder")
    names = (*params.extra, *folders)
    if twice := _repeated(names):
        raise InputError(f"denoise.folder: {path}: variant {twice!r} comes twice, perhaps in denoise.extra; rename one")
    filters = {name: FILTERS[name] for name in params.extra if name in FILTERS}
    return Further(names, filters, functions | folders)


def _name_problem(name: str) -> str | None:
    """Say what is wrong with a variant's name, which becomes a file name, a column and part of ``image_id``."""
    if not _NAME.fullmatch(name):
        return f"expected a name of letters, digits and _, beginning with a letter, got {name!r}"
    if _TAKEN.fullmatch(name):
        return f"expected another name than those of the paper's variants and tables, got {name!r}"
    return None


def _repeated(names: Sequence[str]) -> str | None:
    """Return the first name that comes again; capitals do not count, as in the file names of some systems."""
    folded = [name.casefold() for name in names]
    return next((name for name in names if folded.count(name.casefold()) > 1), None)
