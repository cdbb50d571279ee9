"""What became of every tensor of a checkpoint, by name."""

import re
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import pandas as pd

Action = Literal["loaded", "resized", "dropped", "missing"]
#: In the order they are printed. ``missing``: ours that the file lacks, left as initialised.
ACTIONS: tuple[Action, ...] = ("loaded", "resized", "dropped", "missing")
_INDEX = re.compile(r"\.(\d{1,6})\.")


@dataclass(slots=True)
class Report:
    """A list of tensors with what was done to each.

    Attributes
    ----------
    lines : list of (action, name, became, detail)
        ``name`` is the tensor's in the file (for ``missing``: ours), ``became`` ours or empty.
    """

    lines: list[tuple[Action, str, str, str]] = field(default_factory=list)

    def add(self, action: Action, name: str, became: str = "", detail: str = "") -> None:
        """Note what was done to one tensor."""
        self.lines.append((action, name, became, detail))

    def names(self, action: Action) -> list[str]:
        """Return the names of all tensors with one action."""
        return [name for found, name, _, _ in self.lines if found == action]

    def table(self) -> pd.DataFrame:
        """Return one row per tensor: ``action``, ``name``, ``became``, ``detail``."""
        return pd.DataFrame(self.lines, columns=["action", "name", "became", "detail"])

    def text(self, *, only_counted: tuple[Action, ...] = ()) -> str:
        """Return the report for reading: one line per name, layers that differ in their number only on one line.

        Of actions in `only_counted` the names are left out.
        """
        found = []
        for action in ACTIONS:
            lines = [(name, detail) for kind, name, _, detail in self.lines if kind == action]
            if lines:
                found.append(f"{action}: {len(lines)}")
                found += [f"  {line}" for line in _grouped(lines) if action not in only_counted]
        return "\n".join(found)


def _grouped(lines: list[tuple[str, str]]) -> list[str]:
    groups: dict[tuple[str, str], list[int]] = {}
    for name, detail in lines:
        indices = groups.setdefault((_INDEX.sub(".#.", name, count=1), detail), [])
        indices += map(int, _INDEX.findall(name)[:1])
    return [
        pattern.replace("#", _ranges(indices), 1) + (f": {detail}" if detail else "")
        for (pattern, detail), indices in groups.items()
    ]


def _ranges(indices: list[int]) -> str:
    """Write 0, 1, 2, 5 as ``{0-2,5}``, a single 5 as ``5``."""
    parts = []
    for _, run in groupby(enumerate(sorted(set(indices))), key=lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        parts.append(f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else str(numbers[0]))
    text = ",".join(parts)
    return text if text.isdigit() else f"{{{text}}}"
