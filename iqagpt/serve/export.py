"""A result as a page to print, and slices and maps as PNG.

Everything that came from outside is escaped. The page needs nothing but itself: picture and style are inside.
"""

import base64
import hashlib
import html
import io

import numpy as np
from PIL import Image

from iqagpt.chat.dialogue_answers import score_text
from iqagpt.chat.reports import Report
from iqagpt.criteria import CRITERIA
from iqagpt.ct import apply_window
from iqagpt.serve.schemas import Result

_STYLE = """
body { font: 11pt/1.45 system-ui, sans-serif; color: #111; background: #fff; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.3rem; margin: 0 0 .2rem } h2 { font-size: 1rem; margin: 1.2rem 0 .3rem }
img { width: 20rem; max-width: 100%; image-rendering: auto; background: #000 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .25rem .5rem .25rem 0; border-bottom: 1px solid #bbb; vertical-align: top }
pre { white-space: pre-wrap; font: inherit; margin: 0 } code { overflow-wrap: anywhere; font-size: .85em }
.small { color: #444; font-size: .85em } .warn { border-left: .25rem solid #b45309; padding-left: .6rem }
@media print { body { margin: 0; max-width: none } h2, img, table { break-inside: avoid } }
"""
#: The one style block is allowed by its hash, nothing else is.
PAGE_POLICY = (
    "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)


def slice_png(pixels_hu: np.ndarray, window_hu: tuple[float, float]) -> bytes:
    """Return a slice, (H, W), HU, as an 8-bit PNG over a window."""
    return _png(np.rint(apply_window(pixels_hu, window_hu) * 255).astype(np.uint8))


def map_png(values: np.ndarray) -> bytes:
    """Return a map, (h, w), not negative, as an 8-bit PNG whose white is the map's maximum."""
    peak = float(values.max(initial=0.0))
    scaled = np.zeros(values.shape, np.uint8) if peak <= 0 else np.rint(values / peak * 255).astype(np.uint8)
    return _png(scaled)


def printable_page(found: Result, report: Report, pixels_hu: np.ndarray, window_hu: tuple[float, float]) -> str:
    """Return a result as HTML to print.

    Parameters
    ----------
    found : Result
    report : Report
        On the scores of `found`.
    pixels_hu : ndarray, (H, W), int16, HU
    window_hu : (lower, upper)
        For the picture alone; the model has its own.
    """
    picture = base64.b64encode(slice_png(pixels_hu, window_hu)).decode()
    lower, upper = window_hu
    where = f"slice {found.slice + 1} of {found.slices}, " if found.slices > 1 else ""
    spacing = f", pixel {found.pixel_spacing_mm:g} mm" if found.pixel_spacing_mm else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>CT image quality: {_safe(found.name)}</title><style>{_STYLE}</style></head><body>
<h1>CT image quality</h1>
<p class="small">{_safe(found.name)}, {where}{found.rows} x {found.columns} pixels{spacing}</p>
<img src="data:image/png;base64,{picture}" alt="The assessed CT slice">
<p class="small">Shown from {lower:g} to {upper:g} HU.</p>
{_remarks(found)}<h2>Scores</h2>
<table><thead><tr><th>Criterion</th><th>Score</th><th>Meaning</th><th>Probability</th></tr></thead><tbody>
{_rows(found)}</tbody></table>
<p class="small">{_safe(found.direction)}</p>
<h2>Report</h2>
<pre>{_safe(report.text)}</pre>
{_origin(report)}<h2>Caption</h2>
<p>{_safe(found.caption)}</p>
<p class="small">Model {_safe(found.model.name)}, weights sha256 <code>{_safe(found.model.weights_sha256)}</code>.
{_safe(found.disclaimer)}</p>
</body></html>
"""


def _rows(found: Result) -> str:
    rows = []
    for criterion in CRITERIA:
        score = score_text(criterion, found)
        share = found.probabilities.get(criterion.key, {}).get("n/a" if score == "N/A" else score)
        cells = (criterion.title, score, found.descriptions[criterion.key], "" if share is None else f"{share:.2f}")
        rows.append("<tr>" + "".join(f"<td>{_safe(cell)}</td>" for cell in cells) + "</tr>\n")
    return "".join(rows)


def _remarks(found: Result) -> str:
    return "".join(f'<p class="warn">Warning: {_safe(text)}</p>\n' for text in found.warnings)


def _origin(report: Report) -> str:
    words = {
        "model": "Written by a language model from the scores alone; checked against them.",
        "space": "From the finished reports, written by a language model and checked against the scores.",
        "fallback": "From the template: the language model's report was not used.",
    }.get(report.generator, "")
    return f'<p class="small">{words}</p>\n' if words else ""


def _safe(text: str) -> str:
    return html.escape(text, quote=True)


def _png(values: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(values).save(target, "PNG")
    return target.getvalue()
