"""Nothing that a header or a file name says about a person goes past `ingest`."""

import base64
import logging
import re

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import VR
from typer.testing import CliRunner

from iqagpt.data.dicom import UnreadableCT, read_headers
from stages.ingest import app
from tests.data.dicom_files import truncate, write_patient, write_series, write_slice
from tests.data.test_plain_series import AIR
from tests.stages.test_ingest_stage import run

COUNT = 200
#: Needed to read the image; whatever else there is, and these where text is allowed, holds a canary.
_NEEDED = {
    "SOPClassUID", "Modality", "ImageType", "SliceThickness", "InstanceNumber", "ImagePositionPatient", "PixelSpacing",
    "ImageOrientationPatient", "SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "RescaleIntercept", "RescaleSlope", "PixelData", "NumberOfFrames", "TransferSyntaxUID",
    "LossyImageCompression", "BurnedInAnnotation", "SpecificCharacterSet",
}  # fmt: skip
_OF_A_PATIENT = ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName", "ConvolutionKernel")
_TEXT = (VR.AE, VR.CS, VR.LO, VR.LT, VR.PN, VR.SH, VR.ST, VR.UC, VR.UR, VR.UT, VR.OB, VR.UN, VR.UI, VR.DA, VR.TM, VR.AS)


class Canaries:
    """Texts that occur nowhere else, one for each place."""

    def __init__(self):
        self.words = []
        self.shared = {}

    def next(self, kind):
        number = len(self.words)
        word = f"{7700000 + number}.55.{number}" if kind in (VR.UI, VR.DA, VR.TM, VR.AS) else f"CANARY{number:04d}Q"
        self.words.append(word)
        return word

    def plant(self, dataset):
        """Plant them in elements of all text types, in sequences three deep, and in private elements."""
        for keyword in ("PatientName", "PatientID", "ConvolutionKernel", "SeriesDescription", "StudyInstanceUID",
                        "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):  # fmt: skip
            kind = pydicom.datadict.dictionary_VR(keyword)
            setattr(dataset, keyword, self.next(VR(kind)))
        self._plant_each_type(dataset, each=7)
        level = dataset
        for depth in range(3):
            inner = Dataset()
            self._plant_each_type(inner, each=2)
            level.add_new((0x00400275, 0x00081140, 0x00082112)[depth], "SQ", Sequence([inner]))
            level = inner
        block = dataset.private_block(0x0029, self.next(VR.LO), create=True)
        for offset in range(20):
            block.add_new(offset, "LO", self.next(VR.LO))

    def _plant_each_type(self, dataset, each):
        planted = dict.fromkeys(map(str, _TEXT), 0)
        for tag, (kind, _, _, retired, keyword) in pydicom.datadict.DicomDictionary.items():
            free = keyword and keyword not in _NEEDED and not retired and tag not in dataset
            if free and 0x80000 < tag < 0x7FE00000 and planted.get(kind, each) < each:
                word = self.next(VR(kind))
                dataset.add_new(tag, kind, word.encode() if kind in ("OB", "UN") else word)
                planted[kind] += 1


@pytest.fixture
def canaries():
    return Canaries()


def plant(path, canaries, together=None):
    """Plant canaries in a file; files planted `together` agree where slices of one patient must."""
    dataset = pydicom.dcmread(path)
    canaries.plant(dataset)
    if together is not None:
        for keyword in _OF_A_PATIENT:
            folder = path.parent if keyword == "SeriesInstanceUID" else together
            setattr(dataset, keyword, canaries.shared.setdefault((folder, keyword), dataset[keyword].value))
    dataset.preamble = b"CANARYPREAMBLE".ljust(128, b"\0")
    dataset.save_as(path)


#: Every canary, its number and the names of files and preambles, as text of one or two bytes or in base 64.
_FORMS = re.compile(rb"CANARY|C\x00A\x00N\x00A\x00R\x00Y|Q0FOQVJZ|NBTkFSW|DQU5BUl|77\d{5}\.55\.\d")


def leaks(*contents):
    return sorted({form for content in contents for form in _FORMS.findall(content)})


def test_enough_canaries_of_every_kind(tmp_path, canaries):
    path = write_slice(tmp_path / "a.dcm", hu=AIR)
    plant(path, canaries)
    assert len(canaries.words) >= COUNT
    dataset = pydicom.dcmread(path)
    assert len({element.VR for element in dataset.iterall()}) >= 15
    assert sum(word.encode() in path.read_bytes() for word in canaries.words) >= COUNT
    assert all(leaks(word.encode()) for word in canaries.words)
    assert leaks(base64.b64encode(b"a" + b"CANARY0001Q"), "CANARY".encode("utf-16-le"))
    assert read_headers(path)


def test_no_canary_in_any_output(tmp_path, canaries, caplog):
    root = tmp_path / "root"
    for path in write_series(root / "CANARYFILE_folder", zs=range(0, 9, 3), stem="CANARYFILE", hu=AIR):
        plant(path, canaries, together="patient")
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        result = run(tmp_path, root, low_dose="simulated", thickness_mm=None)
    assert result.exit_code == 0, result.output
    files = [path for path in (tmp_path / "pairs").iterdir() if path.name != "rejected.csv"]
    assert len(files) == 5
    assert leaks(*(path.read_bytes() for path in files)) == []
    assert leaks((tmp_path / "pairs/rejected.csv").read_bytes(), caplog.text.encode()) == []
    assert all(not leaks(str(path.relative_to(tmp_path)).encode()) for path in (tmp_path / "pairs").rglob("*"))


def test_file_names_only_in_the_list_of_rejected_files(tmp_path, canaries):
    root = tmp_path / "root"
    write_patient(root, "L067")
    bad = next((root / "L067" / "full_3mm").iterdir())
    bad = truncate(bad.rename(bad.with_name("L067_FD_CANARYFILE.IMA")))
    assert run(tmp_path, root, thickness_mm=None).exit_code == 0
    for path in (tmp_path / "pairs").iterdir():
        assert (b"CANARYFILE" in path.read_bytes()) == (path.name == "rejected.csv")
    assert bad.exists()


@pytest.mark.parametrize(
    "keyword", ["Modality", "SOPClassUID", "ImageType", "NumberOfFrames", "SliceThickness", "PixelSpacing",
                "ImagePositionPatient", "RescaleSlope", "ConvolutionKernel", "BurnedInAnnotation", "InstanceNumber"]
)  # fmt: skip
def test_no_reason_quotes_a_header(tmp_path, keyword):
    path = write_slice(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    element = dataset[keyword] if keyword in dataset else pydicom.DataElement(keyword, "CS", "x")
    dataset[keyword] = pydicom.DataElement(element.tag, "LO", "CANARY9")
    dataset.save_as(path)
    try:
        shown = repr(read_headers(path))
    except UnreadableCT as error:
        shown = error.reason + error.remedy
    assert "CANARY" not in shown


def test_the_command_itself_names_no_patient(tmp_path):
    write_patient(tmp_path / "root", "L067", PatientID="CANARY1", OtherPatientIDs="CANARY2")
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "CANARY" not in run(tmp_path, tmp_path / "root", thickness_mm=None).output
