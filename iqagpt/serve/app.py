"""The routes of the server: the page, and the HTTP API behind it.

``POST /api/assess``, ``POST /api/report`` and ``POST /api/chat`` are for programs too; ``GET /openapi.json`` describes all.
"""

import asyncio
import importlib.metadata
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from iqagpt.chat.dialogue import Client, Dialogue, Reply, ReportWriter, as_previous, pieces
from iqagpt.chat.opened_image import MAX_PIXELS, Model, OpenedImage, open_bounded
from iqagpt.criteria import CRITERIA, KEYS, scores_to_caption
from iqagpt.errors import InputError
from iqagpt.serve import schemas
from iqagpt.serve.export import PAGE_POLICY, map_png, printable_page
from iqagpt.serve.guard import HEADERS, Guard
from iqagpt.serve.images import Examiner, HeldImage, ImageGoneError, ImageStore
from iqagpt.serve.uploads import Budget, UploadError, read_upload, stated_size, upload

PAGE = Path(__file__).parent / "page"
_PAGE_FILES = {"app.css": "text/css", "app.js": "text/javascript"}
_UPLOAD_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "DICOM, NIfTI, .npy in HU, PNG or TIFF.",
                        },
                        "lower": {"type": "number", "description": "PNG and TIFF: HU of black."},
                        "upper": {"type": "number", "description": "PNG and TIFF: HU of white."},
                        "slice": {
                            "type": "integer",
                            "description": "Which one of several, from 0; the middle one if left out.",
                        },
                    },
                }
            }
        },
    }
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes and holds.

    Attributes
    ----------
    upload_bytes : int
        Largest file.
    pixels : int
        Of one image, all slices together.
    held_bytes : int
        Of all images held.
    """

    upload_bytes: int = 256 * 2**20
    pixels: int = MAX_PIXELS
    held_bytes: int = 2**30


@dataclass(frozen=True, slots=True)
class Parts:
    """What the server is made of.

    Attributes
    ----------
    model : Model
    writer : ReportWriter
    client : Client or None
        A language model for free questions.
    language_model : str or None
        Its host and name, for people.
    offered : sequence of path
        Image files that can be opened by number.
    window_hu : (lower, upper) or None
        HU of black and white of offered pictures.
    """

    model: Model
    writer: ReportWriter
    client: Client | None = None
    language_model: str | None = None
    offered: Sequence[Path] = ()
    window_hu: tuple[float, float] | None = None


def create_app(parts: Parts, limits: Limits | None = None) -> FastAPI:
    """Build the server's application."""
    limits = limits or Limits()
    app = FastAPI(
        title="IQAGPT",
        version=importlib.metadata.version("iqagpt"),
        description="CT image quality: scores, captions, reports and questions. Research use only; not for diagnosis.",
        docs_url=None,  # FastAPI's own pages load their scripts from the internet
        redoc_url=None,
        responses={422: {"model": schemas.ErrorAnswer}},
    )
    app.add_middleware(Guard)
    _add_errors(app)
    _add_page(app)
    examiner, store = Examiner(parts.model), ImageStore(limits.held_bytes)
    app.state.store = store
    _add_assess(app, parts, limits, examiner, store)
    _add_images(app, parts, limits, examiner, store)
    _add_dialogue(app, parts, examiner, store)
    return app


def _add_errors(app: FastAPI) -> None:
    async def user_error(_: Request, error: Exception) -> JSONResponse:
        status = error.status if isinstance(error, UploadError) else 404 if isinstance(error, ImageGoneError) else 422
        return JSONResponse({"error": str(error)}, status)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        found = [f"{'.'.join(map(str, e['loc'][1:])) or 'body'}: {e['msg']}" for e in error.errors()]
        return JSONResponse({"error": "; ".join(found)}, 422)

    async def broken(_: Request, error: Exception) -> JSONResponse:
        # What went wrong is in the server's terminal, not for whoever asks.
        return JSONResponse({"error": "the server failed at this; see its terminal"}, 500, HEADERS)

    async def refused(_: Request, error: Exception) -> JSONResponse:
        # No such address or method, or a body that cannot be read.
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    app.add_exception_handler(InputError, user_error)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, broken)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", media_type="text/html")

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name not in _PAGE_FILES:
            return JSONResponse({"error": "no such file"}, 404)
        return FileResponse(PAGE / name, media_type=_PAGE_FILES[name])


def _add_assess(app: FastAPI, parts: Parts, limits: Limits, examiner: Examiner, store: ImageStore) -> None:
    budget = Budget(2 * limits.upload_bytes)
    readers = asyncio.Semaphore(2)

    def held_result(opened: OpenedImage, index: int | None) -> schemas.Result:
        held = store.add(opened)
        try:
            return _result(examiner, held, len(opened.image.slices_hu) // 2 if index is None else index)
        except InputError:
            store.remove(held.identity)
            raise

    @app.post("/api/assess", openapi_extra=_UPLOAD_FORM, responses=_upload_errors())
    async def assess(request: Request) -> schemas.Result:
        """Assess one slice of an image; the image is held for further requests."""
        size = stated_size(request, limits.upload_bytes)
        async with (
            budget.share(min(size, 2 * limits.upload_bytes)),
            upload(request, limits.upload_bytes) as (name, file, fields),
        ):
            window_hu, index = _window(fields), _whole(fields, "slice")
            async with readers:
                opened = await run_in_threadpool(read_upload, name, file, window_hu, limits.pixels)
        return await run_in_threadpool(held_result, opened, index)

    @app.get("/api/files")
    def files() -> list[schemas.FileInfo]:
        """List the images that were named when the server was started."""
        return [schemas.FileInfo(index=k, name=path.name) for k, path in enumerate(parts.offered)]

    @app.post("/api/files/{index}")
    def open_file(index: int) -> schemas.Result:
        """Assess the middle slice of an image that was named when the server was started."""
        if not 0 <= index < len(parts.offered):
            raise InputError(f"there is no file {index}; see /api/files")
        path = parts.offered[index]
        return held_result(open_bounded(path, parts.window_hu, limits.pixels, name=path.name), None)


def _add_images(app: FastAPI, parts: Parts, limits: Limits, examiner: Examiner, store: ImageStore) -> None:
    @app.get("/api/info")
    def info() -> schemas.Info:
        """Say which model answers, on which scale, and where questions go."""
        return schemas.Info(
            version=app.version,
            model=schemas.model_info(parts.model),
            language_model=parts.language_model,
            criteria=[
                schemas.CriterionInfo(key=c.key, title=c.title, descriptions=list(c.descriptions)) for c in CRITERIA
            ],
            max_upload_bytes=limits.upload_bytes,
        )

    @app.get("/api/images/{image}", responses=_GONE)
    def assessed(image: str, index: _SliceQuery = 0) -> schemas.Result:
        """Assess a slice of a held image."""
        return _result(examiner, store.get(image), index)

    @app.get("/api/images/{image}/pixels", responses=_GONE, response_class=Response)
    def pixels(image: str, index: _SliceQuery = 0) -> Response:
        """Return a slice in HU: 16-bit signed little-endian integers, row by row."""
        values = store.get(image).opened.slice_hu(index).astype("<i2")
        return Response(values.tobytes(), media_type="application/octet-stream")

    @app.get("/api/images/{image}/map", responses=_GONE, response_class=Response)
    def looked_at(
        image: str,
        index: _SliceQuery = 0,
        criterion: Annotated[str | None, Query(description="Key of a criterion.")] = None,
        word: Annotated[int | None, Query(description="Of the caption, from 0, as split at spaces.")] = None,
    ) -> Response:
        """Return where the model looked for a criterion or a word, as a grey PNG over the whole slice; white is most."""
        held = store.get(image)
        if (criterion is None) == (word is None):
            raise InputError("give either criterion or word")
        if criterion is not None:
            return _png(examiner.criterion_map(held, index, criterion))
        return _png(examiner.word_map(held, index, word))

    @app.get("/api/images/{image}/export.json", responses=_GONE)
    def export_json(image: str, index: _SliceQuery = 0) -> Response:
        """Return a result with its report as a JSON file."""
        found = _result(examiner, store.get(image), index)
        report = parts.writer.write(found.scores)
        content = found.model_dump(exclude={"image"}) | {"report": report.text, "report_generator": report.generator}
        body = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        return Response(body, media_type="application/json", headers=_as_file("iqagpt.json"))

    @app.get("/api/images/{image}/export.html", responses=_GONE, response_class=HTMLResponse)
    def export_html(
        image: str,
        index: _SliceQuery = 0,
        lower: Annotated[float, Query(description="HU shown black.")] = -160,
        upper: Annotated[float, Query(description="HU shown white.")] = 240,
    ) -> HTMLResponse:
        """Return a result with its report as a page to print."""
        held = store.get(image)
        found = _result(examiner, held, index)
        window_hu = _checked_window(lower, upper)
        page = printable_page(found, parts.writer.write(found.scores), held.opened.slice_hu(index), window_hu)
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY})

    @app.delete("/api/images/{image}", status_code=204)
    def forget(image: str) -> Response:
        """Forget a held image at once."""
        store.remove(image)
        return Response(status_code=204)


def _add_dialogue(app: FastAPI, parts: Parts, examiner: Examiner, store: ImageStore) -> None:
    @app.post("/api/report", responses=_GONE)
    def report(body: schemas.ReportRequest) -> schemas.ReportAnswer:
        """Write a report on a slice of a held image, or on four scores."""
        if (body.image is None) == (body.scores is None):
            raise InputError("give either image or scores")
        given = body.scores is not None
        scores = _checked_scores(body.scores) if given else examiner.result(store.get(body.image), body.slice).scores
        written = parts.writer.write(scores)
        return schemas.ReportAnswer(text=written.text, generator=written.generator, findings=list(written.findings))

    @app.post("/api/chat", responses=_GONE | _EVENTS, response_class=StreamingResponse)
    def chat(body: schemas.ChatRequest) -> StreamingResponse:
        """Answer a question about a slice; the answer comes as server-sent events.

        ``text`` events hold ``{"text": ...}``, pieces to be joined; the last event, ``done``, holds ``source`` (template,
        space, model or fallback), ``findings`` and ``mark``. Only answers that were checked against the scores are sent.
        """
        found = examiner.result(store.get(body.image), body.slice)
        dialogue = Dialogue(found, parts.writer, parts.client, as_previous(body.previous))
        return StreamingResponse(_events(dialogue.reply(body.question)), media_type="text/event-stream")


def _events(reply: Reply) -> Iterator[str]:
    for piece in pieces(reply.text):
        yield _event("text", {"text": piece})
    yield _event("done", {"source": reply.source, "findings": list(reply.findings), "mark": reply.mark})


def _event(name: str, data: dict) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _result(examiner: Examiner, held: HeldImage, index: int) -> schemas.Result:
    return schemas.result(held, index, examiner.result(held, index), examiner.model)


def _png(values: np.ndarray) -> Response:
    return Response(map_png(values), media_type="image/png")


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _window(fields: dict[str, str]) -> tuple[float, float] | None:
    if not fields.get("lower") and not fields.get("upper"):
        return None
    try:
        lower, upper = float(fields.get("lower", "")), float(fields.get("upper", ""))
    except ValueError:
        raise InputError("lower and upper: expected two numbers, the HU of black and white") from None
    return _checked_window(lower, upper)


def _checked_window(lower: float, upper: float) -> tuple[float, float]:
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise InputError(f"window: expected lower below upper in HU, got {lower:g} and {upper:g}")
    return lower, upper


def _whole(fields: dict[str, str], key: str) -> int | None:
    if not fields.get(key):
        return None
    try:
        return int(fields[key])
    except ValueError:
        raise InputError(f"{key}: expected a whole number, got {fields[key][:20]!r}") from None


def _checked_scores(scores: dict[str, int | None]) -> dict[str, int | None]:
    unknown = sorted(set(scores) - set(KEYS))
    if unknown:
        raise InputError(f"scores: unknown criterion {unknown[0][:40]!r}; expected {', '.join(KEYS)}")
    try:
        scores_to_caption(scores)
    except ValueError as error:
        raise InputError(f"scores: {error}") from None
    return scores


def _upload_errors() -> dict[int | str, dict]:
    return {status: {"model": schemas.ErrorAnswer} for status in (400, 408, 411, 413, 415)}


_GONE: dict[int | str, dict] = {404: {"model": schemas.ErrorAnswer, "description": "The image is not held any more."}}
_EVENTS: dict[int | str, dict] = {
    200: {"content": {"text/event-stream": {}}, "description": "The answer, piece by piece."}
}
_SliceQuery = Annotated[int, Query(alias="slice", description="Index of the slice, from 0.")]
