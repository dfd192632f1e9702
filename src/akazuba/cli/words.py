"""`akazuba ask` and `akazuba wording …`: answers from the box's sources, and its texts in other languages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from akazuba.cli.shared import LANGUAGE, errors_shown, show
from akazuba.errors import ModelError

if TYPE_CHECKING:
    from akazuba.box import Box
    from akazuba.guidelines.library import Library
    from akazuba.llm.model import Model
    from akazuba.llm.passages import Passages
    from akazuba.llm.voice import Voice
    from akazuba.settings import Settings


@click.command()
@click.argument("question", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("--no-llm", is_flag=True, help="Leave the language model out: all passages that were found.")
def ask(question: tuple[str, ...], as_json: bool, no_llm: bool) -> None:
    """Answer a question from the box's own guidelines and knowledge, word for word, or say that they do not.

    Example: akazuba ask "when is a cough severe in a child?"
    """
    import msgspec

    from akazuba.guidelines.library import OWN, open_library
    from akazuba.llm.ask import ask as answer
    from akazuba.llm.voice import SILENT, open_voice
    from akazuba.plugins.brought import gather
    from akazuba.settings import from_environ

    with errors_shown():
        settings = from_environ()
        own, brought = settings.home / OWN, gather(settings.plugins).guidelines
        library = open_library(settings.overlays, own=own, strict=False, brought=brought)
        sources = opened_sources(settings, library)
        voice = SILENT
        if not no_llm:
            voice = open_voice(settings.llm, settings.llm_mmproj, settings.threads, settings.home)
        found = answer(" ".join(question), sources, voice.model if voice.may("ask") else None)
    if as_json:
        show(msgspec.json.encode(found))
        return
    lines = [f"{p.title}: {p.text}\n    [{p.source}; {p.review}]" for p in found.citations]
    if found.left_out:
        lines.append(f"The language model was left out: {found.left_out}.")
    show("\n".join(lines) if lines else found.answer)


def leading(settings: Settings, box: Box, voice: Voice) -> tuple[Model, Passages]:
    """What an interview needs that a language model leads. Raises ModelError for a model that may not."""
    if voice.model is None:
        raise ModelError("--led", "a language model", voice.why or "none")
    if not voice.may("lead"):
        expected = "a language model that passed the evaluation for leading (benchmarks/llm.py)"
        raise ModelError("--led", expected, voice.model.name)
    return voice.model, opened_sources(settings, box.desk.library)


def opened_sources(settings: Settings, library: Library) -> Passages:
    from akazuba.knowledge.conditions import open_knowledge
    from akazuba.sources import open_sources

    return open_sources(settings.home, library, open_knowledge())


@click.group()
def wording() -> None:
    """The fixed texts in other languages: how far each table goes, and what it lacks.

    Example: akazuba wording coverage
    """


@wording.command("coverage")
@click.option("--json", "as_json", is_flag=True)
def coverage(as_json: bool) -> None:
    """Print for each language how many of the fixed texts have a translation, and who has reviewed it.

    Example: akazuba wording coverage
    """
    from akazuba.wording.catalogue import ENGLISH, catalogue, languages

    with errors_shown():
        texts = _texts()
        facts = {}
        for code, language in languages().items():
            if code == ENGLISH:
                continue
            rows = catalogue(code).rows
            kinds = dict.fromkeys(kind for kind, _ in texts)
            facts[code] = {
                "name": language.name,
                "review": language.review,
                "translated": sum(text in rows for _, text in texts),
                "texts": len(texts),
                "by_kind": {
                    kind: f"{sum(text in rows for k, text in texts if k == kind)}"
                    f" of {sum(k == kind for k, _ in texts)}"
                    for kind in kinds
                },
            }
    if as_json:
        show(json.dumps(facts))
        return
    for code, fact in facts.items():
        show(f"{code} {fact['name']}: {fact['translated']} of {fact['texts']} ({fact['review']})")


@wording.command("missing")
@LANGUAGE
def missing(lang: str) -> None:
    """Print the fixed texts that a language lacks, as rows for its translators (`kind`, tab, English).

    Example: akazuba wording missing --lang sw
    """
    from akazuba.wording.catalogue import catalogue

    with errors_shown():
        rows = catalogue(lang).rows
        lines = [f"{kind}\t{text}" for kind, text in _texts() if text not in rows]
    if lines:
        show("\n".join(lines))


def _texts() -> dict[tuple[str, str], None]:
    from akazuba.fixed_texts import fixed_texts
    from akazuba.guidelines.library import open_library
    from akazuba.knowledge.conditions import open_knowledge
    from akazuba.settings import from_environ
    from akazuba.terminology import open_terminology

    with open_terminology(from_environ().home) as terms:
        return fixed_texts(open_library(()), open_knowledge().table, terms)
