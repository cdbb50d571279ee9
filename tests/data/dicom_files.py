"""Tiny CT series as DICOM files, for the tests of everything that reads them."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from iqagpt.data.finding import Found, find_slices
from iqagpt.data.ingest_params import IngestParams, SimulatedDose
from iqagpt.data.sources import opened_source

SIDE = 16


def make_params(root: Path | str, **changes: Any) -> IngestParams:
    """Section ``ingest`` for tiny series."""
    values = dict(
        root=str(root), low_dose="given", pairs=4, pretrain_pairs=0,
        thickness_mm=None, kernel=None, patients=(), exclude=(), matrix=None,
        dose=SimulatedDose(0.25, 4e5, 60, 1), window_hu=(-160.0, 240.0), strict=False,
    )  # fmt: skip
    return IngestParams(**{**values, **changes})


def find(params: IngestParams) -> Found:
    """Find the slices below a folder; what came out of an archive is gone on return."""
    root = Path(params.root)
    with opened_source(root, root.parent / ".unpacked.partial") as source:
        return find_slices(params, source)


def write_slice(
    path: Path, *, z: float = 0.0, hu: np.ndarray | int = 0, kernel: Any = "B30f", thickness: Any = 3, **tags: Any
) -> Path:
    """Write one slice; `tags` replace or, when None, remove elements by keyword."""
    pixels = np.broadcast_to(np.asarray(hu, dtype=np.int32), (SIDE, SIDE)) if np.ndim(hu) == 0 else hu
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    intercept = tags.get("RescaleIntercept", -1024)
    signed = tags.get("PixelRepresentation", 0)
    stored = np.asarray(pixels) - int(intercept if intercept is not None else -1024)
    elements = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientName": "L506_FD_1",
        "PatientID": "Anonymous",
        "BodyPartExamined": "CHEST",
        "SliceThickness": thickness,
        "ConvolutionKernel": kernel,
        "InstanceNumber": 1,
        "ImagePositionPatient": [-10, -10, z],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "SliceLocation": -z,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "PixelSpacing": [0.75, 0.75],
        "BitsAllocated": 16,
        "BitsStored": 16 if signed else 12,
        "HighBit": 15 if signed else 11,
        "PixelRepresentation": signed,
        "WindowCenter": [55, -600],
        "WindowWidth": [440, 1500],
        "RescaleIntercept": intercept,
        "RescaleSlope": 1,
        "PixelData": stored.astype("<i2" if signed else "<u2").tobytes(),
    }
    for keyword, value in {**elements, **tags}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_enhanced(
    path: Path, *, frames: int = 3, spacing: float = 3.0, side: int = SIDE, undefined: bool = False, **per_frame: Any
) -> Path:
    """Write an enhanced CT of random frames, geometry in functional groups, each frame with an intercept of its own.

    `per_frame` replaces values of every frame: ``ImageOrientationPatient``, ``FrameType``, ...
    """
    stored = np.random.default_rng(frames).integers(0, 2000, size=(frames, side, side), dtype=np.uint16)
    dataset = dcmread(write_slice(path, hu=np.zeros((side, side))))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope",
                    "RescaleIntercept", "ConvolutionKernel"):  # fmt: skip
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames = frames
    dataset.PixelData = stored.tobytes()
    shared = Dataset()
    shared.PixelMeasuresSequence = [_group(PixelSpacing=[0.75, 0.75], SliceThickness=3)]
    shared.CTReconstructionSequence = [_group(ConvolutionKernel="B30f")]
    dataset.SharedFunctionalGroupsSequence = [shared]
    items = []
    for k in range(frames):
        item = Dataset()
        item.PlanePositionSequence = [_group(ImagePositionPatient=[-10, -10, spacing * k])]
        orientation = per_frame.get("ImageOrientationPatient", [1, 0, 0, 0, 1, 0])
        item.PlaneOrientationSequence = [_group(ImageOrientationPatient=orientation)]
        item.PixelValueTransformationSequence = [_group(RescaleIntercept=-1024 - k, RescaleSlope=1)]
        frame_type = per_frame.get("FrameType", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
        item.CTImageFrameTypeSequence = [_group(FrameType=frame_type)]
        items.append(item)
    dataset.PerFrameFunctionalGroupsSequence = items
    if undefined:
        for element in dataset.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True
    dataset.save_as(path)
    return path


def _group(**elements: Any) -> Dataset:
    group = Dataset()
    for keyword, value in elements.items():
        setattr(group, keyword, value)
    return group


def write_series(folder: Path, *, zs: Any, stem: str = "L067_FD_3_1", seed: int = 0, **options: Any) -> list[Path]:
    """Write a series of random slices at heights `zs`, numbered from 1 in that order, in the challenge's file names."""
    rng = np.random.default_rng(seed)
    paths = []
    for number, z in enumerate(zs, start=1):
        path = folder / f"{stem}.CT.0001.{number:04d}.2016.01.01.00.00.00.000000.IMA"
        pixels = rng.integers(-200, 300, size=(SIDE, SIDE), dtype=np.int32)
        paths.append(write_slice(path, z=z, **{"hu": pixels, "InstanceNumber": number, **options}))
    return paths


def write_patient(root: Path, code: str, *, zs: Any = range(0, 12, 3), kind: str = "3mm", **options: Any) -> Path:
    """Write the NDCT and LDCT series of one patient in the old layout, ``L067/full_3mm`` and ``L067/quarter_3mm``."""
    seed = int(code[1:])
    for dose, tag in (("full", "FD"), ("quarter", "QD")):
        write_series(root / code / f"{dose}_{kind}", zs=zs, stem=f"{code}_{tag}_3_1", seed=seed, **options)
        seed += 1000
    return root / code


def truncate(path: Path, drop: int = 100) -> Path:
    """Cut bytes off the end of a file."""
    path.write_bytes(path.read_bytes()[:-drop])
    return path
