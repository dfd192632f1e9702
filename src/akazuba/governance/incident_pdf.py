r"""An attribution as PDF, for paper and for whoever has no browser: what the page says, in the same words.

Text stands in it as text. A character that cannot be seen, for which there is no glyph here, or whose script
needs shaping or runs from the right, stands there as its escape (`\u0645`): nothing is dropped or hidden.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from akazuba.errors import InputError
from akazuba.governance.incident_report import (
    CAUSES,
    NOTED,
    UNCHECKED,
    evidence_line,
    facts_of,
    facts_of_cause,
)
from akazuba.governance.incidents import Attribution

if TYPE_CHECKING:
    from fpdf import FPDF

PACKAGED = ("fontpkg_noto_sans", "files/NotoSans[wdth,wght].ttf")
SYSTEM = Path("/usr/share/fonts")
WANTED = (
    "DejaVuSans.ttf",
    "NotoSansEthiopic-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
)
"""Looked for by name where Debian puts fonts, for what the packaged one lacks."""

_MARGIN_MM, _LINE_MM = 20.0, 5.2
_SCRIPTS = (
    *("LATIN", "GREEK", "CYRILLIC", "ETHIOPIC", "CJK", "HIRAGANA", "KATAKANA", "HANGUL SYLLABLE"),
    *("FULLWIDTH", "MICRO SIGN", "OHM", "KELVIN", "ANGSTROM", "MODIFIER LETTER", "IDEOGRAPHIC"),
    *("FEMININE ORDINAL", "MASCULINE ORDINAL"),
)
"""Written from the left, one glyph after another."""

_SPACES = (" ", "\N{NO-BREAK SPACE}", "\N{IDEOGRAPHIC SPACE}")


def as_pdf(said: Attribution, fonts: Iterable[Path] | None = None) -> bytes:
    """fonts: files to take glyphs from, the first that has one; those that are installed when None.

    Raises InputError without the extra `report`, or without any font.
    """
    try:
        from fpdf import FPDF
    except ImportError as problem:
        found = "no `fpdf2`: pip install 'akazuba[report]'"
        raise InputError("PDF", "the extra `report`", found) from problem

    class Paper(FPDF):
        def footer(self) -> None:
            self.set_y(-_MARGIN_MM * 0.7)
            self.set_font(names[0], size=8)
            words = f"Assessment {said.assessment}, page {self.page_no()}. Not a legal finding."
            self.cell(0, _LINE_MM, words, align="C")

    pdf = Paper(format="A4")
    pdf.str_alias_nb_pages = ""  # "{nb}" in a record is no number of pages
    pdf.set_margin(_MARGIN_MM)
    pdf.set_auto_page_break(auto=True, margin=_MARGIN_MM)
    pdf.set_title(f"Incident: assessment {said.assessment}")
    pdf.set_lang("en")
    lines = list(_lines(said))
    names, glyphs = _with_fonts(pdf, installed_fonts() if fonts is None else fonts, lines)
    pdf.add_page()
    for text, points, gap_mm in lines:
        pdf.set_font(names[0], size=points)
        pdf.ln(gap_mm)
        words = escaped(text, glyphs.__contains__)
        pdf.multi_cell(0, _LINE_MM * points / 10, words, align="L", new_x="LMARGIN", new_y="NEXT")
    return bytes(pdf.output())


def escaped(text: str, has: Callable[[int], bool]) -> str:
    r"""Line feeds stay. has: whether there is a glyph.

    >>> escaped("Été \u202e{nb}\u0645", lambda _: True)
    'Été \\u202e{nb}\\u0645'
    """
    return "".join(c if c == "\n" or (_plain(c) and has(ord(c))) else _escape(c) for c in text)


def installed_fonts() -> list[Path]:
    package, inside = PACKAGED
    spec = find_spec(package)
    packaged = [Path(spec.origin).parent / inside] if spec and spec.origin else []
    system = {path.name: path for path in sorted(SYSTEM.rglob("*.tt[fc]")) if path.name in WANTED}
    return [path for path in packaged if path.is_file()] + [system[name] for name in WANTED if name in system]


Line = tuple[str, float, float]
"""Text, its size in points and the gap before it in mm."""


def _with_fonts(pdf: FPDF, fonts: Iterable[Path], lines: Iterable[Line]) -> tuple[list[str], set[int]]:
    """As many as the text needs; their names, and what they have glyphs for."""
    names, glyphs = list[str](), set[int]()
    needed = {ord(character) for text, _, _ in lines for character in text if _plain(character)}
    for number, path in enumerate(fonts):
        if names and needed <= glyphs:
            break
        names.append(f"font{number}")
        pdf.add_font(names[-1], fname=path)
        glyphs |= set(pdf.fonts[names[-1]].cmap)  # type: ignore[union-attr]
    if not names:
        raise InputError("PDF", "a font: `fontpkg-noto-sans` of the extra `report`", "none")
    pdf.set_fallback_fonts(names[1:], exact_match=False)
    return names, glyphs


def _lines(said: Attribution) -> Iterator[Line]:
    yield f"Who contributed: assessment {said.assessment}", 15, 0
    yield said.disclaimer, 11, 3
    yield said.conclusion, 11, 3
    yield from _facts(facts_of(said))
    if said.causes:
        yield CAUSES, 13, 5
    for number, cause in enumerate(said.causes, 1):
        yield f"{number}. {cause.kind}", 11.5, 3
        yield from _facts(facts_of_cause(cause))
        yield from ((f"Evidence: {evidence_line(it)}", 10, 1) for it in cause.evidence)
    for title, items in ((NOTED, said.noted), (UNCHECKED, said.unchecked)):
        if items:
            yield title, 13, 5
        yield from ((f"\N{EN DASH} {item}", 10, 1) for item in items)


def _facts(facts: Mapping[str, str]) -> Iterator[Line]:
    return ((f"{name}: {value}", 10, 1) for name, value in facts.items())


def _plain(character: str) -> bool:
    if character in _SPACES:
        return True
    kind = unicodedata.category(character)
    if kind[0] == "L":
        return unicodedata.name(character, "").startswith(_SCRIPTS)
    if kind[0] == "M":
        return unicodedata.name(character, "").startswith("COMBINING")
    return kind[0] in "NPS" and unicodedata.bidirectional(character) not in ("R", "AL", "AN")


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
