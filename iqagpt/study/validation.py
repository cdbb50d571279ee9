"""A model beside the readers of a study: predictions first, then correlations with the mean reader.

Beside the model stand two yardsticks: a bare measure of noise, which any learned model has to beat, and how far the readers
agree among themselves, which bounds what a model can reach.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from tqdm import tqdm

from iqagpt.agreement.bootstrap import FEW
from iqagpt.baselines.noise_sd import noise_sd
from iqagpt.criteria import KEYS
from iqagpt.ct import AIR_HU
from iqagpt.data.matrix import fit_matrix
from iqagpt.errors import InputError
from iqagpt.models import Model
from iqagpt.study.correlations import (
    SCOPES,
    STATISTICS,
    Estimate,
    Pair,
    Sampled,
    draw_sets,
    mean_correlations,
)
from iqagpt.study.study import Study

MODEL, NOISE_SD, GAIN = "model", "noise SD", "model minus noise SD"
READERS, READER = "two readers (mean)", "a reader and the others' mean (mean)"
#: Scales of the two Gaussians between which noise is measured, as baseline.noise_sd has them.
NOISE_BANDS_PX = (1.4, 2.8)
FEWEST_DRAWS = 2000
_SCORED_TOGETHER = 32


@dataclass(frozen=True, slots=True)
class Row:
    """How two sides agree on one criterion.

    Attributes
    ----------
    criterion, who : str
    n_images : int
        Images that all of its correlations rest on, the fewest of them where it is a mean.
    estimates : dict
        By scope and statistic.
    """

    criterion: str
    who: str
    n_images: int
    estimates: dict[tuple[str, str], Estimate]


@dataclass(frozen=True)
class Validation:
    """What came out.

    Attributes
    ----------
    study : Study
    model : Model
    predictions : DataFrame
        One row per image: ``image, slice, set``, the model's scores 1 (best) to 4 (worst), ``caption`` and ``unparsed`` where the
        model writes captions, ``noise_sd_hu``, and ``readers_<criterion>``, the mean reader, higher is worse.
    rows : list of Row
    notes : tuple of str
        For the user to see.
    draws, seed : int
        Of the bootstrap.
    """

    study: Study
    model: Model
    predictions: pd.DataFrame
    rows: list[Row]
    notes: tuple[str, ...]
    draws: int
    seed: int


def validate(study: Study, model: Model, *, draws: int = FEWEST_DRAWS, seed: int = 0) -> Validation:
    """Score a study's images and compare with its readers.

    Parameters
    ----------
    study : Study
    model : Model
    draws : int
        Bootstrap draws of sets, at least 2000.
    seed : int
        Of the draws.

    Raises
    ------
    InputError
        If an image cannot be read, or `draws` is too small.
    """
    if draws < FEWEST_DRAWS:
        raise InputError(f"draws: expected at least {FEWEST_DRAWS}, got {draws}")
    # The model sees images only: no score is looked up before all predictions are made.
    predictions, notes = predict(study, model)
    means = study.mean_reader()
    predictions = predictions.assign(**{f"readers_{key}": means[key].to_numpy() for key in study.criteria})
    members, copies = draw_sets(study.images["set"], draws=draws, seed=seed)
    rows = [row for key in study.criteria for row in _compare(study, predictions, key, members, copies)]
    n_sets = copies.shape[1]
    if n_sets < FEW:
        notes.append(f"only {n_sets} set(s): intervals, which come from drawing sets, say little")
    notes += _left_out(study, predictions)
    return Validation(study, model, predictions, rows, (*study.notes, *notes), draws, seed)


def predict(study: Study, model: Model) -> tuple[pd.DataFrame, list[str]]:
    """Score every image of a study without its readers' scores.

    Returns
    -------
    table : DataFrame
        As `Validation.predictions`, without the readers.
    notes : list of str
        What was done to images, and what they cannot tell.
    """
    parts, noise, noted = [], [], Counter()
    for images_hu in _batches(_fitted(study, model, noted)):
        parts.append(model.scorer.score(images_hu))
        noise += [noise_sd(np.clip(image, *model.scorer.window_hu), NOISE_BANDS_PX) for image in images_hu]
    table = pd.concat(parts, ignore_index=True)
    head = study.images[["image", "slice", "set"]]
    columns = [name for name in (*KEYS, "caption", "unparsed") if name in table]
    table = pd.concat([head.reset_index(drop=True), table[columns]], axis=1).assign(noise_sd_hu=noise)
    return table, [f"{text}: {count} image(s)" for text, count in sorted(noted.items())]


def _fitted(study: Study, model: Model, noted: Counter[str]) -> Iterator[np.ndarray]:
    side, window_hu = model.scorer.image_size, model.scorer.window_hu
    bar = tqdm(study.read_images(), total=len(study.images), desc="images", unit="image", disable=None)
    for image_hu, source in bar:
        noted.update(source.notes)
        if source.window_hu and (source.window_hu[0] > window_hu[0] or source.window_hu[1] < window_hu[1]):
            noted[f"HU outside {list(source.window_hu)} are lost, and the model looks at {list(window_hu)}"] += 1
        if side is not None and image_hu.shape != (side, side):
            noted[f"cropped or padded with air about the centre to {side} x {side}, not resampled"] += 1
            image_hu = fit_matrix(image_hu, side, AIR_HU)
        yield image_hu


def _batches(images_hu: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    batch: list[np.ndarray] = []
    for image_hu in images_hu:
        batch.append(image_hu)
        if len(batch) == _SCORED_TOGETHER:
            yield batch
            batch = []
    if batch:
        yield batch


def _compare(
    study: Study, predictions: pd.DataFrame, criterion: str, members: np.ndarray, copies: np.ndarray
) -> list[Row]:
    truth = _floats(predictions[f"readers_{criterion}"])
    sides: dict[str, list[Pair]] = {
        MODEL: [(_floats(predictions[criterion]), truth)],
        NOISE_SD: [(_floats(predictions["noise_sd_hu"]), truth)],
        **_reader_pairs(study.by_reader(criterion)),
    }
    found = {who: mean_correlations(pairs, members, copies) for who, pairs in sides.items()}
    # On the images that both see, and on the same draws.
    seen = np.isfinite(sides[MODEL][0][0])
    noise = mean_correlations([(np.where(seen, sides[NOISE_SD][0][0], np.nan), truth)], members, copies)
    gain = {key: found[MODEL][key] - noise[key] for key in noise}
    rows = [_row(criterion, who, pairs, found[who]) for who, pairs in sides.items()]
    rows.insert(2, _row(criterion, GAIN, sides[MODEL], gain))
    return rows


def _reader_pairs(readings: pd.DataFrame) -> dict[str, list[Pair]]:
    """Pair readers with each other, and each with the mean of the others."""
    values = {name: _floats(readings[name]) for name in readings}
    if len(values) < 2:
        return {}
    pairs = list(combinations(values.values(), 2))
    against = [(values[name], _floats(readings.drop(columns=name).mean(axis=1))) for name in values]
    return {READERS: pairs, READER: against}


def _row(criterion: str, who: str, pairs: list[Pair], found: dict[tuple[str, str], Sampled]) -> Row:
    n_images = min(int((np.isfinite(x) & np.isfinite(y)).sum()) for x, y in pairs)
    estimates = {(scope, name): found[scope, name].estimate() for scope in SCOPES for name in STATISTICS}
    return Row(criterion, who, n_images, estimates)


def _floats(column: pd.Series) -> np.ndarray:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _left_out(study: Study, predictions: pd.DataFrame) -> list[str]:
    notes = []
    for key in study.criteria:
        values = _floats(predictions[key])
        missing = int(np.isnan(values).sum())
        if missing:
            notes.append(
                f"{key}: the model gave no score (no lesion, or not readable) for {missing} image(s), left out"
            )
        if missing < len(values) and np.ptp(values[np.isfinite(values)]) == 0:
            notes.append(f"{key}: the model gave every image the same score: its correlations are undefined")
        for reader, given in study.by_reader(key).items():
            if given.nunique() < 2:
                notes.append(f"{key}: reader '{reader}' does not tell images apart: no inter-reader ceiling")
    return notes
