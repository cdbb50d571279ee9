"""Elements: escaping, attributes, misuse."""

import pytest

from iqagpt.page.markup import Html, element, join


def test_text_is_escaped_and_markup_is_not() -> None:
    hostile = "<script>alert('x')</script> & \"y\""
    inner = element("b", hostile)
    assert element("p", inner, " <", 3) == f"<p>{inner} &lt;3</p>"
    assert "<script>" not in inner
    assert "&lt;script&gt;" in inner
    assert "&quot;y&quot;" in inner


def test_attributes_are_escaped_left_out_and_renamed() -> None:
    text = element("td", title='"><img src=x>', data_sort=1, class_="a", hidden=True, colspan=None, open=False)
    assert text == '<td title="&quot;&gt;&lt;img src=x&gt;" data-sort="1" class="a" hidden></td>'


def test_rows_of_content_and_nothing() -> None:
    assert join([None, "a", [Html("<br>"), iter(["b"])]]) == "a<br>b"
    assert element("br") == "<br>"


@pytest.mark.parametrize("name", ["", "b onload", "1a", "<b"])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected an element's name"):
        element(name)


def test_an_empty_element_holds_nothing() -> None:
    with pytest.raises(ValueError, match="<img> holds nothing"):
        element("img", "text")
