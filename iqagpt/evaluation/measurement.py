"""All numbers of all methods on one split, with intervals, and the content of the metrics files.

`collect` makes one coefficient for every number; `interval_table` puts intervals on them; `metrics_of` and `val_metrics`
shape them for ``metrics/evaluate.json`` (rule 7 of the architecture).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from iqagpt.agreement.bootstrap import intervals
from iqagpt.criteria import KEYS
from iqagpt.evaluation.audits import guess_estimates
from iqagpt.evaluation.calibration import calibration_errors, calibration_estimates
from iqagpt.evaluation.comparison import SHUFFLED, Comparison
from iqagpt.evaluation.estimates import MEAN, Estimates, mean_of, paper_estimates, patients_of, ratio, text_estimates
from iqagpt.evaluation.ordinal import LESION, lesion_estimates, ordinal_estimates
from iqagpt.evaluation.rivals import PRIMARY
from iqagpt.predictions import expected_scores, labels
from iqagpt.score_metrics import accuracy_by_variant, unparsed_rate

COLUMNS = ("method", "measure", "key", "value", "lower", "upper", "interval", "images", "patients")
#: Entries of the metrics files that fall with quality; all others rise.
LOWER_IS_BETTER = ("brier", "calibration_error", "mae", "mae_expected", "rps", "unparsed")
#: There is an entry for these even where nothing is defined.
_ALWAYS = ("captioning", "accuracy", "plcc", "srocc")


def collect(data: Comparison, text: Mapping[str, np.ndarray]) -> dict[str, Estimates]:
    """Return every number of every method as a coefficient.

    Parameters
    ----------
    data : Comparison
        With at least one image.
    text : mapping
        By method, counts of its captions, from `iqagpt.evaluation.comparison.captioning`.

    Returns
    -------
    dict
        By method; also ``shuffled captions`` (text metrics) and ``reader`` (how far its scores give the variant away).
    """
    truth = data.truth
    found: dict[str, Estimates] = {}
    for method, table in data.predictions.items():
        found[method] = paper_estimates(truth, table, text[method])
        expected = expected_scores(table)
        if expected is not None:
            finer = paper_estimates(truth, expected.assign(unparsed=""), None)
            kept = {place: one for place, one in finer.items() if place[0] != "accuracy"}
            found[method] |= {(f"{measure}_expected", key): one for (measure, key), one in kept.items()}
        found[method] |= ordinal_estimates(truth, table) | lesion_estimates(truth, table)
        found[method] |= calibration_estimates(truth, table)
    found[SHUFFLED] = text_estimates(truth, text[SHUFFLED])
    for method, guess in guess_estimates(truth, data.predictions).items():
        found[method] = found.get(method, {}) | guess
    return {method: only_scored(estimates, data.criteria) for method, estimates in found.items()}


def only_scored(estimates: Estimates, criteria: Sequence[str]) -> Estimates:
    """Leave out what the readers were not asked about, also from the mean accuracy; all else stays as it is."""
    if set(criteria) == set(KEYS):
        return estimates
    absent = set(KEYS) - set(criteria)
    dropped = {("brier", "no_lesion")} if LESION in absent else set()
    kept = {
        (measure, key): one
        for (measure, key), one in estimates.items()
        if key not in absent and (measure, key) not in dropped and not (measure == "lesion" and LESION in absent)
    }
    if ("accuracy", MEAN) in kept:
        kept["accuracy", MEAN] = mean_of([kept["accuracy", key] for key in criteria])
    return kept


def variant_estimates(data: Comparison, method: str) -> Estimates:
    """Return one method's accuracy by variant and criterion (Table 4), the means of rows and columns included."""
    truth = data.truth
    clusters = patients_of(truth)
    right = (labels(truth).to_numpy() == labels(data.predictions[method]).to_numpy()).astype(float)
    variants = list(dict.fromkeys(truth["variant"]))
    found: Estimates = {}
    for variant in variants:
        among = (truth["variant"] == variant).to_numpy().astype(float)
        of_key = {key: right[:, i] for i, key in enumerate(KEYS) if key in data.criteria}
        found |= {(variant, key): ratio(column * among, among, clusters) for key, column in of_key.items()}
        found[variant, MEAN] = mean_of([found[variant, key] for key in data.criteria])
    return found | {(MEAN, key): mean_of([found[v, key] for v in variants]) for key in (*data.criteria, MEAN)}


def interval_table(found: Mapping[str, Estimates], data: Comparison, *, draws: int, seed: int) -> pd.DataFrame:
    """Put 95 % intervals on coefficients, by resampling patients; every method meets the same draws.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: ``interval`` is the kind (``bca``, ``percentile``, ``none``), ``images`` those that count,
        ``patients`` theirs. Missing where undefined.
    """
    clusters = patients_of(data.truth)
    rows = []
    for method, estimates in found.items():
        made = intervals(list(estimates.values()), seed=seed, replicates=draws)
        rows += [
            (
                method, *place, one.value, one.lower, one.upper, one.method,
                int(of.used.sum()), len(np.unique(clusters[of.used])),
            )
            for (place, of), one in zip(estimates.items(), made, strict=True)
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def metrics_of(data: Comparison, table: pd.DataFrame, rivals: pd.DataFrame) -> dict[str, Any]:
    """Return the content of ``metrics/evaluate.json``.

    Parameters
    ----------
    data : Comparison
    table : DataFrame
        From `interval_table`.
    rivals : DataFrame
        From `iqagpt.evaluation.rivals.compare_rivals`.
    """
    metrics = _head(data)
    for method, predictions in data.predictions.items():
        rows = table[table["method"] == method]
        nested = _nest({(row.measure, row.key): row.value for row in rows.itertuples()})
        ends: dict[str, Any] = {}
        for row in rows[rows["lower"].notna()].itertuples():
            ends.setdefault(row.measure, {})[row.key] = {"lower": row.lower, "upper": row.upper}
        metrics[method] = nested | _plain(data, predictions) | {"interval": ends}
    primary = rivals[(rivals["measure"] == PRIMARY[0]) & (rivals["key"] == PRIMARY[1])].set_index("rival")
    for rival, row in primary[["difference", "lower", "upper", "p", "p_holm"]].iterrows():
        metrics[rival]["behind_iqagpt"] = row.dropna().to_dict()
    return metrics


def val_metrics(data: Comparison, text: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the same numbers without intervals and comparisons; only the count where there is no image."""
    if not len(data.truth):
        return {"n_images": 0}
    found = collect(data, text)
    metrics = _head(data)
    for method, predictions in data.predictions.items():
        values = {place: coefficient.value for place, coefficient in found[method].items()}
        metrics[method] = _nest(values) | _plain(data, predictions)
    return metrics


def measure_by_variant(data: Comparison) -> dict[str, Any]:
    """Return the content of ``metrics/by_variant.json``: accuracy by method, variant and criterion."""
    by_method = {
        method: accuracy_by_variant(data.truth, table, data.criteria) for method, table in data.predictions.items()
    }
    return {"score_source": data.score_source} | by_method


def _head(data: Comparison) -> dict[str, Any]:
    patients = int(data.truth["patient_id"].nunique())
    head = {"n_images": len(data.truth), "n_patients": patients, "score_source": data.score_source}
    return head | {"lower_is_better": ", ".join(LOWER_IS_BETTER)}


def _plain(data: Comparison, table: pd.DataFrame) -> dict[str, Any]:
    errors = {key: error for key, error in calibration_errors(data.truth, table).items() if key in data.criteria}
    return {"unparsed": unparsed_rate(table)} | ({"calibration_error": errors} if errors else {})


def _nest(values: Mapping[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    nested: dict[str, dict[str, float]] = {measure: {} for measure in _ALWAYS}
    for (measure, key), value in values.items():
        if np.isfinite(value):
            nested.setdefault(measure, {})[key] = float(value)
    return nested
