"""Where the simulated reader's thresholds lie among the images of a ``data/variants``: losses and scores by variant.

Command: ``python benchmarks/reader_anchors.py [VARIANTS] [--every 4] [--patients L901 L902] [--params params.yaml]``

Run it after any change of the phantom, the denoisers or the measures, on images that no model is tested on: another
``phantom.seed``, or real patients kept apart. It ends with the three things that anchors must achieve: every score of every
criterion occurs, the NDCT is among the best and the LDCT among the worst on average.
"""

import argparse
from dataclasses import fields
from pathlib import Path

import pandas as pd

from iqagpt.artifacts import Artifact, open_artifact
from iqagpt.config import load_section
from iqagpt.criteria import KEYS, SCORES
from iqagpt.readers.measures import Measures
from iqagpt.readers.simulated import ReadParams, measure_images, score_images

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Mean scores that differ by no more are alike.
TIE = 0.05
#: What each criterion's anchors divide: measured value and its anchors in section ``read``.
SCALES = {
    "noise loss": ("noise", "anchors"),
    "small structures loss": ("small_structures", "anchors"),
    "lesion visibility": ("lesion_conspicuity", "cnr_anchors"),
    "lesion margin": ("lesion_conspicuity", "margin_anchors"),
}


class SomeSlices(Artifact):
    """The variants of some of the slices."""

    def __init__(self, path: Path, *, every: int, patients: list[str]) -> None:
        super().__init__(path, open_artifact(path, "variants").info)
        table = super().manifest
        kept = table["patient_id"].isin(patients) if patients else pd.Series(True, table.index)
        slices = table.loc[kept, "slice_id"].unique()[::every]
        self._rows = table[table["slice_id"].isin(slices)].reset_index(drop=True)

    @property
    def manifest(self) -> pd.DataFrame:
        """The manifest's rows of these slices."""
        return self._rows


def continuous(measured: pd.DataFrame, params: ReadParams) -> pd.DataFrame:
    """Return the values that the anchors divide, one column each."""
    rows = []
    for row in measured.to_dict("records"):
        seen = Measures(**{field.name: row[field.name] for field in fields(Measures)})
        usual = params.usual_offset(seen, row["usual_noise_hu"])
        values = (
            params.noise.loss(seen, usual),
            params.small_structures.loss(seen, usual),
            params.lesion_conspicuity.visibility(seen),
            seen.lesion_margin,
        )
        rows.append(dict(zip(SCALES, values, strict=True)))
    return pd.DataFrame(rows, measured.index)


def print_losses(measured: pd.DataFrame, params: ReadParams) -> None:
    values = continuous(measured, params)
    for name, (section, anchors) in SCALES.items():
        print(f"\n{name}; anchors {getattr(getattr(params, section), anchors)}")
        by_variant = values[name].groupby(measured["variant"], sort=False)
        print(by_variant.quantile(QUANTILES).unstack().round(3).to_string())  # noqa: PD010


def print_scores(scores: pd.DataFrame) -> None:
    for key in KEYS:
        found = pd.crosstab(scores["variant"], scores[key]).reindex(scores["variant"].unique(), fill_value=0)
        found = found.reindex(columns=list(SCORES), fill_value=0)
        found.loc["all"] = found.sum()
        mean = scores.groupby("variant")[key].mean()
        print(f"\n{key}: number of images by score, and mean")
        print(found.assign(mean=mean.astype(float).round(2)).to_string(na_rep=""))


def print_verdict(scores: pd.DataFrame) -> None:
    means = scores.groupby("variant")[list(KEYS)].mean().astype(float)
    print()
    for key in KEYS:
        order = means[key].dropna()
        if order.empty:
            print(f"{key}: no image has it")
            continue
        missing = sorted(set(SCORES) - set(scores[key].dropna()))
        found = "every score occurs" if not missing else f"scores {missing} are MISSING"
        best = ", ".join(order.index[order <= order.min() + TIE])
        worst = ", ".join(order.index[order >= order.max() - TIE])
        right = "ndct" in best.split(", ") and "ldct" in worst.split(", ")
        print(f"{key}: {found}; best: {best}; worst: {worst}{'' if right else ' - NOT AS EXPECTED'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", type=Path, nargs="?", default=Path("data/variants"))
    parser.add_argument("--every", type=int, default=1, help="take one slice of so many")
    parser.add_argument("--patients", nargs="*", default=[], help="codes to take; all by default")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    options = parser.parse_args()
    params = load_section(options.params, "read", ReadParams)
    measured = measure_images(SomeSlices(options.variants, every=options.every, patients=options.patients), params)
    print(f"{measured['slice_id'].nunique()} slices of {measured['patient_id'].nunique()} patients")
    print_losses(measured, params)
    scores = score_images(measured, params)
    print_scores(scores)
    print_verdict(scores)


if __name__ == "__main__":
    main()
