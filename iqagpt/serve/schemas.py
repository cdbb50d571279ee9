"""What the HTTP API takes and returns, as its OpenAPI document states it."""

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from iqagpt.chat.dialogue import REMEMBERED
from iqagpt.chat.dialogue_answers import score_words
from iqagpt.chat.opened_image import Model
from iqagpt.chat.questions import LONGEST
from iqagpt.chat.templates import DIRECTION, DISCLAIMER
from iqagpt.criteria import CRITERIA
from iqagpt.serve.images import HeldImage

if TYPE_CHECKING:
    from iqagpt.assessment.assessor import SliceAssessment

Score = Annotated[int, Field(ge=1, le=4, strict=True)]
Window = tuple[float, float]
Source = Literal["template", "space", "model", "fallback"]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelInfo(_Answer):
    """The captioner."""

    name: str
    weights_sha256: str
    window_hu: Window = Field(description="HU that the model sees as black and white.")


class CriterionInfo(_Answer):
    """One of the four criteria."""

    key: str
    title: str
    descriptions: list[str] = Field(description="Words for the scores 1 to 4.")


class Info(_Answer):
    """What this server is."""

    version: str
    model: ModelInfo
    language_model: str | None = Field(description="Host and model that free questions go to; null: templates only.")
    criteria: list[CriterionInfo]
    max_upload_bytes: int
    direction: str = DIRECTION
    disclaimer: str = DISCLAIMER


class FileInfo(_Answer):
    """An image that was offered when the server was started."""

    index: int
    name: str


class Result(_Answer):
    """One slice of an image, assessed."""

    image: str = Field(
        description="Random name of the image for further requests, until it is removed or unused for long."
    )
    name: str = Field(description="The file's name.")
    slices: int
    slice: int = Field(description="Index of the slice that this is about, from 0.")
    rows: int
    columns: int
    pixel_spacing_mm: float | None
    window_hu: Window | None = Field(description="For pictures: HU outside were lost before they were written.")
    scores: dict[str, int | None] = Field(
        description="By criterion, 1 (best) to 4 (worst); null: not applicable; absent: the caption does not say."
    )
    descriptions: dict[str, str] = Field(description="By criterion, the score in words.")
    expected: dict[str, float | None] = Field(description="Mean of the scores, weighted by their probabilities.")
    probabilities: dict[str, dict[str, float]] = Field(description="By criterion, of '1' to '4' and 'n/a'.")
    caption: str
    warnings: list[str] = Field(description="In what the image is outside what the model has seen.")
    model: ModelInfo
    direction: str = DIRECTION
    disclaimer: str = DISCLAIMER


class ReportRequest(_Request):
    """What to report on: a slice of a held image, or four scores."""

    image: str | None = None
    slice: int = 0
    scores: dict[str, Score | None] | None = Field(
        None, description="In place of an image: by criterion; null for lesion_conspicuity: not applicable."
    )


class ReportAnswer(_Answer):
    """A report in radiology form."""

    text: str
    generator: Source = Field(description="'fallback': the template's, as the language model's was refused.")
    findings: list[str] = Field(description="Why it was refused.")
    direction: str = DIRECTION
    disclaimer: str = DISCLAIMER


class ChatRequest(_Request):
    """A question about a slice of a held image."""

    image: str
    slice: int = 0
    question: str = Field(min_length=1, max_length=LONGEST)
    previous: list[Annotated[str, Field(max_length=LONGEST)]] = Field(
        default_factory=list, max_length=REMEMBERED, description="The user's earlier questions, oldest first."
    )


class ErrorAnswer(_Answer):
    """Why a request was refused, in one sentence."""

    error: str


def model_info(model: Model) -> ModelInfo:
    """Describe the captioner."""
    return ModelInfo(name=model.model_name, weights_sha256=model.weights_sha256, window_hu=tuple(model.window_hu))


def result(held: HeldImage, index: int, found: "SliceAssessment", model: Model) -> Result:
    """Describe an assessed slice."""
    image = held.opened.image
    slices, rows, columns = image.slices_hu.shape
    return Result(
        image=held.identity,
        name=held.opened.name,
        slices=slices,
        slice=index,
        rows=rows,
        columns=columns,
        pixel_spacing_mm=image.pixel_spacing_mm,
        window_hu=image.window_hu,
        scores=found.scores,
        descriptions={criterion.key: score_words(criterion, found) for criterion in CRITERIA},
        expected=found.expected,
        probabilities={
            key: {step: float(np.round(p, 6)) for step, p in shares.items()}
            for key, shares in found.probabilities.items()
        },
        caption=found.caption,
        warnings=list(found.warnings),
        model=model_info(model),
    )
