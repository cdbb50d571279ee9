"""IQAGPT: CT image quality assessment with a vision-language captioner and reports.

Research software, not for diagnosis. Method: Chen et al., IQAGPT, Vis. Comput. Ind. Biomed. Art 7:20, 2024.

``iqagpt.load()(slice_hu)`` assesses one slice.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(path: str | Path | None = None) -> Any:
    """Load a captioner for assessing images.

    Parameters
    ----------
    path : path, optional
        A folder such as ``models/iqagpt``; by default the captioner that ships with the package.

    Returns
    -------
    iqagpt.assessment.assessor.Assessor
        ``load()(slice_hu)`` assesses one slice, (H, W) HU; ``load().assess(slices_hu)`` several.

    Raises
    ------
    ArtifactError
        If there is no captioner, or its files are damaged.
    """
    # By name: every stage of the pipeline depends on what is imported here by a statement.
    return import_module("iqagpt.assessment.assessor").load_assessor(path)
