"""Where images come from is said plainly, and without a person's name."""

import pytest

from iqagpt.image_source import shown_path, source_of_images


def test_absolute_paths_are_shortened() -> None:
    assert shown_path("data/phantom") == "data/phantom"
    for text in ("/home/jane/scans", "~/scans/", r"C:\Users\jane\scans", r"\\server\jane\scans"):
        assert shown_path(text) == ".../scans"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"ingest": {"root": "data/phantom"}}, "built-in CT phantom: SYNTHETIC patients, no real CT"),
        ({"ingest": {"root": "./data/phantom/"}}, "built-in CT phantom: SYNTHETIC patients, no real CT"),
        (
            {"ingest": {"root": "/home/jane/aapm", "low_dose": "simulated"}},
            "data of the user (.../aapm), low dose simulated",
        ),
        ({"ingest": {"root": "data/real", "low_dose": "given"}}, "data of the user (data/real), low dose as given"),
        ({"evaluate": {}}, "not stated"),
    ],
)
def test_source_of_images_is_plain(params: dict, said: str) -> None:
    assert source_of_images(params) == said
