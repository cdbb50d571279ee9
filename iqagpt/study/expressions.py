"""Arithmetic over the columns of a table, for mapping a study's own scales to ours; no code is ever run.

An expression is parsed by Python's own parser, and every node is checked against a short list before anything is computed.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from iqagpt.config import suggest
from iqagpt.errors import InputError

MAX_LENGTH = 500
_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
#: Functions and their least and largest number of arguments.
_FUNCTIONS: dict[str, tuple[Callable[..., Any], int, float]] = {
    "abs": (np.abs, 1, 1),
    "sqrt": (np.sqrt, 1, 1),
    "log": (np.log, 1, 1),
    "min": (lambda *values: _fold(np.minimum, values), 2, float("inf")),
    "max": (lambda *values: _fold(np.maximum, values), 2, float("inf")),
    "mean": (lambda *values: sum(values) / len(values), 2, float("inf")),
    "steps": (lambda value, *limits: _steps(value, limits), 2, float("inf")),
}


class Expression:
    """A checked expression such as ``abs(noise_reduction - 7)``.

    Numbers, ``+ - * / **``, brackets, the functions abs, sqrt, log, min, max, mean and steps, and names of columns; a name that is
    no Python identifier stands in backticks. ``steps(x, a, b, c)`` is 1, and 1 more for each of a, b, c that x reaches.

    Attributes
    ----------
    text : str
        As given.
    columns : tuple of str
        Columns that it names, in order.

    Raises
    ------
    InputError
        If the text is not such an expression, or names no column.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self._quoted: dict[str, str] = {}
        if len(text) > MAX_LENGTH:
            raise InputError(f"expression of {len(text)} characters; expected at most {MAX_LENGTH}")
        try:
            self._body = ast.parse(re.sub(r"`([^`]+)`", self._stand_in, self.text), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = getattr(error, "msg", None) or type(error).__name__
            raise InputError(f"expression '{self.text}': cannot be read ({reason}); e.g. abs(noise - 7)") from error
        names: dict[str, None] = {}
        self._check(self._body, names)
        self.columns = tuple(names)
        if not names:
            raise InputError(f"expression '{self.text}': names no column of the scores")

    def evaluate(self, table: pd.DataFrame | Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the expression row by row.

        Parameters
        ----------
        table : DataFrame or mapping
            Columns of numbers; NaN stays NaN.

        Returns
        -------
        ndarray, (N,), float64

        Raises
        ------
        InputError
            If a column does not exist.
        """
        known = [str(name) for name in table]
        for name in self.columns:
            if name not in known:
                hint = suggest(name, known) or f"; there are: {', '.join(known)}"
                raise InputError(f"expression '{self.text}': no column '{name}' in the scores{hint}")
        values = {name: np.asarray(table[name], dtype=np.float64) for name in self.columns}
        with np.errstate(all="ignore"):
            return np.asarray(self._compute(self._body, values), dtype=np.float64)

    def _stand_in(self, match: re.Match[str]) -> str:
        name = f"_quoted_{len(self._quoted)}"
        self._quoted[name] = match.group(1)
        return name

    def _name(self, node: ast.Name) -> str:
        return self._quoted.get(node.id, node.id)

    def _check(self, node: ast.AST, names: dict[str, None]) -> None:
        if isinstance(node, ast.Name):
            names[self._name(node)] = None
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            self._check(node.left, names)
            self._check(node.right, names)
        elif isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
            self._check(node.operand, names)
        elif isinstance(node, ast.Call):
            self._check_call(node, names)
        else:
            raise InputError(
                f"expression '{self.text}': '{ast.unparse(node)}' is not allowed; expected columns, numbers, + - * / ** and "
                f"{', '.join(_FUNCTIONS)}"
            )

    def _check_call(self, node: ast.Call, names: dict[str, None]) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name not in _FUNCTIONS or node.keywords:
            raise InputError(f"expression '{self.text}': no function '{name}'; there are: {', '.join(_FUNCTIONS)}")
        _, least, most = _FUNCTIONS[name]
        if not least <= len(node.args) <= most:
            raise InputError(f"expression '{self.text}': {name} takes {'two or more' if most > 1 else 'one'} value(s)")
        for argument in node.args:
            self._check(argument, names)

    def _compute(self, node: ast.AST, values: Mapping[str, np.ndarray]) -> Any:
        if isinstance(node, ast.Name):
            return values[self._name(node)]
        if isinstance(node, ast.Constant):
            return np.float64(node.value)  # Python's whole numbers would grow without end in 9**9**9
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](self._compute(node.left, values), self._compute(node.right, values))
        if isinstance(node, ast.UnaryOp):
            return _OPERATORS[type(node.op)](self._compute(node.operand, values))
        function = _FUNCTIONS[node.func.id][0]
        return function(*(self._compute(argument, values) for argument in node.args))


def _fold(function: Callable[..., Any], values: tuple[Any, ...]) -> Any:
    result = values[0]
    for value in values[1:]:
        result = function(result, value)
    return result


def _steps(value: Any, limits: tuple[Any, ...]) -> Any:
    return np.where(np.isnan(value), np.nan, 1.0 + sum((value >= limit) * 1.0 for limit in limits))
