"""The graded qualities of every slice: NDCT, LDCT, MAP-NN d = 1.., RED-CNN; and how near each is to NDCT (paper 2.1).

Stage ``denoise`` calls `write_variants`. Further variants, which ``denoise.extra`` and ``denoise.folder`` name, stand beside
the paper's and are treated alike. Peak signal-to-noise ratio, structural similarity and root mean squared error are taken
inside the display window, its width being the data range; they depend on both, so the window stands beside them.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from skimage.metrics import structural_similarity
from torch import nn
from tqdm import tqdm

from iqagpt.artifacts import Artifact, ArtifactWriter
from iqagpt.ct import STORED_RANGE_HU, apply_window
from iqagpt.denoise.fitting import denoise_slice, load_denoiser
from iqagpt.denoise.further import Further
from iqagpt.denoise.map_nn import MapNN
from iqagpt.denoise.red_cnn import RedCNN

logger = logging.getLogger(__name__)

#: One row for each variant of a slice: the slice's row, the variant's name and the numbers of `compare`.
Fidelity = list[dict[str, Any]]


def write_variants(
    lesions: Artifact, denoisers: Path, further: Further, writer: ArtifactWriter
) -> dict[str, dict[str, float]]:
    """Denoise every slice and write all its variants.

    Parameters
    ----------
    lesions : Artifact
        Slices, from stage ``simulate``.
    denoisers : Path
        Folder with the artifacts ``map_nn`` and ``red_cnn``.
    further : Further
        Variants beside the paper's, from `iqagpt.denoise.further.open_further`.
    writer : ArtifactWriter
        Of a ``variants`` artifact: ``<variant>.npy`` and ``lesion_mask.npy``, (N, H, W), and a manifest with one
        row per image; ``fidelity.csv``, one row per image but NDCT: the numbers of `compare`.

    Returns
    -------
    dict
        By variant other than NDCT, the mean over slices of ``psnr_db``, ``ssim`` and ``rmse_hu``; and ``window_hu``.

    Raises
    ------
    ArtifactError
        If a denoiser is missing, altered, or made for another window.
    InputError
        If a function or an image of the user's cannot be used.
    """
    lower, upper = (float(value) for value in lesions.info["window_hu"])
    models = [
        load_denoiser(denoisers / model_class.name, model_class, window_hu=(lower, upper))
        for model_class in (MapNN, RedCNN)
    ]
    shape = lesions.array("ndct").shape
    own = _write_own(further, shape, writer)
    arrays: dict[str, np.ndarray] = {}
    fidelity: Fidelity = []
    for row, images, near in _each_slice(lesions, models, further, own):
        for variant, image_hu in images.items():
            if variant not in arrays:
                arrays[variant] = own[variant] if variant in own else writer.array(variant, shape, np.int16)
            if variant not in own:
                arrays[variant][row] = image_hu
        fidelity += near
    writer.array("lesion_mask", shape, np.uint8)[:] = lesions.array("lesion_mask")
    writer.manifest(_manifest(lesions.manifest, list(arrays)))
    writer.info |= {
        "window_hu": [lower, upper], "variants": list(arrays), "data_source": lesions.info["data_source"],
    }  # fmt: skip
    table = _with_ids(pd.DataFrame(fidelity), lesions.manifest)
    writer.table("fidelity", table)
    means = table.drop(columns=["image_id", "slice_id"]).groupby("variant", sort=False).mean()
    metrics = {variant: row.dropna().to_dict() for variant, row in means.iterrows()}
    logger.info("%d slices, %d variants each", shape[0], len(arrays))
    return {**metrics, "window_hu": {"lower": lower, "upper": upper}}


def compare(image_hu: np.ndarray, reference_hu: np.ndarray, window_hu: tuple[float, float]) -> dict[str, float]:
    """Measure how near an image is to a reference inside a window.

    Parameters
    ----------
    image_hu, reference_hu : ndarray, (H, W), HU
        H and W at least 11.
    window_hu : (lower, upper)
        Both images are clipped to it; its width is the data range.

    Returns
    -------
    dict of str to float
        ``rmse_hu`` (lower is better), ``psnr_db``, ``ssim`` (higher is better). SSIM has a Gaussian window of 11
        px, sigma 1.5, over the valid region. PSNR is NaN for equal images.
    """
    lower, upper = window_hu
    image, reference = apply_window(image_hu, window_hu), apply_window(reference_hu, window_hu)
    rmse = float(np.sqrt(np.mean((image - reference).astype(np.float64) ** 2)))
    ssim = structural_similarity(
        reference, image, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return {
        "psnr_db": float(-20.0 * np.log10(rmse)) if rmse > 0 else float("nan"),
        "rmse_hu": rmse * (upper - lower),
        "ssim": float(ssim),
    }


def _write_own(further: Further, shape: tuple[int, ...], writer: ArtifactWriter) -> dict[str, np.ndarray]:
    """Write the user's own variants: first of all, so that mistakes show at once.

    One slice after another, in order: nobody knows whether a function of the user's may run in several threads.
    """
    own = {name: writer.array(name, shape, np.int16) for name in further.own}
    for name, array in own.items():
        for row in tqdm(range(shape[0]), name, unit="slice", disable=None):
            array[row] = further.own[name].image(row)
    return own


def _each_slice(
    lesions: Artifact, models: list[nn.Module], further: Further, own: dict[str, np.ndarray]
) -> Iterator[tuple[int, dict[str, np.ndarray], Fidelity]]:
    """Yield every slice's row, its variants, (H, W), int16, HU, and how near each is to NDCT.

    On a CPU several slices are denoised at once, one thread each: a slice is too small for threads to share it well.
    """
    ndct, ldct = lesions.array("ndct"), lesions.array("ldct")
    lower, upper = lesions.info["window_hu"]

    def denoise(row: int) -> tuple[int, dict[str, np.ndarray], Fidelity]:
        images = {"ndct": np.asarray(ndct[row]), "ldct": np.asarray(ldct[row])}
        for model in models:
            images |= denoise_slice(model, images["ldct"])
        paper = dict(images)
        for name in further.names:
            images[name] = np.asarray(own[name][row]) if name in own else _to_stored(further.filters[name](paper))
        near = [
            {"row": row, "variant": name, **compare(images[name], images["ndct"], (lower, upper))}
            for name in images
            if name != "ndct"
        ]
        return row, images, near

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield from tqdm(pool.map(denoise, range(len(ndct))), "denoise", len(ndct), unit="slice", disable=None)
    finally:
        torch.set_num_threads(threads)


def _to_stored(image_hu: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image_hu), *STORED_RANGE_HU).astype(np.int16)


def _with_ids(fidelity: pd.DataFrame, slices: pd.DataFrame) -> pd.DataFrame:
    """Name the images of a table of fidelity."""
    slice_id = fidelity.pop("row").map(slices.set_index("row")["slice_id"])
    fidelity.insert(0, "image_id", slice_id + "_" + fidelity["variant"])
    fidelity.insert(1, "slice_id", slice_id)
    return fidelity


def _manifest(slices: pd.DataFrame, variants: list[str]) -> pd.DataFrame:
    """Repeat the slices' manifest for every variant, variant-major."""
    tables = []
    for variant in variants:
        table = slices.drop(columns="row")
        table.insert(0, "image_id", table["slice_id"] + f"_{variant}")
        table.insert(3, "variant", variant)
        table.insert(4, "row", slices["row"])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
