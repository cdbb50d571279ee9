"""Write CT slices as genuine DICOM: CT Image Storage, explicit VR little endian, 12 bits stored.

The headers follow those of the 2016 AAPM challenge: the patient's code in the name and a constant ID, several
windows, the slice location with the sign opposite to the position, and no UID in common between the doses of one
patient. UIDs come from a key and dates are fixed, so that equal input gives equal bytes.

References
----------
DICOM PS3.3 A.3 (CT Image IOD), C.8.2.1 (CT Image Module).
"""

import dataclasses
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from iqagpt.ct import AIR_HU, STORED_RANGE_HU

SPIRAL_PITCH = 0.8
DATE, TIME = "20160101", "000000.000000"
MANUFACTURER = "IQAGPT phantom"


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """What all slices of a series share.

    Attributes
    ----------
    patient_name : str
    description : str
        Series Description.
    number : int
        Series Number.
    uid_key : str
        From it the study, series, frame of reference and instance UIDs are derived.
    pixel_spacing_mm, thickness_mm : float
    kernel : str
        Convolution Kernel.
    comment : str
        Image Comments: what the image is.
    """

    patient_name: str
    description: str
    number: int
    uid_key: str
    pixel_spacing_mm: float
    thickness_mm: float
    kernel: str
    comment: str

    def uid(self, *level: str) -> str:
        """Return the UID of the study, series, frame or instance named by `level`."""
        return generate_uid(entropy_srcs=[self.uid_key, *level])


def write_slice(
    file: Path, image_hu: np.ndarray, series: Series, *, instance: int, z_mm: float, current_ma: int
) -> None:
    """Write one slice.

    Parameters
    ----------
    file : path
        File to write.
    image_hu : ndarray, (N, N), integer, HU
        Stored with intercept -1024; must lie in [-1024, 3071].
    series : Series
    instance : int
        Instance Number, from 1.
    z_mm : float
        Image Position (Patient), z.
    current_ma : int
        Tube current.

    Raises
    ------
    ValueError
        If a value does not fit into 12 bits.
    """
    low, high = int(image_hu.min()), int(image_hu.max())
    if low < STORED_RANGE_HU[0] or high > STORED_RANGE_HU[1]:
        raise ValueError(f"image_hu: expected values within {STORED_RANGE_HU}, got {low} to {high}")
    dataset = _dataset(series, instance)
    _add_acquisition(dataset, series, current_ma)
    _add_geometry(dataset, series, image_hu.shape, z_mm)
    _add_pixels(dataset, image_hu)
    dataset.save_as(file, enforce_file_format=True)


def _dataset(series: Series, instance: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = series.uid("instance", str(instance))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    for name in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{name}Date", DATE)
        setattr(dataset, f"{name}Time", TIME)
    dataset.AccessionNumber = ""
    dataset.Modality = "CT"
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = "synthetic"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Synthetic abdomen, not a patient"
    dataset.SeriesDescription = series.description
    dataset.PatientName = series.patient_name
    dataset.PatientID = "Anonymous"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = series.uid("study")
    dataset.SeriesInstanceUID = series.uid("series")
    dataset.FrameOfReferenceUID = series.uid("frame")
    dataset.StudyID = ""
    dataset.SeriesNumber = series.number
    dataset.AcquisitionNumber = 1
    dataset.InstanceNumber = instance
    dataset.ImageComments = series.comment
    dataset.BurnedInAnnotation = "NO"
    return dataset


def _add_acquisition(dataset: FileDataset, series: Series, current_ma: int) -> None:
    dataset.BodyPartExamined = "ABDOMEN"
    dataset.SliceThickness = f"{series.thickness_mm:g}"
    dataset.KVP = "120"
    dataset.ExposureTime = "500"
    dataset.XRayTubeCurrent = current_ma
    dataset.Exposure = max(1, round(current_ma * 0.5 / SPIRAL_PITCH))
    dataset.SpiralPitchFactor = SPIRAL_PITCH
    dataset.FilterType = "FLAT"
    dataset.ConvolutionKernel = series.kernel
    dataset.PatientPosition = "FFS"


def _add_geometry(dataset: FileDataset, series: Series, shape: tuple[int, ...], z_mm: float) -> None:
    spacing = f"{series.pixel_spacing_mm:.9g}"
    corner = [-(side - 1) / 2 * series.pixel_spacing_mm for side in (shape[1], shape[0])]
    dataset.ReconstructionDiameter = f"{series.pixel_spacing_mm * shape[1]:.9g}"
    dataset.PixelSpacing = [spacing, spacing]
    dataset.ImagePositionPatient = [f"{corner[0]:.9g}", f"{corner[1]:.9g}", f"{z_mm:.9g}"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PositionReferenceIndicator = ""
    dataset.SliceLocation = f"{-z_mm:.9g}"  # the opposite sign, as in the challenge's files


def _add_pixels(dataset: FileDataset, image_hu: np.ndarray) -> None:
    stored = (image_hu.astype(np.int32) - AIR_HU).astype("<u2")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.SmallestImagePixelValue = int(stored.min())
    dataset.LargestImagePixelValue = int(stored.max())
    dataset.WindowCenter, dataset.WindowWidth = [40, -600], [400, 1500]
    dataset.WindowCenterWidthExplanation = ["WINDOW1", "WINDOW2"]
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(AIR_HU), "1", "HU"
    dataset.PixelData = stored.tobytes()
