"""Does Grad-CAM point at what a word is about?  A check of Fig. 9 on slices whose lesion is known.

Two questions with a number each. Do the words on the lesion draw on the patches that touch it more than those patches' share of the
area? And is the map of "noise" flatter than that of the lesion, as the paper reads its figure (3.3)?
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from iqagpt.batches import in_batches
from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.criteria import KEYS
from iqagpt.explain.grad_cam import word_maps
from iqagpt.scored_images import ScoredImages

LESION, NOISE = "lesion_conspicuity", "noise"
_TOGETHER = 8


def measure_maps(
    model: Captioner,
    tokenizer: CaptionTokenizer,
    images: ScoredImages,
    captions: dict[str, list[str]],
    lesion_mask: np.ndarray,
) -> pd.DataFrame:
    """Measure the maps of every criterion on images with a lesion.

    Parameters
    ----------
    model, tokenizer
        As for `iqagpt.explain.grad_cam`.
    images : ScoredImages
        N images, each with a lesion; N may be 0.
    captions : dict
        By source (``reader``: whose words say that there is a lesion; ``iqagpt``: whose words may not), N captions.
    lesion_mask : ndarray, (slices, H, W), uint8
        Rows as in ``images.table["row"]``.

    Returns
    -------
    DataFrame
        One row per image, source and criterion that the caption states: ``image_id, patient_id, variant, caption_of, criterion,
        area_share`` (of the patches that touch the lesion, in the image), ``share`` (of the attribution there), ``flatness``
        (see `flatness`), all 0 to 1.
    """
    rows: list[dict[str, Any]] = []
    batches = in_batches(len(images), _TOGETHER) if len(images) else []
    device = next(model.parameters()).device
    for indices in tqdm(batches, "attribution", unit="batch", disable=None):
        batch = torch.from_numpy(images.batch(indices)).to(device)
        for source, texts in captions.items():
            found = word_maps(model, tokenizer, batch, [texts[i] for i in indices])
            for index, words in zip(indices, found, strict=True):
                image = images.table.iloc[index]
                maps = {key: words.of_criterion(key) for key in words.words.decisions}
                facts = {name: image[name] for name in ("image_id", "patient_id", "variant")} | {"caption_of": source}
                rows += [facts | row for row in _measure(maps, lesion_mask[image["row"]])]
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = ["image_id", "patient_id", "variant", "caption_of", "criterion", "area_share", "share", "flatness"]


def _measure(maps: dict[str, np.ndarray], mask: np.ndarray) -> Iterator[dict[str, Any]]:
    for key, of_criterion in maps.items():
        touching = touched_patches(mask, of_criterion.shape[0])
        yield {
            "criterion": key,
            "area_share": float(touching.mean()),
            "share": float(of_criterion[touching].sum(dtype=np.float64)),
            "flatness": flatness(of_criterion),
        }


def touched_patches(mask: np.ndarray, side: int) -> np.ndarray:
    """Return which of side x side patches hold a pixel of a mask (H, W), bool."""
    patch = mask.shape[0] // side
    return mask.reshape(side, patch, side, patch).max((1, 3)) > 0


def flatness(weights: np.ndarray) -> float:
    """Return the entropy of a map that sums to 1 over that of an equal one: 1 is the same everywhere, 0 a single patch."""
    positive = weights[weights > 0].astype(np.float64)
    return float(-(positive * np.log(positive)).sum() / np.log(weights.size)) if weights.size > 1 else 1.0


def summarise_maps(table: pd.DataFrame) -> dict[str, Any]:
    """Return the check's metrics.

    Parameters
    ----------
    table : DataFrame
        From `measure_maps`.

    Returns
    -------
    dict
        By source of the caption: ``images``, ``patients``; by criterion mean ``share``, ``flatness``, and ``gain``, the mean share
        over the mean area share (1: the map ignores the lesion); ``area_share``; ``above_area``, the part of the images
        in which the lesion's words draw on its patches more than their area; ``noise_flatter``, in which the map of noise is
        flatter than that of the lesion. Empty without images.
    """
    found: dict[str, Any] = {}
    for source, part in table.groupby("caption_of", sort=True):
        wide = part.pivot_table(index="image_id", columns="criterion", values="flatness")
        facts: dict[str, Any] = {
            "images": int(part["image_id"].nunique()),
            "patients": int(part["patient_id"].nunique()),
            "area_share": float(part["area_share"].mean()),
        }
        for key in KEYS:
            own = part[part["criterion"] == key]
            if len(own):
                share = float(own["share"].mean())
                gain = share / float(own["area_share"].mean())
                facts[key] = {"share": share, "gain": gain, "flatness": float(own["flatness"].mean())}
        lesion = part[part["criterion"] == LESION]
        if len(lesion):
            facts["above_area"] = float((lesion["share"] > lesion["area_share"]).mean())
        if {NOISE, LESION} <= set(wide):
            both = wide[[NOISE, LESION]].dropna()
            if len(both):
                facts["noise_flatter"] = float((both[NOISE] > both[LESION]).mean())
        found[str(source)] = facts
    return found
