"""Crops of training slices, and words for what is known of them: organs, dose, blur, lesion. Scores are not looked at.

A crop lies between two doses of its slice (`iqagpt.clip.doses`), so its dose is known, and is blurred by a known Gaussian. Organs
come from the organ map and the lesion from its mask, where there are such; what is not known of a data set is not described.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from iqagpt.clip.doses import find_doses
from iqagpt.ct import apply_window
from iqagpt.scored_images import ScoredImages

#: Part of the low dose's further noise, and the words for it.
DOSES = {"normal dose": (0.0, 0.0), "reduced dose": (0.35, 0.65), "low dose": (1.0, 1.0)}
#: SD of the blur in pixels.
BLURS = {"sharp": (0.0, 0.0), "soft": (0.6, 0.9), "blurred": (1.2, 2.0)}
#: Words by class of TotalSegmentator v2.
ORGANS = {
    "spleen": (1,),
    "kidney": (2, 3),
    "liver": (5,),
    "stomach": (6,),
    "pancreas": (7,),
    "colon": (20,),
    "aorta": (52,),
}
#: Part of a crop that an organ fills to be named.
ORGAN_SHARE = 0.01
LESIONS = ("no lesion", "faint lesion", "clear lesion")
NO_LESION, FAINT, CLEAR = LESIONS
#: Contrast in HU, either way, from which a lesion is clear.
CLEAR_HU = 40.0
#: Kinds of facts, in the order they are told.
KINDS = ("blur", "organs", "dose", "lesion")
WORDS = (
    *("sharp", "soft", "blurred", "image", "of", "at", "normal", "reduced", "low", "dose", "with", "without", "faint"),
    *("clear", "lesion", *ORGANS),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one crop.

    Attributes
    ----------
    blur, dose : str
        A key of `BLURS` and of `DOSES`.
    organs : tuple of str or None
        Keys of `ORGANS` in the crop; None where no organ map is known.
    lesion : str or None
        One of `LESIONS`, the first meaning none; None where that is not known.
    """

    blur: str
    dose: str
    organs: tuple[str, ...] | None
    lesion: str | None

    def text(self, kinds: Iterable[str]) -> str:
        """Tell the facts of some kinds in one sentence."""
        words = [self.blur, "image"] if "blur" in kinds else ["image"]
        if "organs" in kinds and self.organs:
            words += ["of", ", ".join(self.organs)]
        if "dose" in kinds:
            words += ["at", self.dose]
        if "lesion" in kinds and self.lesion:
            words += ["without lesion"] if self.lesion == NO_LESION else ["with", self.lesion]
        return " ".join(words) + "."


class FactCrops:
    """Random crops of the slices of some images, with their facts.

    Parameters
    ----------
    images : ScoredImages
        Of one split. Their scores and captions are not read.
    side_px : int
        Side of a crop; that of the images where these are smaller.
    """

    def __init__(self, images: ScoredImages, side_px: int) -> None:
        self._doses = find_doses(images)
        self._rows: list[int] = self._doses.table["row"].astype(int).tolist()
        self._contrast_hu = _column(self._doses.table, "lesion_contrast_hu")
        masked = (images.variants.path / "lesion_mask.npy").is_file()
        self._lesions = images.variants.array("lesion_mask") if masked else None
        self._organs = images.organ_maps()
        self._window_hu = images.window_hu
        self._side = min(side_px, *self._doses.shape)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of facts that are known here."""
        unknown = {"organs": self._organs is None, "lesion": self._lesions is None}
        return tuple(kind for kind in KINDS if not unknown.get(kind))

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, list[Facts]]:
        """Return windowed crops (count, 1, side, side), float32, in [0, 1], and their facts."""
        found = [self._crop(int(index), rng) for index in rng.integers(len(self), size=count)]
        return np.stack([pixels for pixels, _ in found])[:, None], [facts for _, facts in found]

    def _crop(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, Facts]:
        row = self._rows[index]
        place = self._place(row, rng)
        dose, blur = (list(scale)[rng.integers(len(scale))] for scale in (DOSES, BLURS))
        share, sigma_px = rng.uniform(*DOSES[dose]), rng.uniform(*BLURS[blur])
        pixels = self._doses.crop(index, place, share, rng)
        if sigma_px:
            pixels = ndimage.gaussian_filter(pixels, sigma_px, truncate=3.0)
        pixels = np.rot90(apply_window(pixels, self._window_hu), rng.integers(4))
        pixels = pixels[:, ::-1] if rng.integers(2) else pixels
        return np.ascontiguousarray(pixels), Facts(
            blur, dose, self._organs_in(row, place), self._lesion_in(index, place)
        )

    def _place(self, row: int, rng: np.random.Generator) -> tuple[slice, slice]:
        """Choose where to cut: half of the time around the lesion of a slice that has one."""
        height, width = self._doses.shape
        limits = np.array([height, width]) - self._side
        corner = rng.integers(limits + 1)
        if self._lesions is not None and rng.integers(2):
            inside = np.argwhere(self._lesions[row])
            if len(inside):
                offset = rng.integers(self._side // 4, self._side - self._side // 4, size=2)
                corner = np.clip(inside.mean(axis=0).astype(int) - offset, 0, limits)
        return tuple(slice(int(begin), int(begin) + self._side) for begin in corner)

    def _organs_in(self, row: int, place: tuple[slice, slice]) -> tuple[str, ...] | None:
        if self._organs is None:
            return None
        counts = np.bincount(np.asarray(self._organs[row][place]).ravel(), minlength=256)
        least = ORGAN_SHARE * self._side**2
        return tuple(name for name, labels in ORGANS.items() if counts[list(labels)].sum() >= least)

    def _lesion_in(self, index: int, place: tuple[slice, slice]) -> str | None:
        if self._lesions is None:
            return None
        mask = np.asarray(self._lesions[self._rows[index]])
        # A lesion that the crop cuts is neither here nor absent: it counts once half of it is here.
        if not mask.any() or mask[place].sum() * 2 < mask.sum():
            return NO_LESION
        return CLEAR if abs(self._contrast_hu[index]) >= CLEAR_HU else FAINT


def candidates(kind: str, facts: Sequence[Facts]) -> list[str]:
    """Return the different sentences that some crops have about one kind of fact, sorted."""
    return sorted({fact.text([kind]) for fact in facts})


def _column(table: pd.DataFrame, name: str) -> list[float]:
    return table[name].astype(float).tolist() if name in table else [0.0] * len(table)
