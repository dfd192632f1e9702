r"""Fixed texts in another language: a text that the tables know is said in it, any other stays as it is.

A table (`sw.tsv`) has a row for each English text. `{}` in a row holds the place of a number, a name or a
text that is said in its turn; `{2}` is the second of the English row. What the box puts together (a list, a
name with its value, a reason with its values) is taken apart and said piece by piece, so that nothing depends
on a language model and every piece can be reviewed by itself.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType

import msgspec

from akazuba.errors import ArtefactError, InputError, why_not_opened

ENGLISH = "en"
SCREEN, PAGE = "screen.tsv", "page.tsv"

_NUMBERS = re.compile(r"(?<![A-Za-z])((?:[<>≥≤×~+-]\s?)?\d[\d.,]*(?:\s?[/<>≥≤=-]\s?\d[\d.,]*)*\s?%?)")
_QUOTED = re.compile(r'(.+?) (\("[^"]*"\))')
_DURING = re.compile(r" for ([\d.]+) days?$")
_BRACKETED = re.compile(r"(.+?) \((.+)\)", re.DOTALL)
_HOLE = re.compile(r"\{(\d*)\}")
_LETTERS = re.compile(r"[^\W\d_]{2}")
_FREE = "check at once ("
"""Rows that begin so hold whole reasons; in the hole of any other row a list would change its sense."""

_NO_VERBS = frozenset(
    ("for", "against", "present", "absent", "tests", "uncertain", "yes", "no", "none", "or")
)
"""Rows that stand alone on the screen and mean something else inside a text."""

LIST_MARKS = ("; ", " or ")

DEEPEST = 12
"""Levels to which a text is taken apart."""

MOST_TABLE_BYTES = 16 * 1024**2
"""A table has about 1 MB."""


@dataclass(frozen=True)
class Language:
    """name: as its speakers write it. review: who has seen the table.

    colon, between, after, blank: what stands behind a title, in a list, between texts and between words.
    """

    name: str
    review: str
    colon: str = ": "
    between: str = ", "
    after: str = "; "
    blank: str = " "


@dataclass(frozen=True)
class BroughtTable:
    """A language that a plugin brings."""

    plugin: str
    language: Language
    table: bytes

    @property
    def shown(self) -> Language:
        return replace(self.language, review=f"{self.language.review} (plugin {self.plugin})")


@dataclass
class Catalogue:
    """One language's table. rows: English text -> its translation.

    unsaid: what had to stay in English since `forget`, which a new patient's document begins with.
    """

    code: str
    language: Language
    rows: Mapping[str, str]
    unsaid: set[str] = field(default_factory=set)
    _said: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    _depth: int = 0

    def __post_init__(self) -> None:
        holed = self.rows.with_holes() if isinstance(self.rows, Rows) else self.rows.items()
        patterns = [(english, said) for english, said in holed if "{" in english]
        patterns.sort(key=lambda row: -len(_HOLE.sub("", row[0])))
        self._patterns = [
            (_pattern(english), said, _marks(english))
            for english, said in patterns
            if _LETTERS.search(english)
        ]

    def forget(self) -> None:
        """What was said of one patient does not stay in memory."""
        self.unsaid.clear()
        self._said.clear()

    def say(self, text: str) -> str:
        """The text in this language, as far as the table goes. English is returned as it is."""
        if self.code == ENGLISH or not text or self._depth > DEEPEST:
            return text
        if text not in self._said:
            self._depth += 1
            outside, self.unsaid = self.unsaid, set()
            self._said[text] = self._whole(text) or self._in_pieces(text), frozenset(self.unsaid)
            self.unsaid = outside
            self._depth -= 1
        said, unsaid = self._said[text]
        self.unsaid |= unsaid
        return said

    def join(self, texts: Iterable[str]) -> str:
        """Each text said, as a list."""
        return self.language.after.join(self.say(text) for text in texts)

    def dose(self, text: str) -> str:
        """A dose (amount, unit, how often, for how long), said whole or left in English.

        >>> catalogue(ENGLISH).dose("250 mg twice daily for 5 days")
        '250 mg twice daily for 5 days'
        """
        if self.code == ENGLISH:
            return text
        amount, _, rest = text.partition(" ")
        during = _DURING.search(rest)
        for end, days in ((during.start(), during[1]), (len(rest), "")) if during else ((len(rest), ""),):
            if (said := self._unit_and_frequency(rest[:end])) is not None:
                row = "for {} day" if days == "1" else "for {} days"
                return f"{amount} {said}" + (f" {self.fill(row, days)}" if days else "")
        self.unsaid.add(text)
        return text

    def _unit_and_frequency(self, text: str) -> str | None:
        for blank in (*_places(" ", text), len(text)):
            unit, frequency = text[:blank], text[blank + 1 :]
            said = self.rows.get(unit) or (unit if not _LETTERS.search(unit) else None)
            often = self.rows.get(frequency) if frequency else ""
            if said is not None and often is not None:
                return f"{said} {often}".strip()
        return None

    def fill(self, text: str, *values: str) -> str:
        """A row with `{}` in this language, its holes filled with `values` as they are.

        >>> catalogue(ENGLISH).fill("in {} days", "3")
        'in 3 days'
        """
        return _filled(self.rows.get(text, text), values)

    def _whole(self, text: str) -> str | None:
        """By a row of the table, with or without holes."""
        if (said := self.rows.get(text)) is not None:
            return said
        turned = text[:1].swapcase() + text[1:]
        if not text.isupper() and (said := self.rows.get(turned)) is not None:
            return said[:1].upper() + said[1:] if text[0].isupper() else said
        for pattern, said, marks in self._patterns:
            found = pattern.fullmatch(text)
            if found and (
                text.startswith(_FREE)
                or all(part not in _NO_VERBS and self._fits(part, marks) for part in found.groups())
            ):
                return _filled(said, [self.say(part) for part in found.groups()])
        return None

    def _fits(self, text: str, marks: Sequence[str]) -> bool:
        """Whether a text may stand in a hole: one of the table, or neither a list nor half of a bracket."""
        whole = text.count("(") == text.count(")") and not any(mark in f" {text} " for mark in marks)
        return whole or text in self.rows

    def _in_pieces(self, text: str) -> str:
        """What the box put together, taken apart in the one way that fits."""
        for apart in (
            self._quotation,
            self._headed,
            self._pair,
            self._list,
            self._titled,
            self._values,
        ):
            before = frozenset(self.unsaid)
            if (said := apart(text)) is not None:
                return said
            self.unsaid &= before
        if _LETTERS.search(text):
            self.unsaid.add(text)
        return text

    def _quotation(self, text: str) -> str | None:
        """A name with the words of the note, which stay."""
        found = _QUOTED.fullmatch(text)
        return f"{self.say(found[1])} {found[2]}" if found else None

    def _headed(self, text: str) -> str | None:
        """A title that the table has itself, with what follows it."""
        if "; " not in text:
            for colon in _colons(text):
                if (said := self.rows.get(text[:colon])) is not None:
                    return said + self.language.colon + self.say(text[colon + 2 :])
        return None

    def _list(self, text: str) -> str | None:
        if "; " in text:
            return self.language.after.join(self.say(part) for part in self._parts(text, "; "))
        if " or " in text and None not in (parts := [self._known(part) for part in text.split(" or ")]):
            return f" {self.rows.get('or', 'or')} ".join(part for part in parts if part)
        return None

    def _titled(self, text: str) -> str | None:
        """A title with what follows it, a name with what stands in brackets, a list."""
        for colon in _colons(text):
            if (said := self._known(text[:colon])) is not None:
                return said + self.language.colon + self.say(text[colon + 2 :])
        if (found := _BRACKETED.fullmatch(text)) and _LETTERS.search(found[2]):
            return f"{self.say(found[1])} ({self.say(found[2])})"
        if ", " in text:
            return self.language.between.join(self.say(part) for part in self._parts(text, ", "))
        return None

    def _known(self, text: str) -> str | None:
        return self._whole(text) or self._pair(text)

    def _pair(self, text: str) -> str | None:
        """A verb with its object, or a name with its value."""
        before = frozenset(self.unsaid)
        for blank in _places(" ", text):
            self.unsaid &= before
            verb, object_ = text[:blank], text[blank + 1 :]
            if verb.lower() in _NO_VERBS or verb.endswith((";", ",")) or not self._fits(object_, LIST_MARKS):
                continue
            if (rest := self._whole(object_)) is None:
                continue
            head = self._whole(verb)
            if head is None and not _LETTERS.search(text[:blank]):
                head = text[:blank]  # a letter of a unit
            if head:
                return head + self.language.blank + rest
        return None

    def _values(self, text: str) -> str | None:
        """Words between numbers, which stay; all of them or none, so that no half of a sentence is said."""
        pieces = _NUMBERS.split(text)
        if len(pieces) == 1:
            return None
        said = [self._around(piece) if n % 2 == 0 else piece for n, piece in enumerate(pieces)]
        if None in said:
            self.unsaid.add(text)
            return text
        return "".join(piece for piece in said if piece)

    def _parts(self, text: str, mark: str) -> list[str]:
        """The parts of a list; a row of the table that has the mark itself is one part."""
        parts, found = text.split(mark), []
        while parts:
            most = next((n for n in range(len(parts), 1, -1) if mark.join(parts[:n]) in self.rows), 1)
            found.append(mark.join(parts[:most]))
            parts = parts[most:]
        return found

    def _around(self, piece: str) -> str | None:
        """A piece between numbers, with the blanks around it as they are."""
        words = piece.strip()
        if not _LETTERS.search(words):
            return piece
        said = None if words.lower() in _NO_VERBS else self._known(words)
        return None if said is None else piece.replace(words, said)


def _places(mark: str, text: str) -> list[int]:
    """Where a mark stands, the last place first: the longest head that the table knows is the one meant."""
    return [found.start() for found in re.finditer(re.escape(mark), text)][::-1]


def _colons(text: str) -> list[int]:
    """Where a title may end: not inside brackets."""
    return [colon for colon in _places(": ", text) if text.count("(", 0, colon) == text.count(")", 0, colon)]


def _marks(english: str) -> tuple[str, ...]:
    """What may not stand in its holes: where it announces no list itself, neither a comma nor a colon."""
    return LIST_MARKS if ":" in english or " and " in english else (*LIST_MARKS, ", ", ": ")


def _pattern(english: str) -> re.Pattern[str]:
    parts = [re.escape(part) for part in _HOLE.split(english)[::2]]
    return re.compile("(.+?)".join(parts), re.DOTALL)


def _filled(said: str, given: Sequence[str]) -> str:
    places = iter(range(len(given)))

    def value(hole: re.Match[str]) -> str:
        place = int(hole[1]) - 1 if hole[1] else next(places, -1)
        return given[place] if 0 <= place < len(given) else hole[0]

    return _HOLE.sub(value, said)


_NONE: Mapping[str, BroughtTable] = MappingProxyType({})


def languages(brought: Mapping[str, BroughtTable] = _NONE) -> dict[str, Language]:
    """Language by ISO 639-1 code, English first. brought: by plugins, which add but replace none."""
    shipped = msgspec.json.decode(shipped_table("languages.json"), type=dict[str, Language])
    return shipped | {code: table.shown for code, table in brought.items() if code not in shipped}


def catalogue(code: str, brought: Mapping[str, BroughtTable] = _NONE) -> Catalogue:
    """The table of a language. Raises InputError when the box has none, ArtefactError for a broken row.

    >>> catalogue("en").say("no sign of danger")
    'no sign of danger'
    """
    known = languages(brought)
    if code not in known:
        raise InputError("language", "one of " + ", ".join(known), code)
    if code == ENGLISH:
        return Catalogue(code, known[code], {})
    if code in languages():
        rows = Rows(shipped_table(f"{code}.tsv"), f"{code}.tsv")
    else:
        rows = Rows(brought[code].table, f"{code}.tsv of plugin {brought[code].plugin}")
    return Catalogue(code, known[code], rows)


def read_table(path: Path, item: str) -> bytes:
    """A table that is no part of the package, checked row by row. Raises ArtefactError that names `item`."""
    try:
        if (size := path.stat().st_size) > MOST_TABLE_BYTES:
            raise ArtefactError(
                item, f"a table of at most {MOST_TABLE_BYTES // 1024**2} MiB", f"{size} bytes"
            )
        table = path.read_bytes()
        table.decode()
    except (OSError, UnicodeDecodeError) as problem:
        raise ArtefactError(item, "a table of UTF-8 text", why_not_opened(problem)) from problem
    if not Rows(table, f"{item}, {path.name}"):
        raise ArtefactError(item, "an English text, a tab and its translation in each line", "no line")
    return table


@dataclass(frozen=True)
class PageWords:
    """What the page says itself, whole, and whatever else as `words` say it.

    Its rows are no part of a catalogue: "right" or "back" on a button must not be put into a patient's text.
    """

    words: Catalogue
    rows: Mapping[str, str]

    def say(self, text: str) -> str:
        """As `Catalogue.say`."""
        return self.rows.get(text) or self.words.say(text)

    def fill(self, text: str, *values: str) -> str:
        """As `Catalogue.fill`."""
        return _filled(self.rows[text], values) if text in self.rows else self.words.fill(text, *values)


def page_words(code: str, brought: Mapping[str, BroughtTable] = _NONE) -> PageWords:
    """Raises as `catalogue` does. A language of a plugin has the rows of its own table only."""
    name = f"page_{code}.tsv"
    shipped = code != ENGLISH and code in languages()
    return PageWords(catalogue(code, brought), Rows(shipped_table(name), name) if shipped else {})


class Rows(Mapping[str, str]):
    """English text -> translation, looked up in the sorted lines of a table: a dict would hold 2 MiB more.

    Raises ArtefactError with file and line.
    """

    def __init__(self, table: bytes, file: str) -> None:
        self._table = table
        self._starts = array("I", [0])
        self._starts.extend(found.end() for found in re.finditer(b"\n", table))
        if self._starts[-1] == len(table):
            self._starts.pop()
        before = b""
        for place in range(len(self._starts)):
            before = self._checked(place, before, f"{file}, line {place + 1}")

    def _checked(self, place: int, before: bytes, item: str) -> bytes:
        english, _, said = self._line(place).partition(b"\t")
        if not english or not said:
            raise ArtefactError(item, "an English text, a tab and its translation", _shown(english))
        if english <= before:
            raise ArtefactError(item, "each English text once, in the order of its bytes", _shown(english))
        if english.count(b"{") != said.count(b"{"):
            raise ArtefactError(item, f"as many holes as in {_shown(english)}", _shown(said))
        return english

    def _line(self, place: int) -> bytes:
        start = self._starts[place]
        end = self._starts[place + 1] - 1 if place + 1 < len(self._starts) else len(self._table)
        return self._table[start:end].rstrip(b"\n")

    def __getitem__(self, english: str) -> str:
        key = english.encode() + b"\t"
        place = bisect_left(range(len(self._starts)), key, key=self._line)
        if place < len(self._starts) and (line := self._line(place)).startswith(key):
            return line[len(key) :].decode()
        raise KeyError(english)

    def __iter__(self) -> Iterator[str]:
        return (self._line(place).partition(b"\t")[0].decode() for place in range(len(self._starts)))

    def __len__(self) -> int:
        return len(self._starts)

    def with_holes(self) -> Iterator[tuple[str, str]]:
        """The rows in which something is put."""
        for place in range(len(self._starts)):
            if b"{" in (line := self._line(place)):
                english, _, said = line.decode().partition("\t")
                yield english, said


def _shown(text: bytes) -> str:
    return repr(text[:80].decode(errors="replace"))


def screen_texts() -> tuple[str, ...]:
    """English texts of the terminal's screen; those of charts and guidelines stand in their own files."""
    return tuple(shipped_table(SCREEN).decode().splitlines())


def page_texts() -> tuple[str, ...]:
    """English texts of the tablet's page that the terminal's screen lacks."""
    return tuple(shipped_table(PAGE).decode().splitlines())


def shipped_table(name: str) -> bytes:
    """A table inside the package. Raises ArtefactError when it cannot be read."""
    try:
        return (resources.files("akazuba.wording") / name).read_bytes()
    except OSError as problem:
        raise ArtefactError(f"wording/{name}", "a table inside the package", str(problem)) from problem
