"""Slices at normal and at low dose, from which the builtin CLIP learns what dose is: NDCT and LDCT, else images and noisier copies.

The pipeline's own data hold NDCT and LDCT of every slice. A reader study holds them where two of its qualities are called so, in
capitals or not. Without them dose is said relatively: an image as it is has the normal one.
"""

from typing import Protocol

import numpy as np
import pandas as pd
from scipy import ndimage, optimize

from iqagpt.data.near_duplicates import structure
from iqagpt.scored_images import ScoredImages

NDCT, LDCT = "ndct", "ldct"
#: Noise that a quarter of the dose adds, in units of that at full dose.
QUARTER_DOSE = 3.0**0.5
#: Detail finer than this is where noise is measured, in pixels.
FINE_PX = 2.0
#: Gaussian that ends the ramp of filtered back-projection, in pixels: about that of a soft tissue kernel.
KERNEL_PX = 0.8
#: Images on which the usual noise is measured, at most.
MEASURED = 64


class Doses(Protocol):
    """Slices at two doses.

    Attributes
    ----------
    table : DataFrame
        Rows of the manifest of the variants: the images at normal dose, one for each slice.
    shape : (int, int)
        Rows and columns of an image.
    """

    table: pd.DataFrame
    shape: tuple[int, int]

    def crop(self, index: int, place: tuple[slice, slice], share: float, rng: np.random.Generator) -> np.ndarray:
        """Return part of slice `index`, float32, HU, with `share` of the further noise of the low dose."""


class SlicePairs:
    """NDCT and LDCT of the same slices; see `Doses`.

    Parameters
    ----------
    images : ScoredImages
    ndct, ldct : DataFrame
        Rows of the manifest, at least one; row by row the same slice.
    """

    def __init__(self, images: ScoredImages, ndct: pd.DataFrame, ldct: pd.DataFrame) -> None:
        self.table = ndct
        self._pixels = [images.variants.array(str(part["variant"].iloc[0])) for part in (ndct, ldct)]
        self._rows = [part["row"].astype(int).tolist() for part in (ndct, ldct)]
        self.shape = self._pixels[0].shape[1:]

    def crop(self, index: int, place: tuple[slice, slice], share: float, rng: np.random.Generator) -> np.ndarray:
        """Return NDCT and `share` of what distinguishes LDCT from it."""
        both = zip(self._pixels, self._rows, strict=True)
        ndct, ldct = (np.asarray(pixels[rows[index]][place], np.float32) for pixels, rows in both)
        return ndct + np.float32(share) * (ldct - ndct)


class NoisyCopies:
    """Images as they are, and with as much further noise as a quarter of the dose would give; see `Doses`.

    Parameters
    ----------
    images : ScoredImages
    table : DataFrame
        Rows of the manifest.

    Attributes
    ----------
    added_hu : float
        SD of the further noise, finer than `FINE_PX`.

    Notes
    -----
    The noise of full dose is the usual one of the images, not each image's own: denoised ones have hardly any left. What is
    added is equally strong everywhere.
    """

    def __init__(self, images: ScoredImages, table: pd.DataFrame) -> None:
        self.table = table
        self._images = images
        self._places = list(zip(table["variant"].astype(str), table["row"].astype(int), strict=True))
        self.shape = images.variants.array(self._places[0][0]).shape[1:] if self._places else (0, 0)
        spread = np.unique(np.linspace(0, len(table) - 1, MEASURED).astype(int)) if self._places else ()
        noise = [fine_sd(np.asarray(self._slice(int(index)))) for index in spread]
        self.added_hu = QUARTER_DOSE * float(np.median(noise)) if noise else 0.0

    def crop(self, index: int, place: tuple[slice, slice], share: float, rng: np.random.Generator) -> np.ndarray:
        """Return part of an image with `share` of the further noise, which is drawn anew."""
        pixels = np.asarray(self._slice(index)[place], np.float32)
        return pixels + np.float32(share * self.added_hu) * ct_noise(pixels.shape, rng)

    def _slice(self, index: int) -> np.ndarray:
        variant, row = self._places[index]
        return self._images.variants.array(variant)[row]


def find_doses(images: ScoredImages) -> Doses:
    """Find slices at two doses among images of one split. Their scores are not looked at."""
    manifest = images.variants.manifest
    manifest = manifest[manifest["image_id"].isin(images.table["image_id"])]
    kinds = manifest["variant"].str.lower()
    ndct, ldct = _paired(images, manifest[kinds == NDCT], manifest[kinds == LDCT])
    return SlicePairs(images, ndct, ldct) if len(ndct) else NoisyCopies(images, manifest)


def _paired(images: ScoredImages, ndct: pd.DataFrame, ldct: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the NDCT that have an LDCT, and these, in the order of the former.

    In a set of a study may be several slices: there those belong together that look alike.
    """
    others = {name: part for name, part in ldct.groupby("slice_id", sort=False)}
    found: list[tuple[int, int]] = []
    for name, own in ndct.groupby("slice_id", sort=False):
        if name not in others:
            continue
        other = others[name]
        pairs = [(0, 0)] if len(own) == len(other) == 1 else _alike(images, own, other)
        found += [(own.index[i], other.index[j]) for i, j in pairs]
    found.sort()
    return ndct.loc[[i for i, _ in found]], ldct.loc[[j for _, j in found]]


def _alike(images: ScoredImages, own: pd.DataFrame, other: pd.DataFrame) -> list[tuple[int, int]]:
    prints = [_structures(images, part) for part in (own, other)]
    return list(zip(*optimize.linear_sum_assignment(prints[0] @ prints[1].T, maximize=True), strict=True))


def _structures(images: ScoredImages, part: pd.DataFrame) -> np.ndarray:
    pixels = images.variants.array(str(part["variant"].iloc[0]))
    return np.stack([structure(pixels[row], images.window_hu) for row in part["row"].astype(int)])


def fine_sd(image_hu: np.ndarray) -> float:
    """Return a robust SD of the detail finer than `FINE_PX`, outside air: noise, where edges are few.

    Parameters
    ----------
    image_hu : ndarray, (H, W), HU
    """
    image = image_hu.astype(np.float32)
    smooth = ndimage.gaussian_filter(image, FINE_PX)
    body = smooth > smooth.min() + 0.25 * np.ptp(smooth) if np.ptp(smooth) else np.ones_like(smooth, bool)
    return 1.4826 * float(np.median(np.abs(image - smooth)[body]))


def ct_noise(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw noise (H, W), float32, as filtered back-projection leaves it; its part finer than `FINE_PX` has SD 1.

    Its power rises with frequency, by the ramp, and falls again, by the kernel.
    """
    rows, columns = (np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    frequency = np.hypot(rows, columns)
    response = np.sqrt(frequency) * np.exp(-2 * (np.pi * KERNEL_PX * frequency) ** 2)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * response, shape)
    return (noise / (noise - ndimage.gaussian_filter(noise, FINE_PX)).std()).astype(np.float32)
