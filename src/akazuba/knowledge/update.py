"""Newer sources: checked, put in the data folder, the knowledge built from them, and what changed.

Nothing that is saved is lost: a file that cannot be used leaves the knowledge as it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from akazuba.errors import ArtefactError, InputError, why_not_opened
from akazuba.knowledge.conditions import CommonKnowledge
from akazuba.knowledge.store import MONDO, ORPHANET, Store, open_store
from akazuba.terminology import SOURCES, Terminology, open_terminology

HP, HPOA = "hp.obo", "phenotype.hpoa"
EXAMPLES = 5


@dataclass(frozen=True)
class Change:
    """added, removed, renamed: of one kind of thing, a few of them by name."""

    what: str
    before: int
    after: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[str, ...] = ()


def kind_of(path: Path) -> str:
    """Which source a file is, by its content.

    Raises InputError that names the file when it is none that is known.
    """
    try:
        with path.open("rb") as file:
            start = file.read(200_000)
    except OSError as error:
        raise InputError(str(path), "a file that can be read", why_not_opened(error)) from error
    if start.startswith(b"#") and b"database_id\tdisease_name" in start:
        return HPOA
    if b"format-version:" in start[:500] and b"ontology: hp" in start:
        return HP
    if b"MONDO" in start and (start.lstrip()[:1] == b"{" or b"format-version:" in start[:500]):
        return MONDO
    if b"<JDBOR" in start:
        return ORPHANET
    expected = "hp.obo, phenotype.hpoa, Mondo (OBO or JSON) or Orphanet's en_product4.xml"
    raise InputError(str(path), expected, "something else")


def update(home: Path, files: Sequence[Path], common: CommonKnowledge) -> list[Change]:
    """Takes newer sources and builds the knowledge from them.

    Raises InputError for a file of no known kind or two of one, ArtefactError for one that is damaged; the
    knowledge then stays as it was.
    """
    kinds = [kind_of(path) for path in files]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise InputError("FILE…", f"one file of each kind ({kind})", f"{kinds.count(kind)}")
    with open_terminology(home) as old_terms:
        before = _state(old_terms, open_store(home, old_terms, common))
    trial = home / f".update-{os.getpid()}"
    given = dict(sorted(zip(kinds, files, strict=True)))  # hp.obo first: old annotations fit a newer one
    try:
        (trial / SOURCES).mkdir(parents=True)
        for present in (home / SOURCES).glob("*"):
            shutil.copyfile(present, trial / SOURCES / present.name)
        for kind, path in given.items():
            shutil.copyfile(path, trial / SOURCES / kind)
        after = _built(trial, given, common)
        (home / SOURCES).mkdir(exist_ok=True)
        for kind in given:
            (trial / SOURCES / kind).replace(home / SOURCES / kind)
        for built in trial.glob("*.sqlite"):
            built.replace(home / built.name)
    except OSError as error:
        raise ArtefactError(
            f"data folder {home}", "one that can be written", why_not_opened(error)
        ) from error
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    return [_change(what, before[what], after[what]) for what in before]


def _built(
    trial: Path, given: Mapping[str, Path], common: CommonKnowledge
) -> Mapping[str, Mapping[str, str]]:
    """What the knowledge would be. An error names the file that was given, not its copy."""
    try:
        with open_terminology(trial) as terms:
            return _state(terms, open_store(trial, terms, common))
    except ArtefactError as error:
        item = error.item
        for kind, path in given.items():
            item = item.replace(str(trial / SOURCES / kind), str(path))
        raise ArtefactError(item, error.expected, error.found) from error


def _state(terms: Terminology, store: Store) -> Mapping[str, Mapping[str, str]]:
    """By kind of thing: id -> name."""
    annotations = store.db.execute(
        "SELECT h.id || ' ' || relation || ' ' || t.id, coalesce(round(share, 3), '') FROM edge"
        " JOIN node h ON h.number = head AND h.kind = 'disease' JOIN node t ON t.number = tail"
    )
    return {
        "terms": dict(terms.all_labels()),
        "rare diseases": dict(store.db.execute("SELECT id, name FROM disease")),
        "annotations": {key: str(share) for key, share in annotations},
    }


def _change(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> Change:
    renamed = [id_ for id_ in before.keys() & after.keys() if before[id_] != after[id_]]
    return Change(
        what,
        len(before),
        len(after),
        _named(after.keys() - before.keys(), after),
        _named(before.keys() - after.keys(), before),
        tuple(f"{id_}: {before[id_]} -> {after[id_]}" for id_ in sorted(renamed)),
    )


def _named(ids: Iterable[str], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{id_} {names[id_]}" for id_ in sorted(ids))
