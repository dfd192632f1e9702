"""Every text of a template stands in the tables, so that a page is in one language."""

import re
from importlib import resources

import pytest
from jinja2 import Environment, PackageLoader, nodes

from akazuba.wording.catalogue import catalogue, languages, page_texts, page_words, screen_texts

SAID = ("say", "fill")


def texts_of_templates() -> dict[str, str]:
    """Text that a template says -> the template."""
    made = Environment(loader=PackageLoader("akazuba.web"), autoescape=True)
    found: dict[str, str] = {}
    for file in sorted((resources.files("akazuba.web") / "templates").iterdir(), key=lambda file: file.name):
        for call in made.parse(file.read_text(encoding="utf-8")).find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name in SAID and call.args:
                first = call.args[0]
                parts = [first] if isinstance(first, nodes.Const) else first.find_all(nodes.Const)
                found |= {part.value: file.name for part in parts if isinstance(part.value, str)}
    return {text: name for text, name in found.items() if re.search(r"[^\W\d_]{2}", text)}


def test_every_text_of_a_template_is_a_row_of_the_tables() -> None:
    said = texts_of_templates()
    assert len(said) > 300
    known = {*screen_texts(), *page_texts(), *catalogue("fr").rows}
    assert {text: name for text, name in said.items() if text not in known} == {}


@pytest.mark.parametrize("code", [code for code in languages() if code != "en"])
def test_the_page_is_whole_in_every_language(code: str) -> None:
    rows = page_words(code).rows
    assert [text for text in page_texts() if text not in rows] == []
    assert sorted(rows.keys() - set(page_texts())) == []


@pytest.mark.parametrize("code", [code for code in languages() if code != "en"])
def test_a_word_of_a_button_is_put_into_no_patients_text(code: str) -> None:
    said = page_words(code)
    assert said.say("right") != "right"
    assert said.words.say("right lower chest") == "right lower chest"
    assert said.words.say("until the fever goes") == "until the fever goes"


def test_a_text_of_the_page_stands_in_one_list_only() -> None:
    assert len(set(page_texts())) == len(page_texts())
    assert not set(page_texts()) & set(screen_texts())
