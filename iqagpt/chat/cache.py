"""Answers of a language model on disk, found by what was asked: plain JSON, one file per question.

An answer is checked again whenever it is read, so that a stale or edited file can do no more than be ignored.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1


def question_key(question: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a question: model, endpoint, prompt version, messages."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **question}, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class AnswerCache:
    """A folder of answers.

    Parameters
    ----------
    folder : Path
        Created when the first answer is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, question: Mapping[str, Any]) -> str | None:
        """Return the kept answer to a question, or None."""
        try:
            content = json.loads(self._file(question).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        answer = content.get("answer") if isinstance(content, dict) else None
        return answer if isinstance(answer, str) else None

    def keep(self, question: Mapping[str, Any], answer: str) -> None:
        """Keep an answer; that it cannot be written is no error."""
        file = self._file(question)
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=file.parent, prefix=".partial")
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                json.dump({"question": dict(question), "answer": answer}, stream, sort_keys=True, indent=1)
            os.replace(partial, file)

    def _file(self, question: Mapping[str, Any]) -> Path:
        key = question_key(question)
        return self._folder / key[:2] / f"{key}.json"
