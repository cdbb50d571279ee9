"""A server's application with a small model, without a network."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[1] / "chat"))
from made_results import TemplateWriter
from noise_server import ADDRESS, SIZE, NoiseModel

from iqagpt.serve.app import Limits, Parts, create_app


@pytest.fixture
def limits() -> Limits:
    return Limits(upload_bytes=2**20, pixels=40 * SIZE**2, held_bytes=60 * SIZE**2 * 2)


@pytest.fixture
def parts() -> Parts:
    return Parts(NoiseModel(), TemplateWriter())


@pytest.fixture
def client(parts: Parts, limits: Limits) -> Iterator[TestClient]:
    with TestClient(create_app(parts, limits), base_url=ADDRESS, raise_server_exceptions=False) as found:
        yield found
