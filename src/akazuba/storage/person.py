"""Who a patient is: what she is found by, and whether two say the same of her."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace

UNNAMED = "unregistered "


@dataclass(frozen=True)
class Person:
    """What a patient is found by. born: ISO date or year, as far as it is known."""

    id: str
    name: str
    born: str = ""
    sex: str = ""
    place: str = ""

    @property
    def unnamed(self) -> bool:
        """Helped before anybody asked for her name."""
        return self.name.startswith(UNNAMED)

    def named(self) -> Person:
        """With a name to be found by, where none was given."""
        return self if self.name.strip() else replace(self, name=f"{UNNAMED}{self.id[-6:]}")

    def told(self, more: Person) -> Person:
        """An unnamed patient with what is known of her by now; a named one as she is."""
        if not self.unnamed or not more.name.strip():
            return self
        born, sex, place = more.born or self.born, more.sex or self.sex, more.place or self.place
        return Person(self.id, more.name, born, sex, place)


def contradiction(there: Person, told: Person) -> tuple[str, str] | None:
    """The first of name, born and sex in which `told` is somebody else, with what it says.

    >>> there = Person("p1", "Béatrice  Uwimana", "1974-03-02", "female")
    >>> contradiction(there, Person("p1", "beatrice uwimana", "1974"))
    >>> contradiction(there, Person("p1", "Jean Bosco"))
    ('name', 'Jean Bosco')
    """
    if told.name.strip() and not there.unnamed and searchable(told.name) != searchable(there.name):
        return "name", told.name
    if not (there.born.startswith(told.born) or told.born.startswith(there.born)):
        return "born", told.born
    if there.sex and told.sex and there.sex != told.sex:
        return "sex", told.sex
    return None


def searchable(name: str) -> str:
    """Without accents and case, for search.

    >>> searchable("  Uwimána  Chantal ")
    'uwimana chantal'
    """
    plain = name.replace("\0", " ")
    for _ in range(2):  # what a compatible form hides has a case too (Unicode 3.13, D146)
        plain = unicodedata.normalize("NFKD", plain.casefold())
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())
