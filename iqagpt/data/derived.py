"""Write a CT slice again with other pixels: all elements as they were, except those that would no longer be true.

The elements that say what an image is and where it came from follow DICOM's rules for derived images: new instance and
series, ``DERIVED``, a description of the derivation, a reference to the source. Study, frame of reference and geometry
stay, so that source and result lie on each other in a viewer.

References
----------
DICOM PS3.3 C.7.6.1 (General Image), C.8.2.1 (CT Image), C.7.3.1 (General Series); PS3.5 6.2 (lengths of LO and ST).
"""

import dataclasses
import math
import warnings
from pathlib import Path

import numpy as np
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from iqagpt.data.dicom import UnreadableCT

#: Proportional to the dose. Times, voltages and factors are not.
EXPOSURE_KEYWORDS = (
    "XRayTubeCurrent", "XRayTubeCurrentInuA", "XRayTubeCurrentInmA", "Exposure", "ExposureInuAs", "ExposureInmAs",
    "GeneratorPower", "CTDIvol",
)  # fmt: skip
LONGEST_LO, LONGEST_ST = 64, 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Derivation:
    """What the slices of a derived series say of themselves.

    Attributes
    ----------
    series_uid : str
        Series Instance UID of the derived series.
    label : str
        Appended to Series Description.
    description : str
        Appended to Derivation Description.
    dose : float
        Factor on the exposure that a file states. What it does not state is not added.
    """

    series_uid: str
    label: str
    description: str
    dose: float


def write_derived(
    file: Path, elements: Dataset, stored: np.ndarray, derivation: Derivation, *, instance_uid: str
) -> None:
    """Write a derived slice.

    Parameters
    ----------
    file : Path
    elements : Dataset
        Of the source, from `iqagpt.data.dicom.read_elements`; changed in place.
    stored : ndarray, (rows, columns), uint16 or int16
        Pixel values in the source's encoding and rescaling.
    derivation : Derivation
    instance_uid : str
        New SOP Instance UID.

    Raises
    ------
    UnreadableCT
        If an element of the source cannot be written.
    """
    try:
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            _refer_to_source(elements)
            _describe(elements, derivation)
            _identify(elements, derivation.series_uid, instance_uid)
            _scale_exposure(elements, derivation.dose)
            _replace_pixels(elements, stored)
            elements.preamble = b"\0" * 128  # a source's preamble may hold a program
            elements.save_as(file, enforce_file_format=True)
    except OSError:
        raise
    except Exception as error:
        reason = f"has elements that cannot be written again ({type(error).__name__})"
        raise UnreadableCT(file, reason, "export the source again") from error


def _refer_to_source(elements: Dataset) -> None:
    source_uid = elements.get("SOPInstanceUID")
    if not source_uid:
        return
    item = Dataset()
    item.ReferencedSOPClassUID = elements.get("SOPClassUID") or CTImageStorage
    item.ReferencedSOPInstanceUID = source_uid
    elements.SourceImageSequence = [item]


def _describe(elements: Dataset, derivation: Derivation) -> None:
    kinds = [str(value) for value in elements.get("ImageType") or ()]
    elements.ImageType = ["DERIVED", "SECONDARY", *(kinds[2:] or ["AXIAL"])]
    before = str(elements.get("SeriesDescription") or "")[: LONGEST_LO - len(derivation.label) - 1]
    elements.SeriesDescription = f"{before} {derivation.label}".strip()
    before = str(elements.get("DerivationDescription") or "")
    joined = f"{before}; {derivation.description}" if before else derivation.description
    elements.DerivationDescription = joined[-LONGEST_ST:]


def _identify(elements: Dataset, series_uid: str, instance_uid: str) -> None:
    meta = FileMetaDataset()
    syntax = elements.file_meta.TransferSyntaxUID
    native = syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    meta.TransferSyntaxUID = syntax if native else ExplicitVRLittleEndian
    # Some anonymisers empty these, without which no file can be written.
    elements.SOPClassUID = elements.get("SOPClassUID") or CTImageStorage
    meta.MediaStorageSOPClassUID = elements.SOPClassUID
    meta.MediaStorageSOPInstanceUID = elements.SOPInstanceUID = instance_uid
    elements.SeriesInstanceUID = series_uid
    elements.file_meta = meta


def _scale_exposure(elements: Dataset, dose: float) -> None:
    for keyword in EXPOSURE_KEYWORDS:
        try:
            value = float(elements.get(keyword)) * dose
        except (TypeError, ValueError):  # absent, empty or several
            continue
        if math.isfinite(value) and value > 0.0 and dose != 1.0:
            whole = elements[keyword].VR == "IS"
            setattr(elements, keyword, max(1, round(value)) if whole else float(f"{value:.8g}"))


def _replace_pixels(elements: Dataset, stored: np.ndarray) -> None:
    for keyword, value in (("SmallestImagePixelValue", stored.min()), ("LargestImagePixelValue", stored.max())):
        if keyword in elements:
            elements[keyword].VR = "SS" if stored.dtype.kind == "i" else "US"
            elements[keyword].value = int(value)
    elements.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    elements["PixelData"].VR = "OW"
    elements["PixelData"].is_undefined_length = False
