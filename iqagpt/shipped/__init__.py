"""The captioner that ships with the package, and the command that puts it here.

``iqagpt.load()`` and ``iqagpt assess`` use it where no other model is named. It is fitted by this very pipeline with
``presets/shipped.yaml``, on built-in data only; ``make shipped`` rebuilds it, `MODEL_CARD.md` beside the weights says how it does.
"""

from pathlib import Path

#: A folder like ``models/iqagpt`` of a run.
CAPTIONER = Path(__file__).parent / "captioner"
