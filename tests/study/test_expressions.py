"""Expressions over columns: what they compute, and that nothing else can be written in them."""

import numpy as np
import pandas as pd
import pytest

from iqagpt.errors import InputError
from iqagpt.study.expressions import Expression

TABLE = pd.DataFrame({"noise": [1.0, 7.0, 14.0], "contrast score": [1.0, 3.0, np.nan], "s": [4.0, 2.0, 9.0]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("noise", [1, 7, 14]),
        ("abs(noise - 7)", [6, 0, 7]),
        ("6 - (noise + s) / 2", [3.5, 1.5, -5.5]),
        ("-noise ** 2", [-1, -49, -196]),
        ("mean(noise, s)", [2.5, 4.5, 11.5]),
        ("min(noise, 7, s)", [1, 2, 7]),
        ("max(noise, s) + sqrt(s) * 0", [4, 7, 14]),
        ("`contrast score` * 2", [2, 6, np.nan]),
    ],
)
def test_values(text, expected):
    np.testing.assert_allclose(Expression(text).evaluate(TABLE), expected)


def test_columns_in_order():
    assert Expression("s - abs(noise) + `contrast score` - s").columns == ("s", "noise", "contrast score")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "noise.__class__",
        "(lambda: noise)()",
        "[noise for noise in s]",
        "noise if s else noise",
        "noise[0]",
        "f'{noise}'",
        "noise + 'a'",
        "noise + True",
        "noise + 1j",
        "open(noise)",
        "abs(noise, s)",
        "abs(x=noise)",
        "min(noise)",
        "abs(*noise)",
        "noise := 3",
        "noise; s",
        "noise < 3",
        "noise @ s",
        "",
        "noise +",
        "(" * 300 + "noise" + ")" * 300,
        "noise + " * 400 + "1",
    ],
)
def test_nothing_else_is_accepted(text):
    with pytest.raises(InputError, match="expression"):
        Expression(text).evaluate(TABLE)


def test_an_expression_without_a_column_is_refused():
    with pytest.raises(InputError, match="names no column"):
        Expression("3 + abs(4)")


def test_an_unknown_column_is_named_with_the_nearest():
    with pytest.raises(InputError, match="no column 'nois' in the scores \\(did you mean 'noise'"):
        Expression("abs(nois - 7)").evaluate(TABLE)


def test_towers_of_powers_do_not_hang():
    assert np.isinf(Expression("noise * 0 + 9 ** 9 ** 9").evaluate(pd.DataFrame({"noise": [1.0]}))).all()


def test_steps_count_the_limits_that_are_reached():
    table = {"x": np.array([-1.0, 0.0, 1.0, 2.9, 3.0, 5.0, 9.0, np.nan])}
    np.testing.assert_equal(Expression("steps(x, 1, 3, 5)").evaluate(table), [1, 1, 2, 2, 3, 4, 4, np.nan])
    assert Expression("steps(abs(x - 7), 1)").evaluate({"x": np.array([7.0, 6.5, 8.0, 6.0])}).tolist() == [1, 1, 2, 2]
