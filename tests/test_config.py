"""Params sections become typed, or the message names file, key and value."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from iqagpt.config import NO_FILE, given_file, load_section, read_params
from iqagpt.errors import ParamsError, UserError


@dataclass(frozen=True, slots=True)
class Inner:
    width: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Section:
    lr: float
    epochs: int
    augment: bool
    name: str
    stem: Literal["linear", "conv"]
    window_hu: tuple[float, float]
    patients: tuple[str, ...]
    kernel: str | None
    thickness_mm: float | None
    inner: Inner

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr: expected a number > 0, got {self.lr}")


GOOD = {
    "lr": "1.0e-3",
    "epochs": "30",
    "augment": "true",
    "name": "x",
    "stem": "conv",
    "window_hu": "[-160, 240.0]",
    "patients": "['001', L067]",
    "kernel": "null",
    "thickness_mm": "3",
    "inner": "{width: 8, ratio: 0.5}",
}


def load(folder: Path, cls: type = Section, **changes: str | None) -> Section:
    """Write ``train`` with some values replaced (None leaves the key out) and load it."""
    values = {key: text for key, text in (GOOD | changes).items() if text is not None}
    file = folder / "params.yaml"
    file.write_text("train:\n" + "".join(f"  {key}: {text}\n" for key, text in values.items()))
    return load_section(file, "train", cls)


def refusal(folder: Path, **changes: str | None) -> str:
    with pytest.raises(ParamsError) as caught:
        load(folder, **changes)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'params.yaml'}: train."), message
    assert "\n" not in message
    return message.removeprefix(f"{folder / 'params.yaml'}: ")


def test_good_section_has_declared_types(tmp_path: Path) -> None:
    section = load(tmp_path)
    assert section == Section(0.001, 30, True, "x", "conv", (-160.0, 240.0), ("001", "L067"), None, 3.0, Inner(8, 0.5))
    assert type(section.thickness_mm) is float
    assert [type(bound) for bound in section.window_hu] == [float, float]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-05", 1e-5),
        ("1e-4", 1e-4),
        ("2e-4", 2e-4),
        ("1e3", 1000.0),
        ("1.0e-5", 1e-5),
        ("2", 2.0),
        ("'0.5'", 0.5),
    ],
)
def test_number_texts_become_floats(tmp_path: Path, text: str, value: float) -> None:
    lr = load(tmp_path, lr=text).lr
    assert lr == value
    assert type(lr) is float


@pytest.mark.parametrize("text", ["fast", "true", "null", "[1.0]", ".nan", ".inf", "nan", "-inf"])
def test_other_values_for_a_float_are_refused(tmp_path: Path, text: str) -> None:
    message = refusal(tmp_path, lr=text)
    assert message.startswith("train.lr: expected a ")
    assert "number, got " in message


def test_wrong_type_names_key_expectation_and_value(tmp_path: Path) -> None:
    assert refusal(tmp_path, lr="fast") == "train.lr: expected a number, got 'fast'"


@pytest.mark.parametrize(("text", "shown"), [("true", "True"), ("3.0", "3.0"), ("'3'", "'3'"), ("null", "None")])
def test_whole_number_is_strict(tmp_path: Path, text: str, shown: str) -> None:
    assert refusal(tmp_path, epochs=text) == f"train.epochs: expected a whole number, got {shown}"


@pytest.mark.parametrize(("text", "shown"), [("1", "1"), ("0", "0"), ("'true'", "'true'"), ("null", "None")])
def test_bool_never_comes_from_a_number_or_text(tmp_path: Path, text: str, shown: str) -> None:
    assert refusal(tmp_path, augment=text) == f"train.augment: expected true or false, got {shown}"


def test_text_never_comes_from_a_number(tmp_path: Path) -> None:
    assert refusal(tmp_path, name="010") == "train.name: expected text, got 8"
    assert refusal(tmp_path, patients="[001]") == "train.patients[0]: expected text, got 1"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[-160.0]", "train.window_hu: expected a list of 2 values, got [-160.0]"),
        ("[1, 2, 3]", "train.window_hu: expected a list of 2 values, got [1, 2, 3]"),
        ("240", "train.window_hu: expected a list, got 240"),
        ("[-160, wide]", "train.window_hu[1]: expected a number, got 'wide'"),
    ],
)
def test_list_length_and_members(tmp_path: Path, text: str, complaint: str) -> None:
    assert refusal(tmp_path, window_hu=text) == complaint


def test_empty_list_of_any_length(tmp_path: Path) -> None:
    assert load(tmp_path, patients="[]").patients == ()


def test_literal_lists_the_choices(tmp_path: Path) -> None:
    assert refusal(tmp_path, stem="convolution") == "train.stem: expected one of linear, conv, got 'convolution'"


def test_optional(tmp_path: Path) -> None:
    assert load(tmp_path, kernel="B30f").kernel == "B30f"
    assert load(tmp_path, thickness_mm="null").thickness_mm is None
    assert load(tmp_path, thickness_mm="1e0").thickness_mm == 1.0
    assert refusal(tmp_path, kernel="30") == "train.kernel: expected text, got 30"


def test_unknown_key_suggests_the_nearest_name(tmp_path: Path) -> None:
    message = refusal(tmp_path, epoch="3")
    assert message.startswith("train.epoch: unknown key (did you mean 'epochs'?); known keys: lr, epochs,")
    assert "did you mean" not in refusal(tmp_path, zzz="3")


def test_unknown_key_is_found_before_a_missing_one(tmp_path: Path) -> None:
    assert refusal(tmp_path, epochs=None, epocs="3").startswith("train.epocs: unknown key (did you mean 'epochs'?)")


def test_missing_key_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, epochs=None).startswith("train.epochs: missing key")


def test_nested_keys_are_named_in_full(tmp_path: Path) -> None:
    assert refusal(tmp_path, inner="{width: 8}").startswith("train.inner.ratio: missing key")
    message = refusal(tmp_path, inner="{width: 8, ratios: 1, ratio: 1}")
    assert message.startswith("train.inner.ratios: unknown key (did you mean 'ratio'?)")
    assert refusal(tmp_path, inner="{width: w, ratio: 1}") == "train.inner.width: expected a whole number, got 'w'"
    assert refusal(tmp_path, inner="8") == "train.inner: expected a mapping with keys, got 8"


def test_range_checks_of_the_dataclass_get_the_prefix(tmp_path: Path) -> None:
    assert refusal(tmp_path, lr="-1e-3") == "train.lr: expected a number > 0, got -0.001"


def test_section_inside_a_section(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("denoisers:\n  map_nn:\n    width: 16\n    ratio: 1e-1\n  red_cnn: 3\n")
    assert load_section(file, "denoisers.map_nn", Inner) == Inner(16, 0.1)
    with pytest.raises(ParamsError) as caught:
        load_section(file, "denoisers.map_n", Inner)
    assert str(caught.value).startswith(
        f"{file}: section 'denoisers.map_n' is missing below 'denoisers' (did you mean 'map_nn'?)"
    )
    with pytest.raises(ParamsError, match=r"section 'denoisers\.red_cnn\.x' is missing"):
        load_section(file, "denoisers.red_cnn.x", Inner)
    with pytest.raises(ParamsError, match=r"denoisers\.red_cnn: expected a mapping with keys, got 3"):
        load_section(file, "denoisers.red_cnn", Inner)


def test_missing_section_suggests_and_says_where_to_look(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("trian:\n  lr: 1\n")
    with pytest.raises(ParamsError) as caught:
        load_section(file, "train", Section)
    message = str(caught.value)
    assert message.startswith(f"{file}: section 'train' is missing (did you mean 'trian'?)")
    assert "presets/smoke.yaml" in message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("train: [1, 2\n", "not valid YAML"),
        ("a: b: c\n", "not valid YAML"),
        ("- train\n", "expected a mapping of sections, got list"),
        ("", "expected a mapping of sections, got NoneType"),
    ],
)
def test_files_that_are_no_params(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(content)
    with pytest.raises(ParamsError) as caught:
        read_params(file)
    assert str(caught.value).startswith(f"{file}: {complaint}")
    assert "\n" not in str(caught.value)


def test_absent_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="no such params file"):
        read_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParamsError, match="not valid YAML"):
        read_params(tmp_path / "params.yaml")


def test_params_error_is_a_user_error() -> None:
    assert issubclass(ParamsError, UserError)
    assert issubclass(UserError, ValueError)


def test_given_file_knows_the_committed_none_file() -> None:
    assert given_file("presets/none.txt") is None
    assert given_file("./presets/none.txt") is None
    assert given_file("weights/red_cnn.safetensors") == Path("weights/red_cnn.safetensors")
    assert (Path(__file__).resolve().parents[1] / NO_FILE).is_file()


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train:\n  lr: 1.0\n  lr: 2.0\n", encoding="utf-8")
    with pytest.raises(ParamsError, match=r"key 'lr' is given twice.*line 3"):
        read_params(tmp_path / "params.yaml")
