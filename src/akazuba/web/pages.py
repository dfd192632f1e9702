"""Templates, in the language of the tablet."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from akazuba import __version__
from akazuba.llm.facts import percent
from akazuba.web import access
from akazuba.wording.catalogue import (
    ENGLISH,
    BroughtTable,
    Catalogue,
    PageWords,
    catalogue,
    languages,
    page_texts,
    page_words,
)
from akazuba.wording.names import label, named

BY_THE_MAKERS = "Translated by the makers of the box: not reviewed by a speaker or a clinician."
PARTLY = "{} of {} texts of the page are in this language; the others are in English."

_brought: dict[str, BroughtTable] = {}
"""Languages that plugins bring, by code: a process serves one box, which names them when it is opened."""


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("akazuba.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["percent"] = percent
    made.filters["label"] = label
    made.filters["named"] = named
    return made


def bring(tables: Mapping[str, BroughtTable]) -> None:
    """Languages that plugins bring, from now on; another table of a code takes the place of the old."""
    if any(_brought.get(code) is not table for code, table in tables.items()):
        _brought.update(tables)
        screen_words.cache_clear()
        _document_words.cache_clear()
        reviewed.cache_clear()


@cache
def screen_words(code: str) -> PageWords:
    """For the page's own texts, which hold nothing of a patient."""
    return page_words(code, _brought)


def document_words(code: str) -> Catalogue:
    """For a patient's document; `in_language` forgets it again."""
    return _document_words(code)


@cache
def _document_words(code: str) -> Catalogue:
    return catalogue(code, _brought)


@cache
def reviewed(code: str) -> tuple[str, ...]:
    """Who has seen a language, and how much of the page it has where a plugin brings it; in that language."""
    if code in languages():
        return () if code == ENGLISH else (screen_words(code).say(BY_THE_MAKERS),)
    words, texts = screen_words(code), page_texts()
    known = sum(text in words.words.rows for text in texts)
    review = words.words.language.review
    if known == len(texts):
        return (review,)
    return (review, words.fill(PARTLY, str(known), str(len(texts))))


async def page(request: Request, name: str, status: int = 200, **values: object) -> HTMLResponse:
    """A whole page, with who is signed in and how the box stands."""
    who, session = access.visitor(request), await access.signed_in(request)
    shown = {
        "user": session[1] if session else None,
        "state": access.post_of(request).state,
        "tablet": who.tablet,
        "path": request.url.path,
        "version": __version__,
        "languages": languages(access.post_of(request).plugins.languages),
        "reviewed": reviewed(who.language),
        **values,
    }
    response = fragment(request, name, status, **shown)
    access.remember(request, response)
    return response


def fragment(request: Request, name: str, status: int = 200, **values: object) -> HTMLResponse:
    """A part of a page."""
    who = access.visitor(request)
    words = screen_words(who.language)
    html = (
        _templates()
        .get_template(name)
        .render(
            say=words.say,
            fill=words.fill,
            lang=who.language,
            csrf=who.csrf,
            plugin_kinds=tuple(access.post_of(request).readers),
            **values,
        )
    )
    return HTMLResponse(html, status)
