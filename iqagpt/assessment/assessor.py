"""A captioner ready for anyone's images: slices in HU go in, scores, caption and warnings come out.

Scores come from the caption's parser. Slices are assessed each by itself; batches serve speed alone. Called by
``iqagpt assess``, by `iqagpt.load` and by whatever shows results to people.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from iqagpt.artifacts import Artifact
from iqagpt.assessment.scope import Seen, image_warnings, spacing_warnings
from iqagpt.assessment.shipped import captioner_folder
from iqagpt.captioner.captioner import Captioner, load_captioner
from iqagpt.captioner.template import alternatives
from iqagpt.captioner.template_decoder import TemplateDecoder
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.criteria import KEYS, SCORES, caption_to_scores, scores_to_caption
from iqagpt.ct import AIR_HU, STORED_RANGE_HU, apply_window
from iqagpt.data.ct_header import MAX_SIDE_PX
from iqagpt.data.matrix import fit_matrix
from iqagpt.device import pick_device
from iqagpt.errors import ArtifactError, InputError

#: Slices that pass through the network together.
BATCH_SIZE = 8
#: The name of "no lesion" among the probabilities.
NOT_APPLICABLE = "n/a"
#: Digits of probabilities that do not hang on what else is in a batch.
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class SliceAssessment:
    """What the captioner says of one slice.

    Attributes
    ----------
    scores : dict of str to (int or None)
        1 (best) to 4 (worst) for each criterion, as the caption states them; None: not applicable, no lesion.
    expected : dict of str to (float or None)
        Mean over the probabilities of 1 to 4; None where the score is. Finer than the score itself.
    probabilities : dict of str to dict of str to float
        Of the scores ``1`` to ``4``, and of ``n/a`` for lesion conspicuity, given the criteria before.
    caption : str
    warnings : tuple of str
        Where the slice lies outside what the model has seen.
    """

    scores: dict[str, int | None]
    expected: dict[str, float | None]
    probabilities: dict[str, dict[str, float]]
    caption: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A slice as the captioner takes it.

    Attributes
    ----------
    pixels : ndarray, (H, W), float32
        In [0, 1], of the captioner's size.
    warnings : tuple of str
        Of `SliceAssessment`.
    """

    pixels: np.ndarray
    warnings: tuple[str, ...]


class Assessor:
    """A captioner with everything around it.

    Attributes
    ----------
    model_name : str
    weights_sha256 : str
    device : torch.device
        Where the captioner runs.
    window_hu : (lower, upper)
        Applied to every slice.
    image_size : int or None
        Side of the square that the captioner takes; other slices are padded with air or cropped about their centre.
    seen : Seen
        What warnings compare with.
    """

    def __init__(self, model: Captioner, tokenizer: CaptionTokenizer, artifact: Artifact) -> None:
        self._model, self._tokenizer = model, tokenizer
        self.device = next(model.parameters()).device
        self._decoder = TemplateDecoder(model, tokenizer)
        self.model_name = str(artifact.info.get("name", "iqagpt"))
        self.weights_sha256: str = artifact.info["weights_sha256"]
        lower, upper = artifact.info["window_hu"]
        self.window_hu: tuple[float, float] = (float(lower), float(upper))
        self.image_size: int | None = model.config["image_size"]
        self.seen = Seen.of(artifact.info)

    def __call__(self, image_hu: np.ndarray) -> SliceAssessment:
        """Assess one slice, (H, W) HU, of unknown pixel size."""
        return self.assess([image_hu])[0]

    def assess(
        self, images_hu: Sequence[np.ndarray], *, pixel_spacing_mm: Sequence[float | None] | None = None
    ) -> list[SliceAssessment]:
        """Assess slices.

        Parameters
        ----------
        images_hu : sequence of ndarray, (H, W), any real type, HU
            Sizes may differ.
        pixel_spacing_mm : sequence of (float or None), optional
            One a slice; where it is unknown a warning says so.

        Returns
        -------
        list of SliceAssessment
            In the same order.

        Raises
        ------
        InputError
            If an array is no slice in HU, or the numbers of slices and pixel sizes differ.
        """
        spacings = [None] * len(images_hu) if pixel_spacing_mm is None else list(pixel_spacing_mm)
        if len(spacings) != len(images_hu):
            raise InputError(f"{len(images_hu)} slices and {len(spacings)} pixel sizes; expected one a slice")
        found: list[SliceAssessment] = []
        for begin in range(0, len(images_hu), BATCH_SIZE):
            part = slice(begin, begin + BATCH_SIZE)
            prepared = map(self.prepare, images_hu[part], spacings[part])
            found += self.assess_prepared(list(prepared))
        return found

    def prepare(self, image_hu: np.ndarray, pixel_spacing_mm: float | None = None) -> Prepared:
        """Do with one slice what needs no network, in any thread; arguments and errors are those of `assess`."""
        image = _checked(image_hu)
        warnings = image_warnings(image, self.image_size, self.window_hu)
        warnings += spacing_warnings(pixel_spacing_mm, self.seen)
        return Prepared(apply_window(fit_matrix(image, self.image_size, AIR_HU), self.window_hu), tuple(warnings))

    def assess_prepared(self, slices: Sequence[Prepared]) -> list[SliceAssessment]:
        """Assess a batch of slices that `prepare` returned, in the same order."""
        return list(self._decode(self._input(slices), [each.warnings for each in slices])) if slices else []

    def maps(self, image_hu: np.ndarray, caption: str) -> dict[str, np.ndarray]:
        """Show where the captioner looked for each criterion of a caption.

        Returns
        -------
        dict of str to ndarray, (h, w), float32
            Over the square that the captioner saw (`image_size`), at least 0, sum 1.
        """
        from iqagpt.explain.grad_cam import criterion_maps

        return criterion_maps(self._model, self._tokenizer, self._input([self.prepare(image_hu)]), caption)

    def word_map(self, image_hu: np.ndarray, caption: str, word_index: int) -> np.ndarray:
        """Show where the captioner looked for one word of a caption, counted from 0; as `maps`."""
        from iqagpt.explain.grad_cam import word_map

        return word_map(self._model, self._tokenizer, self._input([self.prepare(image_hu)]), caption, word_index)

    def _input(self, slices: Sequence[Prepared]) -> torch.Tensor:
        return torch.from_numpy(np.stack([each.pixels for each in slices])[:, None]).to(self.device)

    def _decode(self, images: torch.Tensor, warnings: Sequence[tuple[str, ...]]) -> Iterator[SliceAssessment]:
        with torch.inference_mode():
            found = self._decoder.conditional(self._model.encode_image(images))
            shares = [likelihoods.double().softmax(1).cpu().numpy() for likelihoods in found]
        for row, of_slice in enumerate(warnings):
            of_criteria = {key: share[row] for key, share in zip(KEYS, shares, strict=True)}
            caption = scores_to_caption({key: alternatives(key)[share.argmax()] for key, share in of_criteria.items()})
            scores = caption_to_scores(caption)
            yield SliceAssessment(
                scores=scores,
                expected={key: None if scores[key] is None else _expected(of_criteria[key]) for key in KEYS},
                probabilities={key: _named(key, share) for key, share in of_criteria.items()},
                caption=caption,
                warnings=of_slice,
            )


def load_assessor(path: str | Path | None = None) -> Assessor:
    """Load a captioner for assessing images.

    Parameters
    ----------
    path : path, optional
        A folder such as ``models/iqagpt``; by default the captioner that ships with the package.

    Raises
    ------
    ArtifactError
        If there is no captioner, or its files are damaged.
    """
    folder = captioner_folder(path)
    try:
        return Assessor(*load_captioner(folder, pick_device()))
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"{folder}: artifact.json does not describe a captioner ({error}); copy it again"
        ) from error


def _checked(image: np.ndarray) -> np.ndarray:
    values = np.asarray(image)
    if values.ndim != 2 or not all(1 <= side <= MAX_SIDE_PX for side in values.shape):
        raise InputError(f"an array of shape {values.shape}; expected one slice, (H, W), at most {MAX_SIDE_PX} a side")
    if values.dtype == np.int16:
        return np.clip(values, *STORED_RANGE_HU)
    if values.dtype.kind not in "iuf":
        raise InputError(f"an array of {values.dtype}; expected numbers, in HU")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError("an array with NaN or infinite values; expected HU: write air (-1024) instead")
    if values.min() >= 0 and values.max() <= 1:
        raise InputError("an array of values in [0, 1]; expected HU: undo the normalisation")
    return np.clip(np.rint(values), *STORED_RANGE_HU).astype(np.int16)


def _expected(share: np.ndarray) -> float:
    of_scores = share[: len(SCORES)]
    return round(float(of_scores @ np.array(SCORES) / of_scores.sum()), _DIGITS)


def _named(key: str, share: np.ndarray) -> dict[str, float]:
    names = [NOT_APPLICABLE if score is None else str(score) for score in alternatives(key)]
    return dict(zip(names, np.round(share, _DIGITS).tolist(), strict=True))
