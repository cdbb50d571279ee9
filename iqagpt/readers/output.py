"""What the stage ``read`` writes beside the measures: scores, agreement, and their distribution (paper, Fig. 2)."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from iqagpt.agreement.summary import agreement_metrics
from iqagpt.artifacts import ArtifactWriter
from iqagpt.criteria import KEYS
from iqagpt.readers.agreement import describe_scores, reader_agreement
from iqagpt.readers.consensus import consensus_scores, own_readings
from iqagpt.readers.distribution import distribution_table


def write_readers(
    writer: ArtifactWriter, scores: pd.DataFrame, *, seed: int, criteria: Sequence[str] = KEYS
) -> pd.DataFrame | None:
    """Fill ``data/scores``: the manifest, ``agreement.csv`` if readers are several, ``distribution.csv``.

    Parameters
    ----------
    writer : ArtifactWriter
    scores : DataFrame
        From `iqagpt.readers.consensus.add_consensus`.
    seed : int
        Of the bootstrap.
    criteria : sequence of str
        Those that the readers were asked about.

    Returns
    -------
    DataFrame or None
        The table of agreement; None for a single reader.
    """
    source = scores["score_source"].iloc[0]
    writer.info["score_source"] = source
    writer.info["readers"] = sorted(own_readings(scores)["reader"].unique())
    if set(criteria) != set(KEYS):
        writer.info["criteria"] = list(criteria)
    writer.manifest(scores)
    writer.table("distribution", distribution_table(scores))
    agreement = reader_agreement(scores, seed=seed, criteria=criteria)
    if agreement is not None:
        writer.table("agreement", agreement)
    return agreement


def describe_readers(
    scores: pd.DataFrame, agreement: pd.DataFrame | None, criteria: Sequence[str] = KEYS
) -> dict[str, Any]:
    """Return the metrics of the consensus, the number of readers, and how far they agree if they are several."""
    own = own_readings(scores)
    found = {"readers": int(own["reader"].nunique()), **describe_scores(consensus_scores(scores), criteria)}
    return found if agreement is None else found | {"agreement": agreement_metrics(agreement)}
