"""A patient-grouped cross-validation that ran as DVC experiments, gathered into one table.

``dvc exp run --queue -S 'split.fold=range(0,5)'`` and ``dvc queue start`` run it. Each experiment's ``metrics/evaluate.json`` and
``results/patients.csv`` are read from Git and from DVC's cache. Over all folds every patient tests once, so that accuracy
can be pooled over all patients, with an interval and a test that a single fold of two patients cannot give.

Notes
-----
Not stated in the paper, which has one split. The models of different folds share training patients, so intervals over
pooled patients leave out what fitting to other patients would change (Bengio and Grandvalet, JMLR 5:1089, 2004).
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from iqagpt.agreement.bootstrap import FEW, intervals
from iqagpt.criteria import KEYS
from iqagpt.data.split import PRETRAIN
from iqagpt.errors import InputError
from iqagpt.evaluation.estimates import Estimates, difference, ratio
from iqagpt.evaluation.rivals import holm, sign_flip_p, smallest_p
from iqagpt.evaluation.tables import ORACLES, markdown, with_interval

IQAGPT = "iqagpt"
_METRICS, _PATIENTS, _PARAMS = "metrics/evaluate.json", "results/patients.csv", "params.yaml"
_SPLIT = "data/split/manifest.csv"
#: States of an experiment that has no results of its own.
_UNFINISHED = ("Queued", "Running", "Failed")
_RUN = "run dvc exp run --queue -S 'split.fold=range(0,5)' and dvc queue start"
#: Measures whose means over criteria are gathered.
_MEASURES = ("accuracy", "plcc", "srocc")


@dataclass(frozen=True)
class Fold:
    """One experiment: its name, ``split.fold``, evaluation metrics, and right scores by method and patient.

    ``everyone``: patients of all its sides but ``pretrain``; empty where the split is not known any more.
    """

    name: str
    number: int
    metrics: dict[str, Any]
    patients: pd.DataFrame
    everyone: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Gathered:
    """All folds together.

    Attributes
    ----------
    folds : tuple of Fold
        By number.
    by_fold : DataFrame
        ``method, measure, fold, value``: means over criteria.
    pooled : DataFrame
        By method: accuracy over all patients, ``value, lower, upper``; IQAGPT less it, ``difference``,
        ``difference_lower``, ``difference_upper``; ``p``, ``p_holm``.
    patients : int
    untested : tuple of str
        Patients of the split that test in none of these folds.
    """

    folds: tuple[Fold, ...]
    by_fold: pd.DataFrame
    pooled: pd.DataFrame
    patients: int
    untested: tuple[str, ...]


def find_folds(root: Path) -> tuple[list[Fold], list[str]]:
    """Find the experiments of this commit whose params are the workspace's but for ``split.fold``.

    Parameters
    ----------
    root : path
        The repository.

    Returns
    -------
    folds : list of Fold
        One for each number: of several the one first listed by DVC, which is the last that ran.
    notes : list of str
        Experiments that were left out, and why.

    Raises
    ------
    InputError
        If this is no repository of DVC, or it has no such experiment.
    """
    from dvc.api import exp_show
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.index import DataIndexError  # what is in no cache any more
    from scmrepo.exceptions import SCMError

    try:
        Repo.find_root(str(root))  # otherwise DVC would try to clone the folder, and leave a temporary one behind
        rows = exp_show(repo=str(root))
    except (DvcException, SCMError) as error:
        raise InputError(f"{root}: DVC cannot list its experiments ({error})") from error
    wanted = _other_params((root / _PARAMS).read_text(encoding="utf-8"))
    folds: dict[int, Fold] = {}
    notes = []
    # The commit itself comes last: it fills a fold for which there is no experiment.
    for row in sorted((row for row in rows if row["rev"] != "workspace"), key=lambda row: row["Experiment"] is None):
        name, rev = row["Experiment"] or "HEAD", row["rev"]
        if row.get("State") in _UNFINISHED:
            # What such a revision holds are the results of the commit that it began with.
            notes.append(f"{name}: left out, DVC says '{row['State']}'; see dvc queue logs {name}")
            continue
        try:
            params = _read(root, _PARAMS, rev)
            if _other_params(params) != wanted:
                notes.append(f"{name}: left out, its params differ from {_PARAMS} in more than split.fold")
                continue
            number = int(yaml.safe_load(params)["split"]["fold"])
            patients = _patients(_read(root, _PATIENTS, rev))
            fold = Fold(name, number, json.loads(_read(root, _METRICS, rev)), patients, _everyone(root, rev))
        except (DvcException, SCMError, DataIndexError, OSError, KeyError, ValueError) as error:
            notes.append(f"{name}: left out, its results cannot be read ({' '.join(str(error).split())[:200]})")
            continue
        if number in folds:
            notes.append(f"{name}: left out, fold {number} is taken from {folds[number].name}")
        else:
            folds[number] = fold
    if not folds:
        raise InputError("\n".join([f"{root}: no experiment over split.fold at this commit; {_RUN}", *notes]))
    return [folds[number] for number in sorted(folds)], notes


def gather(folds: list[Fold], *, draws: int, seed: int) -> Gathered:
    """Bring folds together.

    Parameters
    ----------
    folds : list of Fold
    draws, seed : int
        Of the bootstrap over all patients.

    Raises
    ------
    InputError
        If a patient tests in two folds.
    """
    methods = [m for m in folds[0].metrics if all(isinstance(fold.metrics.get(m), dict) for fold in folds)]
    methods.sort(key=lambda method: method != IQAGPT)
    by_fold = pd.DataFrame(
        [
            (method, measure, fold.number, fold.metrics[method].get(measure, {}).get("mean", np.nan))
            for method in methods
            for measure in _MEASURES
            for fold in folds
        ],
        columns=["method", "measure", "fold", "value"],
    )
    every = pd.concat([fold.patients.assign(fold=fold.number) for fold in folds], ignore_index=True)
    repeated = every[every["method"].isin(methods)].groupby(["method", "patient_id"])["fold"].nunique()
    if (repeated > 1).any():
        method, patient = repeated[repeated > 1].index[0]
        raise InputError(
            f"patient {patient} tests in {repeated.max()} folds (method {method}); every patient may test once"
        )
    tables = {method: every[every["method"] == method].sort_values("patient_id") for method in methods}
    pooled = _pool(tables, draws=draws, seed=seed)
    tested = set(every["patient_id"])
    untested = sorted({patient for fold in folds for patient in fold.everyone} - tested)
    return Gathered(tuple(folds), by_fold, pooled, len(tested), tuple(untested))


def render(found: Gathered) -> str:
    """Write the gathered folds as Markdown."""
    numbers = [fold.number for fold in found.folds]
    parts = [
        f"# Cross-validation over patients: {len(numbers)} folds, {found.patients} patients\n",
        f"Experiments: {', '.join(f'{fold.number}: {fold.name}' for fold in found.folds)}. Higher is better throughout.\n",
        *_incomplete(found),
        "## By fold (means over criteria)\n",
    ]
    grid = [["Method", "Measure", *(f"Fold {number}" for number in numbers), "Mean", "SD"]]
    for (method, measure), rows in found.by_fold.groupby(["method", "measure"], sort=False):
        values = rows["value"].to_numpy()
        spread = f"{values.std(ddof=1):.3f}" if len(values) > 1 and not np.isnan(values).any() else "-"
        texts = ["NA" if np.isnan(value) else f"{value:.3f}" for value in (*values, values.mean())]
        grid.append([method, measure, *texts, spread])
    parts += [markdown(grid), "## Mean accuracy, all patients together\n"]
    grid = [["Method", "Accuracy [95 % interval]", "IQAGPT less it", "p", "p (Holm)"]]
    for row in found.pooled.itertuples():
        other = row.method != IQAGPT
        grid.append(
            [
                row.method, with_interval(row.value, row.lower, row.upper),
                with_interval(row.difference, row.difference_lower, row.difference_upper) if other else "-",
                f"{row.p:.3g}" if other else "-",
                "- (oracle)" if row.method in ORACLES else f"{row.p_holm:.3g}" if other else "-",
            ]
        )  # fmt: skip
    parts.append(markdown(grid))
    parts.append(
        f"p: exact sign-flip test over {found.patients} patients, two-sided, Holm over the rivals; the smallest it can give is "
        f"{smallest_p(found.patients):.3g}. Folds share training patients: intervals say nothing of fitting to others."
    )
    if found.patients < FEW:
        parts.append(
            f"**TOO FEW PATIENTS: {found.patients}.** No interval or test from fewer than {FEW} is to be trusted."
        )
    return "\n".join(parts) + "\n"


def _incomplete(found: Gathered) -> list[str]:
    numbers = [fold.number for fold in found.folds]
    missing = [number for number in range(numbers[-1]) if number not in numbers]
    parts = [f"no fold {', '.join(map(str, missing))} (dvc exp run -S split.fold={missing[0]})"] if missing else []
    if found.untested:
        several = len(found.untested)
        parts.append(f"{several} of {several + found.patients} patients never test ({', '.join(found.untested)})")
    names = dict.fromkeys(name for fold in found.folds for name, one in fold.metrics.items() if isinstance(one, dict))
    partly = [name for name in names if name not in set(found.pooled["method"])]
    if partly:
        parts.append(f"not in every fold, and left out: {', '.join(partly)}")
    return [f"**INCOMPLETE: {'; '.join(parts)}.** All numbers are of the rest.\n"] if parts else []


def _pool(tables: dict[str, pd.DataFrame], *, draws: int, seed: int) -> pd.DataFrame:
    """Pool right scores over all patients; `tables` by method, rows sorted by patient."""
    found: Estimates = {}
    right = {}
    for method, table in tables.items():
        counts = table[list(KEYS)].sum(axis=1).to_numpy(dtype=int)
        given = len(KEYS) * table["images"].to_numpy(dtype=float)
        found[method, "accuracy"] = ratio(counts.astype(float), given, np.arange(len(table)))
        right[method] = counts
    own = found[IQAGPT, "accuracy"]
    values = intervals(list(found.values()), seed=seed, replicates=draws)
    paired = intervals([difference(own, other) for other in found.values()], seed=seed, replicates=draws)
    pooled = pd.DataFrame(
        [
            (
                method, one.value, one.lower, one.upper, less.value, less.lower, less.upper,
                sign_flip_p(right[IQAGPT] - right[method]) if method != IQAGPT else np.nan,
            )
            for method, one, less in zip(tables, values, paired, strict=True)
        ],
        columns=["method", "value", "lower", "upper", "difference", "difference_lower", "difference_upper", "p"],
    )  # fmt: skip
    family = pooled["p"].notna() & ~pooled["method"].isin(ORACLES)
    pooled.loc[family, "p_holm"] = holm(pooled.loc[family, "p"].to_numpy())
    return pooled


def _read(root: Path, path: str, rev: str) -> str:
    from dvc.api import read

    return read(path, repo=str(root), rev=rev, encoding="utf-8")


def _everyone(root: Path, rev: str) -> frozenset[str]:
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexError
    from scmrepo.exceptions import SCMError

    try:
        split = pd.read_csv(io.StringIO(_read(root, _SPLIT, rev)), dtype=str)
        return frozenset(split.loc[split["split"] != PRETRAIN, "patient_id"])
    except (DvcException, SCMError, DataIndexError, OSError, KeyError, ValueError):
        return frozenset()


def _patients(text: str) -> pd.DataFrame:
    table = pd.read_csv(io.StringIO(text), dtype={"patient_id": str, "method": str})
    missing = {"method", "patient_id", "images", *KEYS} - set(table.columns)
    if missing:
        raise ValueError(f"{_PATIENTS} lacks {', '.join(sorted(missing))}")
    return table


def _other_params(text: str) -> dict[str, Any]:
    params = yaml.safe_load(text)
    return params | {"split": {key: value for key, value in params["split"].items() if key != "fold"}}
