"""The audit log as somebody else checks it: every entry hashed anew, every node, every root signed before.

Altered bytes show against the stored leaf, an altered leaf against the nodes above it, an altered tree
against a checkpoint that the log signed while it was sound. Whoever holds the store's key and the box's keys
can rewrite all three: that shows only against a checkpoint kept elsewhere, or cosigned by witnesses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from akazuba.errors import ArtefactError, UntrustedError
from akazuba.governance.checkpoint import Checkpoint, Verifier, opened, signed
from akazuba.governance.witness import cosignatures
from akazuba.merkle import HASH_BYTES, Frontier
from akazuba.privacy.keys.identity import Identity
from akazuba.storage.store import Store

MOST_PROBLEMS = 100
"""Named one by one; the rest is counted."""


@dataclass(frozen=True)
class Problem:
    """index: of the entry that it is about, None when it is about none alone."""

    what: str
    index: int | None = None

    def __str__(self) -> str:
        return self.what if self.index is None else f"entry {self.index}: {self.what}"


@dataclass(frozen=True)
class Anchored:
    """A checkpoint that holds. time_s: since 1970, as the log said it; witnesses: when each cosigned it."""

    size: int
    time_s: int | None
    witnesses: Mapping[str, int]


@dataclass(frozen=True)
class Verdict:
    """problems: the first of them; more: how many were found besides. anchors: which hold, the smallest
    first. unanchored, unwitnessed: entries since the last of them, and since the last that was cosigned.
    """

    size: int
    root: bytes
    problems: tuple[Problem, ...]
    more: int
    anchors: tuple[Anchored, ...]

    @property
    def sound(self) -> bool:
        return not self.problems

    @property
    def unanchored(self) -> int:
        return self.size - max((anchor.size for anchor in self.anchors), default=0)

    @property
    def unwitnessed(self) -> int:
        return self.size - max((anchor.size for anchor in self.anchors if anchor.witnesses), default=0)


def checkpoint(
    store: Store, identity: Identity, name: str, now_s: int, extensions: Sequence[str] = ()
) -> str:
    """The signed note of how far the log stands. name: its origin. It protects once it lies elsewhere."""
    stand = Checkpoint(name, store.size, store.root, (f"time {now_s}", *extensions))
    return signed(stand, identity, name)


def verify(
    store: Store, anchors: Sequence[str], verifiers: Sequence[Verifier], witnesses: Sequence[Verifier] = ()
) -> Verdict:
    """anchors: notes of the log. verifiers: the log's keys. It raises for nothing that is wrong with the log.

    A consistency proof (RFC 9162, 2.1.4) would show that the stored nodes continue an anchor; here the root
    at its size comes from the entries themselves, which shows the same and needs no node to be believed.
    """
    found = Findings()
    known = read_anchors(anchors, verifiers, witnesses, found)
    walk = Walk({anchor.size for anchor, _ in known}, found)
    try:
        _walk_through(store, walk)
    except ArtefactError as problem:
        found.add(f"cannot be read, nor what follows: {problem}", walk.log.size)
    held = compared(known, walk, found)
    try:
        for damage in store.damaged():
            found.add(damage)
    except ArtefactError as problem:
        found.add(str(problem))
    return Verdict(walk.log.size, walk.log.root(), tuple(found.first), found.more, held)


@dataclass
class Findings:
    """What was found so far."""

    first: list[Problem] = field(default_factory=list)
    more: int = 0

    def add(self, what: str, index: int | None = None) -> None:
        if len(self.first) < MOST_PROBLEMS:
            self.first.append(Problem(what, index))
        else:
            self.more += 1


class Walk:
    """The tree grown anew, entry by entry; it remembers the roots at the wanted sizes."""

    def __init__(self, sizes: Iterable[int], found: Findings) -> None:
        self._wanted, self._found = set(sizes), found
        self.log = Frontier()
        self.roots = {0: self.log.root()}

    def step(self, leaf: bytes | None, stored: bytes | None) -> list[tuple[int, int, bytes]]:
        """leaf: hashed anew, None when the entry is missing. stored: the leaf that the log holds.

        Where they differ it goes on with the stored one: so a single altered entry is named alone, and the
        rest is still compared with what was signed. Gives the inner nodes that this completes.
        """
        index = self.log.size
        if leaf is None:
            self._found.add("missing" if stored else "missing, and its leaf too", index)
        elif stored is None:
            self._found.add("its leaf is missing from the tree", index)
        elif stored != leaf:
            self._found.add("altered: what is stored is not what was recorded", index)
        self.log, made = self.log.appended(stored or leaf or bytes(HASH_BYTES))
        if self.log.size in self._wanted:
            self.roots[self.log.size] = self.log.root()
        return [(node.level, node.index, node.hash) for node in made[1:]]

    def inner(self, level: int, index: int, stored: bytes | None, hash_: bytes) -> None:
        if stored != hash_:
            first, last = index << level, (index + 1 << level) - 1
            how = "missing" if stored is None else "another one"
            self._found.add(f"the tree above the entries {first} to {last} does not hold: its hash is {how}")


def _walk_through(store: Store, walk: Walk) -> None:
    while True:
        seen = False
        for index, leaf in store.leaves(walk.log.size):
            seen = True
            while walk.log.size < index:
                _step(store, walk, None)
            _step(store, walk, leaf)
        if not seen:
            if _node(store, 0, walk.log.size) is None:
                return
            _step(store, walk, None)


def _step(store: Store, walk: Walk, leaf: bytes | None) -> None:
    stored = _node(store, 0, walk.log.size)
    for level, index, hash_ in walk.step(leaf, stored):
        walk.inner(level, index, _node(store, level, index), hash_)


def _node(store: Store, level: int, index: int) -> bytes | None:
    """None for a node that is missing, or is no hash."""
    try:
        found = store.node(level, index)
    except ArtefactError:
        return None
    return found if len(found) == HASH_BYTES else None


Known = tuple[Checkpoint, Anchored]


def read_anchors(
    notes: Sequence[str], verifiers: Sequence[Verifier], witnesses: Sequence[Verifier], found: Findings
) -> list[Known]:
    """Those that the log signed, the smallest first; what is wrong with the others is found."""
    known = list[Known]()
    for number, note in enumerate(notes, 1):
        try:
            stand, _ = opened(note, verifiers)
            known.append((stand, Anchored(stand.size, stand.stated("time"), cosignatures(note, witnesses))))
        except UntrustedError as problem:
            found.add(f"checkpoint number {number} cannot be believed: {problem}")
    return sorted(known, key=lambda pair: pair[0].size)


def compared(known: Sequence[Known], walk: Walk, found: Findings) -> tuple[Anchored, ...]:
    """The anchors that hold; of the others the first is named, and how many there are."""
    roots = defaultdict[int, set[bytes]](set)
    for stand, _ in known:
        roots[stand.size].add(stand.root)
    for size, different in roots.items():
        if len(different) > 1:
            found.add(f"forked: the log signed {len(different)} different roots for its first {size} entries")
    size = walk.log.size
    ahead = [anchor for stand, anchor in known if stand.size > size]
    if ahead:
        last = max(ahead, key=lambda anchor: anchor.size)
        found.add(
            f"rolled back: a checkpoint says {last.size} entries, and {size} are here;"
            f" the entries {size} to {last.size - 1} are missing"
        )
    held = tuple(anchor for stand, anchor in known if walk.roots.get(stand.size) == stand.root)
    against = [
        stand.size for stand, _ in known if stand.size <= size and walk.roots[stand.size] != stand.root
    ]
    if against:
        before = max((anchor.size for anchor in held if anchor.size < against[0]), default=0)
        found.add(
            f"rewritten: an entry from {before} to {against[0] - 1} is not the one that was signed"
            f" ({len(against)} of {len(known)} checkpoints do not hold)"
        )
    return held
