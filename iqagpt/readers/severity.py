"""From what a reader sees to how bad it is: one class of weights and thresholds for each criterion.

A severity is a continuous number on the scale of the scores: 1 is the middle of "score 1", 4 the middle of "score 4".
It is read off a loss by four anchors. The simulated reader adds its variability and rounds.

Notes
-----
Not stated in the paper; its scores are a radiologist's. Noise and small structures follow real readers (babbu3682/MTD-GAN,
blind reader study of abdominal CT, first three sets): a third less texture than the NDCT's is not yet over-smoothing for
them; what they call structure is mostly noise left above the NDCT's, then how far fine detail is the NDCT's, and hardly
the strength of small vessels. Anchors are set so that every score occurs.
"""

from dataclasses import dataclass

import numpy as np

from iqagpt.criteria import BEST, WORST
from iqagpt.readers.measures import Measures

#: Half a score beyond the outer anchors: nothing is better or worse than this.
SEVERITY_RANGE = (BEST - 0.5, WORST + 0.5)

Anchors = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class NoiseParams:
    """Subsection ``read.noise``: noise left, texture smoothed away, and fidelity of detail."""

    smoothing_slack: float
    smoothing_weight: float
    unlike_weight: float
    anchors: Anchors

    def __post_init__(self) -> None:
        """Check ranges."""
        check_weights(self, "smoothing_slack", "smoothing_weight", "unlike_weight")
        _check_anchors("anchors", self.anchors, rising=True)

    def severity(self, seen: Measures, usual: float = 0.0) -> float:
        """Return the severity of `loss`."""
        return to_severity(self.loss(seen, usual), self.anchors)

    def loss(self, seen: Measures, usual: float = 0.0) -> float:
        """Return how far the noise is from a normal-dose image's.

        Parameters
        ----------
        seen : Measures
        usual : float
            How much noisier the slice's NDCT counts than a normal-dose image; natural logarithm.

        Returns
        -------
        float
            0: no fault; natural logarithms.
        """
        noise = noise_fault(seen, usual, slack=self.smoothing_slack, weight=self.smoothing_weight)
        return noise + self.unlike_weight * (1 - seen.likeness)


@dataclass(frozen=True, slots=True)
class StructureParams:
    """Subsection ``read.small_structures``: noise, detail that is not the NDCT's, small vessels that fade."""

    smoothing_slack: float
    smoothing_weight: float
    unlike_weight: float
    blur_slack: float
    blur_weight: float
    anchors: Anchors

    def __post_init__(self) -> None:
        """Check ranges."""
        check_weights(self, "smoothing_slack", "smoothing_weight", "unlike_weight", "blur_slack", "blur_weight")
        _check_anchors("anchors", self.anchors, rising=True)

    def severity(self, seen: Measures, usual: float = 0.0) -> float:
        """Return the severity of `loss`."""
        return to_severity(self.loss(seen, usual), self.anchors)

    def loss(self, seen: Measures, usual: float = 0.0) -> float:
        """Return how much of the small structures is lost or hidden.

        Parameters
        ----------
        seen : Measures
        usual : float
            As in `NoiseParams.loss`.

        Returns
        -------
        float
            0: all is there; in units of noise left (natural logarithms).
        """
        noise = noise_fault(seen, usual, slack=self.smoothing_slack, weight=self.smoothing_weight)
        kept = (seen.vessel_contrast + seen.vessel_sharpness) / 2
        blur = max(0.0, 1 - kept - self.blur_slack)
        return noise + self.unlike_weight * (1 - seen.likeness) + self.blur_weight * blur


@dataclass(frozen=True, slots=True)
class LesionParams:
    """Subsection ``read.lesion_conspicuity``."""

    size_exponent: float
    cnr_anchors: Anchors
    margin_anchors: Anchors
    margin_weight: float
    blur_weight: float

    def __post_init__(self) -> None:
        """Check ranges."""
        check_weights(self, "size_exponent", "blur_weight")
        check_share(self, "margin_weight")
        _check_anchors("cnr_anchors", self.cnr_anchors, rising=False)
        _check_anchors("margin_anchors", self.margin_anchors, rising=False)

    def severity(self, seen: Measures) -> float | None:
        """Return the severity of a lesion poorly seen, of poor margin; None without lesion."""
        if seen.lesion_cnr is None:
            return None
        lesion = to_severity(self.visibility(seen), self.cnr_anchors)
        margin = to_severity(seen.lesion_margin, self.margin_anchors)
        # Less noise than usual makes a lesion stand out more, but margins blurred with all other edges are not well seen.
        blur = self.blur_weight * max(0.0, 1.0 - seen.edge_gain)
        return min((1 - self.margin_weight) * lesion + self.margin_weight * margin + blur, SEVERITY_RANGE[1])

    def visibility(self, seen: Measures) -> float | None:
        """Return the contrast-to-noise ratio, higher for larger lesions as Rose's model has it; None without lesion."""
        if seen.lesion_cnr is None:
            return None
        return seen.lesion_cnr * (seen.lesion_diameter_mm / 10.0) ** self.size_exponent


def noise_fault(seen: Measures, usual: float, *, slack: float, weight: float) -> float:
    """Return noise left plus texture smoothed away beyond a slack, both natural logarithms.

    Parameters
    ----------
    seen : Measures
    usual : float
        As in `NoiseParams.loss`.
    slack : float
        Less texture by this much is no fault yet.
    weight : float
        Of smoothing, against noise left.
    """
    left, smoothed = seen.noise_ratio + usual, -seen.texture_ratio - usual
    return max(0.0, left) + weight * max(0.0, smoothed - slack)


def to_severity(value: float, anchors: Anchors) -> float:
    """Interpolate a severity.

    Parameters
    ----------
    value : float
        What was measured.
    anchors : tuple of 4 floats, rising or falling
        Values that mean exactly 1, 2, 3 and 4.

    Returns
    -------
    float
        0.5 to 4.5; the outer pieces go on half a score beyond the outer anchors.
    """
    first, second, third, fourth = anchors
    points = np.array([first - (second - first) / 2, *anchors, fourth + (fourth - third) / 2])
    sign = 1.0 if fourth > first else -1.0
    lower, upper = SEVERITY_RANGE
    return float(np.interp(sign * value, sign * points, [lower, 1, 2, 3, 4, upper]))


def check_weights(section: object, *names: str) -> None:
    """Raise ValueError, naming the key, unless all these fields are at least 0."""
    for name in names:
        if getattr(section, name) < 0:
            raise ValueError(f"{name}: expected >= 0, got {getattr(section, name)}")


def check_share(section: object, *names: str) -> None:
    """Raise ValueError, naming the key, unless all these fields are within 0 and 1."""
    for name in names:
        if not 0 <= getattr(section, name) <= 1:
            raise ValueError(f"{name}: expected 0 to 1, got {getattr(section, name)}")


def _check_anchors(name: str, anchors: Anchors, *, rising: bool) -> None:
    steps = np.diff(anchors) if rising else -np.diff(anchors)
    if not (steps > 0).all():
        order = "rising" if rising else "falling"
        raise ValueError(f"{name}: expected four {order} values, for scores 1 to 4, got {list(anchors)}")
