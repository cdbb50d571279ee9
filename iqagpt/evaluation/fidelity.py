"""PSNR, SSIM and RMSE against NDCT beside the reader's scores: how far objective and subjective quality agree.

The numbers come from ``data/variants/fidelity.csv``, one row for each image but NDCT, which is its own reference. They need
the reference, which no rival is given: a bound, not a rival.

Notes
-----
Not stated in the paper, which claims to join both kinds of quality and prints no such correlation.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from iqagpt.agreement.bootstrap import intervals
from iqagpt.artifacts import open_artifact
from iqagpt.criteria import KEYS
from iqagpt.evaluation.estimates import patients_of, pearson, spearman

#: Higher is better for ``psnr_db`` and ``ssim``, lower for ``rmse_hu``.
MEASURES = ("psnr_db", "ssim", "rmse_hu")
TABLE = "fidelity"


def load_fidelity(variants: Path, truth: pd.DataFrame) -> pd.DataFrame | None:
    """Read how near the images of a split are to NDCT.

    Parameters
    ----------
    variants : path
        Artifact of that kind.
    truth : DataFrame
        With ``image_id``.

    Returns
    -------
    DataFrame or None
        `MEASURES`, rows as in `truth`, missing for NDCT; None for variants without a reference.
    """
    source = open_artifact(variants, "variants")
    if not (source.path / f"{TABLE}.csv").is_file():
        return None
    table = source.table(TABLE).set_index("image_id")
    return table.reindex(truth["image_id"])[list(MEASURES)].astype(float).reset_index(drop=True)


def by_variant(truth: pd.DataFrame, fidelity: pd.DataFrame) -> pd.DataFrame:
    """Average over the images of each variant: ``variant``, `MEASURES`, ``images``."""
    grouped = fidelity.assign(variant=truth["variant"].to_numpy(), images=1).dropna().groupby("variant", sort=False)
    return grouped.agg(dict.fromkeys(MEASURES, "mean") | {"images": "sum"}).reset_index()


def correlation_table(truth: pd.DataFrame, fidelity: pd.DataFrame, *, draws: int, seed: int) -> pd.DataFrame:
    """Correlate each measure with the reader's scores of each criterion, over all images but NDCT.

    Returns
    -------
    DataFrame
        ``fidelity, criterion, measure`` (``plcc``, ``srocc``), ``value, lower, upper, images``. Negative where the measure
        agrees with the reader for PSNR and SSIM, positive for RMSE, because a score of 1 is best. Lesion conspicuity: of
        images with a lesion.
    """
    clusters = patients_of(truth)
    places: Mapping = {
        (name, key, measure): of(
            truth[key].to_numpy(dtype=float, na_value=np.nan), fidelity[name].to_numpy(dtype=float), clusters
        )
        for name in MEASURES
        for key in KEYS
        for measure, of in (("plcc", pearson), ("srocc", spearman))
    }
    found = intervals(list(places.values()), seed=seed, replicates=draws)
    rows = [
        (*place, one.value, one.lower, one.upper, int(coefficient.used.sum()))
        for (place, coefficient), one in zip(places.items(), found, strict=True)
    ]
    return pd.DataFrame(rows, columns=["fidelity", "criterion", "measure", "value", "lower", "upper", "images"])
