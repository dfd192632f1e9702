"""Templates, in the language of the tablet."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from akazuba import __version__
from akazuba.llm.facts import percent
from akazuba.web import access
from akazuba.wording.catalogue import Catalogue, PageWords, catalogue, languages, page_words


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
    return made


@cache
def screen_words(code: str) -> PageWords:
    """For the page's own texts, which hold nothing of a patient."""
    return page_words(code)


def document_words(code: str) -> Catalogue:
    """For a patient's document; `in_language` forgets it again."""
    return _document_words(code)


@cache
def _document_words(code: str) -> Catalogue:
    return catalogue(code)


async def page(request: Request, name: str, status: int = 200, **values: object) -> HTMLResponse:
    """A whole page, with who is signed in and how the box stands."""
    who, session = access.visitor(request), await access.signed_in(request)
    shown = {
        "user": session[1] if session else None,
        "state": access.post_of(request).state,
        "tablet": who.tablet,
        "path": request.url.path,
        "version": __version__,
        "languages": languages(),
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
        .render(say=words.say, fill=words.fill, lang=who.language, csrf=who.csrf, **values)
    )
    return HTMLResponse(html, status)
