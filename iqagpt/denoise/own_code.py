"""Denoisers that are functions in a Python file of the user's.

Stage ``denoise`` opens them through `iqagpt.denoise.further`. The file is code of the user's and runs with all rights of the
process; nothing of it runs unless ``denoise.code`` names it.
"""

import inspect
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iqagpt.artifacts import Artifact
from iqagpt.config import suggest
from iqagpt.denoise.own_images import checked
from iqagpt.errors import InputError

_MODULE = "iqagpt_own_denoisers"
_SPACING = "pixel_spacing_mm"


@dataclass(frozen=True)
class OwnFunction:
    """One function as a source of images.

    Attributes
    ----------
    name : str
        In ``denoise.extra``.
    function : callable
        Called with LDCT, (H, W), float32, HU, and, if it has a parameter of that name, ``pixel_spacing_mm``.
    code : Path
        Where it comes from, for messages.
    lesions : Artifact
        The slices.
    """

    name: str
    function: Callable[..., Any]
    code: Path
    lesions: Artifact

    def image(self, row: int) -> np.ndarray:
        """Return the function's image of one slice, (H, W), int16, HU.

        Raises
        ------
        InputError
            If the function raises, or returns anything but an image in HU of the slice's size.
        """
        about = self.lesions.manifest.set_index("row").loc[row]
        where = f"denoise.code: {self.code}: {self.name}, slice {about['slice_id']}"
        spacing = {_SPACING: float(about[_SPACING])} if _wants_spacing(self.function) else {}
        ldct = self.lesions.array("ldct")[row].astype(np.float32)
        try:
            image = self.function(ldct, **spacing)
        except (Exception, SystemExit) as error:  # code of the user's may raise anything
            raise InputError(f"{where}: {_describe(error, self.code)}; it is given LDCT, (H, W) float32 HU") from error
        return checked(image, row, self.lesions, where)


def open_functions(
    code: Path, extra: Sequence[str], built_in: Sequence[str], lesions: Artifact
) -> dict[str, OwnFunction]:
    """Run the user's file and pick the functions that are asked for.

    Parameters
    ----------
    code : Path
        A Python file, or a package folder with ``__init__.py``.
    extra, built_in : sequence of str
        Names asked for, and those that are no functions of the file.
    lesions : Artifact
        The slices.

    Returns
    -------
    dict of str to OwnFunction
        By name, in the order of `extra`.

    Raises
    ------
    InputError
        If the file cannot be imported, has no such function, one with a built-in name, or none that is asked for.
    """
    module = load_code(code)
    callables = {name: value for name, value in vars(module).items() if callable(value) and not name.startswith("_")}
    written = [name for name, value in callables.items() if str(getattr(value, "__module__", "")).startswith(_MODULE)]
    for name in extra:
        if name in built_in and name in written:
            raise InputError(f"denoise.code: {code}: {name!r} is the name of a built-in denoiser; rename the function")
        if name not in built_in and name not in callables:
            known = [*built_in, *written]
            raise InputError(
                f"denoise.extra: {name!r} is neither built in nor a function of {code}{suggest(name, known)}; "
                f"known: {', '.join(known)}"
            )
    wanted = [name for name in extra if name not in built_in]
    if not wanted:
        raise InputError(
            f"denoise.extra: names no function of denoise.code ({code}); it has {', '.join(written) or 'none'}; add one, "
            "or set denoise.code to presets/none.txt"
        )
    return {name: OwnFunction(name, callables[name], code, lesions) for name in wanted}


def load_code(code: Path) -> types.ModuleType:
    """Run a Python file, or the ``__init__.py`` of a package folder, and return it as a module.

    Raises
    ------
    InputError
        If there is no such file, or it raises anything.
    """
    file = code / "__init__.py" if code.is_dir() else code
    if not file.is_file():
        raise InputError(f"denoise.code: {file}: no such file; give a Python file, or presets/none.txt for none")
    module = types.ModuleType(_MODULE)
    module.__file__ = str(file)
    if code.is_dir():
        module.__path__ = [str(code)]
    for name in [name for name in sys.modules if name.partition(".")[0] == _MODULE]:
        del sys.modules[name]
    sys.modules[_MODULE] = module
    try:
        # Compiled here, not by an importer: no __pycache__ beside the file, and none taken that is out of date.
        exec(compile(file.read_bytes(), str(file), "exec"), vars(module))
    except (Exception, SystemExit) as error:  # code of the user's may raise anything
        raise InputError(f"denoise.code: {file}: cannot be imported: {_describe(error, code)}; mend it") from error
    return module


def _describe(error: BaseException, code: Path) -> str:
    """Return an exception as one line, with the line of the user's code that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve().is_relative_to(code.resolve())]
    place = f" (line {own[-1].lineno} of {Path(own[-1].filename).name})" if own else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{place}{': ' if text else ''}{text}"


def _wants_spacing(function: Callable[..., Any]) -> bool:
    try:
        return _SPACING in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some functions written in C do not tell
        return False
