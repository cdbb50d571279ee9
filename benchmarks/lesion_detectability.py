"""How detectable lesions of some sizes and contrasts are in the phantom's liver, beside published figures.

Command: ``python benchmarks/lesion_detectability.py``. One slice of one patient is made again and again with other noise, by
the pipeline's own dose simulation (section ``phantom``). The anatomy is subtracted, so the background is flat; the
lesions are those of ``simulate`` with a round outline and the middle blur.

CNR: contrast over the SD of single pixels. d', AUC: Hotelling observer that knows the lesion and its place. search: area
under the localisation ROC curve where the place may be anywhere in the slice's liver. reader: the same with internal
noise, one number, fitted to Dilger's readers at 5 mm; all else about readers is prediction.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage, optimize
from tqdm import tqdm

from iqagpt.config import load_section
from iqagpt.data.anatomy.patient import Patient, draw_patient
from iqagpt.data.lesions import ORGANS, Lesion, Outline, SimulateParams, draw_lesion
from iqagpt.data.phantom import PhantomParams, make_pair
from iqagpt.evaluation.detectability import HotellingObserver, contrast_to_noise, dog_channels, lroc_area, roc_area

DIAMETERS_MM = (5.0, 7.0, 9.0, 10.0, 15.0, 20.0)
CONTRASTS_HU = (-20.0, -30.0, -40.0, -60.0)
SIDE_MM = 45.0
ROUND = Outline(1.0, 0.0, (0.0,), (0.0,))
#: Dilger 2019: radiologists' AzLROC at full dose for lesions of -21 HU, by diameter in mm.
DILGER_HU, DILGER = -21.0, {5.0: 0.53, 7.0: 0.91, 9.0: 0.97}
#: Yan 2025: threshold contrasts in HU of two vendors at regular dose, by diameter in mm; noise 21.5 to 30.9 HU.
YAN, YAN_NOISE_HU = {5.0: (-70.0, -65.0), 10.0: (-35.0, -35.0), 15.0: (-30.0, -25.0)}, (21.5, 30.9)


@dataclasses.dataclass(frozen=True)
class Task:
    """Noise of both doses in the liver, and the scale that goes with it."""

    noise_hu: dict[str, np.ndarray]
    observers: dict[str, HotellingObserver]
    spacing_mm: float
    liver_mm2: float
    sigma_mm: float

    def places(self, diameter_mm: float) -> float:
        """Return how many lesions have room in the liver side by side."""
        return self.liver_mm2 / (np.pi * diameter_mm**2 / 4)

    def dprime(self, dose: str, diameter_mm: float, contrast_hu: float) -> float:
        """Return the observer's index."""
        return self.observers[dose].detect(self.signal(diameter_mm, contrast_hu)).dprime

    def signal(self, diameter_mm: float, contrast_hu: float) -> np.ndarray:
        """Draw the lesion in the middle of a region."""
        side = self.noise_hu["ndct"].shape[1]
        lesion = Lesion(side // 2, side // 2, diameter_mm, contrast_hu, self.sigma_mm, ROUND)
        return draw_lesion(lesion, (side, side), self.spacing_mm)[0].astype(float)

    def judge(self, dose: str, diameter_mm: float, contrast_hu: float, internal: float) -> dict[str, float]:
        """Measure one lesion at one dose, with the internal noise of readers."""
        dprime, places = self.dprime(dose, diameter_mm, contrast_hu), self.places(diameter_mm)
        return {
            "CNR": contrast_to_noise(contrast_hu, self.noise_hu[dose]),
            "d'": dprime,
            "AUC": roc_area(dprime),
            "search": lroc_area(dprime, places),
            "reader": lroc_area(dprime / np.sqrt(1 + internal), places),
        }


def make_task(patient: Patient, phantom: PhantomParams, simulate: SimulateParams, realisations: int) -> Task:
    """Make the slice `realisations` times and cut regions out of its liver."""
    spacing_mm, number = patient.fov_mm / phantom.matrix, phantom.slices // 2
    side = int(SIDE_MM / spacing_mm) // 2 * 2 + 1
    regions: dict[str, list[np.ndarray]] = {"ndct": [], "ldct": []}
    for seed in tqdm(range(realisations), desc="noise", disable=None):
        pair = make_pair(patient, dataclasses.replace(phantom, seed=seed), number)
        liver = pair.organs == ORGANS["liver"]
        for dose, cut in regions.items():
            image = getattr(pair, dose)
            cut.append(np.stack([image[place] for place in places_in(liver, side)]).astype(np.float32))
    noise = {}
    for dose, cut in regions.items():
        stack = np.stack(cut)
        # The mean image takes its share of the noise with it.
        stack = (stack - stack.mean(axis=0)) * np.sqrt(realisations / (realisations - 1))
        noise[dose] = stack.reshape(-1, side, side)
    channels = dog_channels(side, spacing_mm)
    observers = {dose: HotellingObserver(stack, channels) for dose, stack in noise.items()}
    return Task(
        noise, observers, spacing_mm, float(liver.sum() * spacing_mm**2), float(np.mean(simulate.edge_sigma_mm))
    )


def places_in(liver: np.ndarray, side: int) -> list[tuple[slice, slice]]:
    """Tile the liver with squares that touch but do not overlap, each with its middle well inside."""
    rows, cols = ndimage.find_objects(liver.astype(int))[0]
    depth = ndimage.distance_transform_edt(liver)
    corners = [(r, c) for r in range(rows.start, rows.stop, side) for c in range(cols.start, cols.stop, side)]
    inside = [(r, c) for r, c in corners if depth[r + side // 2, c + side // 2] > side / 3]
    return [np.s_[r : r + side, c : c + side] for r, c in inside]


def fit_internal_noise(task: Task) -> float:
    """Return the internal noise that gives the observer the readers' area at the smallest diameter."""
    diameter, area = next(iter(DILGER.items()))
    return (task.dprime("ndct", diameter, DILGER_HU) / needed(area, task.places(diameter))) ** 2 - 1


def needed(area: float, places: float) -> float:
    """Return the index that gives an area under the localisation ROC curve."""
    return float(optimize.brentq(lambda dprime: lroc_area(dprime, places) - area, 0, 20))


def over_size_and_contrast(task: Task, internal: float) -> pd.DataFrame:
    """Return all measures of every size and contrast at both doses."""
    rows = {}
    for diameter in DIAMETERS_MM:
        for contrast in CONTRASTS_HU:
            judged = {dose: task.judge(dose, diameter, contrast, internal) for dose in task.noise_hu}
            rows[diameter, contrast] = {(dose, key): v for dose, found in judged.items() for key, v in found.items()}
    return pd.DataFrame(rows).T.rename_axis(index=["mm", "HU"])


def beside_dilger(task: Task, internal: float) -> pd.DataFrame:
    """Return what Dilger's readers reached, and the observer at the same size and contrast."""
    judged = {diameter: task.judge("ndct", diameter, DILGER_HU, internal) for diameter in DILGER}
    return pd.DataFrame(judged).T.assign(published=pd.Series(DILGER)).rename_axis(index="mm")


def beside_yan(task: Task, internal: float) -> pd.DataFrame:
    """Return the contrast at which the observer as a reader reaches an area of one half, beside Yan's thresholds."""
    rows = {}
    for diameter, (vendor_a, vendor_b) in YAN.items():
        index = needed(0.5, task.places(diameter)) * np.sqrt(1 + internal)
        threshold = {dose: -40 * index / task.dprime(dose, diameter, -40.0) for dose in task.noise_hu}
        scaled = threshold["ndct"] * np.mean(YAN_NOISE_HU) / task.noise_hu["ndct"].std()
        rows[diameter] = {**threshold, "at their noise": scaled, "vendor A": vendor_a, "vendor B": vendor_b}
    return pd.DataFrame(rows).T.rename_axis(index="mm")


def accuracy_of_estimate(task: Task) -> pd.DataFrame:
    """Return d' of one lesion as corrected, uncorrected and held out, with its limits."""
    signal, rows = task.signal(9.0, DILGER_HU), {}
    for dose, observer in task.observers.items():
        found = observer.detect(signal)
        limits = {"lower": found.lower, "upper": found.upper}
        ways = {"resubstituted": found.resubstituted, "held out": observer.detect_held_out(signal)}
        rows[dose] = {"corrected": found.dprime, **limits, **ways}
    return pd.DataFrame(rows).T


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patient", type=int, default=1, help="number of the phantom patient")
    parser.add_argument("--realisations", type=int, default=80, help="times the slice is made")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    options = parser.parse_args()
    phantom = load_section(options.params, "phantom", PhantomParams)
    simulate = load_section(options.params, "simulate", SimulateParams)
    task = make_task(draw_patient(phantom.seed, options.patient), phantom, simulate, options.realisations)
    internal = fit_internal_noise(task)
    noise = ", ".join(f"{dose} {stack.std():.1f} HU" for dose, stack in task.noise_hu.items())
    print(f"{len(task.noise_hu['ndct'])} regions a dose; noise {noise}; liver {task.liver_mm2 / 100:.0f} cm2")
    print(f"internal noise of a reader: {internal:.2f} of the images' variance")
    pd.options.display.float_format = "{:.3g}".format
    pd.options.display.width = 160
    for title, table in {
        "Size and contrast": over_size_and_contrast(task, internal),
        "Dilger 2019, -21 HU, full dose": beside_dilger(task, internal),
        f"Yan 2025, thresholds in HU; their noise {np.mean(YAN_NOISE_HU):.1f} HU": beside_yan(task, internal),
        "d' at 9 mm, -21 HU": accuracy_of_estimate(task),
    }.items():
        print(f"\n{title}\n{table.to_string()}")


if __name__ == "__main__":
    main()
