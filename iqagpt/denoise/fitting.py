"""Fit a denoiser on patches of the training patients, or import its published weights; keep and load the result.

Stage ``denoisers`` calls `make_denoiser` with the module of one denoiser (``map_nn`` or ``red_cnn``), so that
neither is imported here and a change of one does not rerun the other. Source: paper 2.1 (both denoisers are taken
as published).
"""

import contextlib
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from iqagpt.artifacts import Artifact, ArtifactWriter, open_artifact
from iqagpt.config import given_file
from iqagpt.device import pick_device
from iqagpt.errors import ArtifactError, ParamsError
from iqagpt.seeding import item_rng
from iqagpt.weights import load_weights, save_weights

logger = logging.getLogger(__name__)

KIND = "denoiser"
#: Rows of the curve: losses are averaged over, and validation is measured after, each of so many parts of a fit.
CURVE_ROWS = 10
VAL_PATCHES = 32
#: A patch with less tissue is drawn again, at most so many times.
MIN_TISSUE, TISSUE_HU, MAX_DRAWS = 0.25, -200, 8

M = TypeVar("M", bound=nn.Module)
Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]


class Settings(Protocol):
    """What every denoiser's params section has."""

    weights: str
    steps: int
    batch_size: int
    patch_size: int
    seed: int


class Method(Protocol):
    """A denoiser's module: ``iqagpt.denoise.map_nn`` or ``iqagpt.denoise.red_cnn``."""

    PARAMS: type
    MODEL: type[Any]
    FIT: type[Any]

    def import_weights(self, file: Path) -> tuple[dict[str, torch.Tensor], str]:
        """Read published weights, and the sha256 of their file."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Slices to draw patches from.

    Attributes
    ----------
    ldct, ndct : ndarray, (N, H, W), int16, HU
        May be memory-mapped.
    rows : ndarray, (n,), int
        The slices to use.
    window_hu : (lower, upper)
        Where errors are measured.
    """

    ldct: np.ndarray
    ndct: np.ndarray
    rows: np.ndarray
    window_hu: tuple[float, ...]

    def patches(self, count: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return `count` LDCT patches and their NDCT patches, (count, size, size), int16, HU, at random places.

        Notes
        -----
        Not stated in the paper; a patch that is nearly all air is drawn again, because it teaches nothing.
        """
        ldct = np.empty((count, size, size), np.int16)
        ndct = np.empty_like(ldct)
        height, width = self.ndct.shape[1:]
        for index in range(count):
            for _ in range(MAX_DRAWS):
                row = rng.choice(self.rows)
                top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
                place = (row, slice(top, top + size), slice(left, left + size))
                ndct[index] = self.ndct[place]
                if (ndct[index] > TISSUE_HU).mean() >= MIN_TISSUE:
                    break
            ldct[index] = self.ldct[place]
        return ldct, ndct


def make_denoiser(
    method: Method, settings: Settings, lesions: Artifact, split: Artifact, writer: ArtifactWriter
) -> None:
    """Fit a denoiser, or import its published weights, and write it.

    Parameters
    ----------
    method : module
        ``iqagpt.denoise.map_nn`` or ``iqagpt.denoise.red_cnn``.
    settings : dataclass
        The module's ``PARAMS``.
    lesions, split : Artifact
        Pairs, and which patients may be fitted on. Only ``info`` is read when weights are imported.
    writer : ArtifactWriter
        Of a ``denoiser`` artifact: weights, ``curve.csv`` (losses; no rows for imported weights), configuration.

    Raises
    ------
    InputError, ParamsError, ArtifactError
        If the weights cannot be used, patches are larger than slices, or no training slices are left.
    """
    window_hu = tuple(float(value) for value in lesions.info["window_hu"])
    model = initialise(method, settings, window_hu)
    weights = given_file(settings.weights)
    if weights:
        state, writer.info["published_sha256"] = method.import_weights(weights)
        model.load_state_dict(state)
        curve = pd.DataFrame({"step": [], "loss": []})
    else:
        train, val = (select_pairs(lesions, split, part) for part in ("train", "val"))
        if not len(train.rows):
            raise ArtifactError(f"{split.path}: no slice of {lesions.path} has split 'train'; run dvc repro")
        curve = fit(model, method, settings, train, val)
    save_denoiser(model, writer)
    writer.info["source"] = "published" if weights else "fitted"
    writer.info["window_hu"] = list(window_hu)
    writer.table("curve", curve)


def initialise(method: Method, settings: Settings, window_hu: tuple[float, ...]) -> nn.Module:
    """Build a network with random weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return method.MODEL.from_params(settings, window_hu)


def select_pairs(lesions: Artifact, split: Artifact, part: str) -> Pairs:
    """Return the slices of one part (``train``, ``val`` or ``test``) of the split."""
    table = lesions.manifest
    parts = split.manifest.set_index("slice_id")["split"]
    rows = table["row"][table["slice_id"].map(parts) == part].to_numpy(dtype=int)
    return Pairs(lesions.array("ldct"), lesions.array("ndct"), rows, tuple(lesions.info["window_hu"]))


def fit(model: nn.Module, method: Method, settings: Settings, train: Pairs, val: Pairs) -> pd.DataFrame:
    """Fit a network in place, on the device of `pick_device`.

    Parameters
    ----------
    model : Module
        The method's ``MODEL``.
    method, settings
        See `make_denoiser`.
    train, val : Pairs
        `val` may have no rows.

    Returns
    -------
    DataFrame
        Columns ``step``, ``loss`` and its parts (means since the row before), ``val_rmse_hu`` if there are val
        slices.

    Raises
    ------
    ParamsError
        If patches are larger than slices, or the loss stops being finite.
    """
    side = min(train.ndct.shape[1:])
    if settings.patch_size > side:
        raise ParamsError(
            f"denoisers.{model.name}.patch_size: {settings.patch_size} is more than the slices' {side} px; lower it"
        )
    device = pick_device()
    model.to(device, memory_format=torch.channels_last)
    logger.info("fit %s on %d slices, %d held out, on %s", model.name, len(train.rows), len(val.rows), device)
    with deterministic(settings.seed):
        fitter = method.FIT(model, settings)
        batches = _batches(model, train, settings)
        held_out = (
            val.patches(VAL_PATCHES, settings.patch_size, item_rng(settings.seed, "val")) if len(val.rows) else ()
        )
        curve, losses = [], []
        for step in tqdm(range(settings.steps), desc=f"fit {model.name}", unit="step", disable=None):
            losses.append(fitter.step(batches, step))
            if (step + 1) % math.ceil(settings.steps / CURVE_ROWS) == 0 or step + 1 == settings.steps:
                curve.append({"step": step + 1, **_mean_losses(losses, model.name)})
                losses = []
                if held_out:
                    curve[-1]["val_rmse_hu"] = patch_rmse_hu(model, *held_out, window_hu=val.window_hu)
    return pd.DataFrame(curve)


def patch_rmse_hu(model: nn.Module, ldct: np.ndarray, ndct: np.ndarray, *, window_hu: tuple[float, ...]) -> float:
    """Return the root mean squared error of denoised patches inside a window.

    Parameters
    ----------
    model : Module
        A denoiser, on any device.
    ldct, ndct : ndarray, (B, P, P), int16, HU
    window_hu : (lower, upper)
        Both images are clipped to it first.
    """
    with torch.inference_mode():
        denoised = model.to_hu(model(_to_tensor(model, ldct)).squeeze(1).cpu().numpy())
    difference = np.clip(denoised.astype(np.float32), *window_hu) - np.clip(ndct, *window_hu)
    return float(np.sqrt(np.mean(difference.astype(np.float64) ** 2)))


@contextlib.contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed PyTorch's global generator and ask for deterministic algorithms, both only inside the block."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def save_denoiser(model: nn.Module, writer: ArtifactWriter) -> None:
    """Write a denoiser's weights, their sha256 and its configuration into an artifact."""
    save_weights(writer, model)
    writer.info |= {"name": model.name, **model.config()}
    writer.info["parameters"] = sum(parameter.numel() for parameter in model.parameters())


def load_denoiser(path: Path, model_class: type[M], *, window_hu: tuple[float, ...]) -> M:
    """Load a denoiser that `make_denoiser` wrote, for inference on the device of `pick_device`.

    Parameters
    ----------
    path : Path
        The ``denoiser`` artifact.
    model_class : type
        `MapNN` or `RedCNN`.
    window_hu : (lower, upper)
        The window of the images to denoise; must be the one that the denoiser was made for.

    Raises
    ------
    ArtifactError
        If the artifact is missing, altered, of another denoiser or for another window.
    """
    artifact = open_artifact(path, KIND)
    if artifact.info.get("name") != model_class.name:
        raise ArtifactError(
            f"{path}: holds '{artifact.info.get('name')}', expected '{model_class.name}'; run dvc repro"
        )
    if tuple(artifact.info["window_hu"]) != tuple(window_hu):
        raise ArtifactError(
            f"{path}: made for the window {artifact.info['window_hu']} HU, the slices have {list(window_hu)} HU; "
            "run dvc repro"
        )
    model = model_class.from_config(artifact.info)
    load_weights(artifact, model)
    # Kernels stored channels last make a CPU a quarter faster.
    return model.to(pick_device(), memory_format=torch.channels_last).eval()


def denoise_slice(model: nn.Module, ldct: np.ndarray) -> dict[str, np.ndarray]:
    """Denoise one whole slice.

    Parameters
    ----------
    model : Module
        `MapNN` or `RedCNN`, from `load_denoiser`.
    ldct : ndarray, (H, W), int16, HU

    Returns
    -------
    dict of str to ndarray, (H, W), int16, HU
        By variant: ``map_nn_d1`` .. or ``red_cnn``.
    """
    with torch.inference_mode():
        images = model.variants(_to_tensor(model, ldct[None]))
    return {variant: model.to_hu(image[0, 0].cpu().numpy()) for variant, image in images.items()}


def _batches(model: nn.Module, pairs: Pairs, settings: Settings) -> Batches:
    rng = item_rng(settings.seed, "train")
    while True:
        ldct, ndct = pairs.patches(settings.batch_size, settings.patch_size, rng)
        yield _to_tensor(model, ldct), _to_tensor(model, ndct)


def _to_tensor(model: nn.Module, images_hu: np.ndarray) -> torch.Tensor:
    """Return (B, 1, H, W) in the network's scale, on its device."""
    device = next(model.parameters()).device
    return torch.from_numpy(model.normalise(images_hu))[:, None].to(device)


def _mean_losses(losses: list[dict[str, float]], name: str) -> dict[str, float]:
    means = {key: sum(row[key] for row in losses) / len(losses) for key in losses[0]}
    if not all(math.isfinite(value) for value in means.values()):
        raise ParamsError(f"denoisers.{name}.lr: the loss became {means['loss']}; use a lower learning rate")
    return means
