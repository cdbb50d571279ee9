"""Typed access to ``params.yaml``: one section becomes one frozen dataclass.

Defaults live in ``params.yaml`` alone, so a missing key is an error, and so is an unknown one. Values are
converted to the declared type because PyYAML reads ``1e-05``, which ``dvc exp run -S train.lr=1e-5`` writes, as
text (iterative/dvc#8466).
"""

import dataclasses
import difflib
import math
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from iqagpt.errors import ParamsError

T = TypeVar("T")

#: The file that a path parameter names when the user has given none (see the architecture rule in docs/method.md).
NO_FILE = Path("presets/none.txt")


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, of which PyYAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    "while reading a section", node.start_mark, f"key '{key}' is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_section(params_file: str | Path, section: str, cls: type[T]) -> T:
    """Read one section of a params file into its dataclass.

    Parameters
    ----------
    params_file : path
        A YAML file, usually ``params.yaml``.
    section : str
        Name of the section; dots descend, as in ``denoisers.map_nn``.
    cls : type
        A dataclass whose fields have plain types: ``bool``, ``int``, ``float``, ``str``, ``Literal``, ``tuple``,
        ``X | None`` or a nested dataclass. ``ValueError`` raised by its ``__post_init__`` is reported with the section.

    Returns
    -------
    object
        An instance of `cls`.

    Raises
    ------
    ParamsError
        If the file or section is missing, a key is unknown or missing, or a value has the wrong type or range.
    """
    node = read_params(params_file)
    for depth, name in enumerate(section.split(".")):
        where = ".".join(section.split(".")[:depth])
        if not isinstance(node, dict) or name not in node:
            known = sorted(node) if isinstance(node, dict) else []
            raise ParamsError(
                f"{params_file}: section '{section}' is missing"
                + (f" below '{where}'" if where else "")
                + suggest(name, known)
                + "; compare with presets/smoke.yaml"
            )
        node = node[name]
    return _build(cls, node, f"{params_file}: {section}")


def read_params(params_file: str | Path) -> dict[str, Any]:
    """Parse a params file into nested plain types.

    Raises
    ------
    ParamsError
        If the file is absent, not YAML, or not a mapping.
    """
    path = Path(params_file)
    if not path.is_file():
        raise ParamsError(f"{path}: no such params file; run from the repository's root or pass --params")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, got {type(content).__name__}")
    return content


def given_file(value: str) -> Path | None:
    """Return the file that a path parameter names, or None when it names the committed "none" file."""
    path = Path(value)
    return None if path == NO_FILE else path


def check_least(params: Any, **least: float) -> None:
    """Raise ``ValueError`` for the first of some fields of a params dataclass that is below its least value."""
    for name, limit in least.items():
        value = getattr(params, name)
        if value < limit:
            raise ValueError(f"{name}: expected at least {limit:g}, got {value!r}")


def suggest(name: str, known: list[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name nearest to `name`, or nothing if none is near."""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _build(cls: type[T], node: Any, where: str) -> T:
    if not isinstance(node, dict):
        raise ParamsError(f"{where}: expected a mapping with keys, got {node!r}")
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    for key in node:
        if key not in names:
            raise ParamsError(f"{where}.{key}: unknown key{suggest(key, names)}; known keys: {', '.join(names)}")
    missing = [name for name in names if name not in node]
    if missing:
        raise ParamsError(f"{where}.{missing[0]}: missing key; add it (presets/ shows complete files)")
    values = {name: _convert(hints[name], node[name], f"{where}.{name}") for name in names}
    try:
        return cls(**values)
    except ParamsError:
        raise
    except ValueError as error:
        raise ParamsError(f"{where}.{error}") from error


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _convert_union(kind, value, where)
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    if origin is Literal:
        if value in get_args(kind):
            return value
        raise _wrong(where, f"one of {', '.join(map(str, get_args(kind)))}", value)
    if origin is tuple:
        return _convert_tuple(kind, value, where)
    return _convert_scalar(kind, value, where)


def _convert_union(kind: Any, value: Any, where: str) -> Any:
    members = [member for member in get_args(kind) if member is not type(None)]
    if value is None and type(None) in get_args(kind):
        return None
    return _convert(members[0], value, where)


def _convert_tuple(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    members = get_args(kind)
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    if len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(members) != len(value):
        raise _wrong(where, f"a list of {len(members)} values", value)
    return tuple(_convert(m, v, f"{where}[{i}]") for i, (m, v) in enumerate(zip(members, value, strict=True)))


def _convert_scalar(kind: type, value: Any, where: str) -> Any:
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            raise _wrong(where, "a number", value) from None
        if math.isfinite(number):
            return number
        raise _wrong(where, "a finite number", value)
    article = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}[kind]
    raise _wrong(where, article, value)


def _wrong(where: str, expected: str, value: Any) -> ParamsError:
    return ParamsError(f"{where}: expected {expected}, got {value!r}")
