"""The Merkle tree of a log that only grows: RFC 9162 section 2.1 (that of RFC 6962) over SHA-256.

Everything is a function of hashes. A log stores the nodes that `Frontier.appended` hands out, each once and
for good, and lends them to the proofs through `node(level, index)`; level 0 holds the leaves' hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from akazuba.errors import ArtefactError, InputError, UntrustedError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""Of a log without an entry (RFC 9162, 2.1.1)."""

MAX_SIZE = (1 << 63) - 1
"""As many entries as the checkpoints of other programs can count (Go's int64)."""

NodeSource = Callable[[int, int], bytes]
"""The stored hash at a level and an index. What it raises for a node that it lacks passes through."""


class Node(NamedTuple):
    """A perfect subtree's root: of the 2^level entries from index × 2^level on."""

    level: int
    index: int  # type: ignore[assignment]  # a tuple has a method of that name
    hash: bytes


def leaf_hash(data: bytes) -> bytes:
    """Of an entry; 0x00 keeps it apart from an inner node (RFC 9162, 2.1.1)."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


@dataclass(frozen=True)
class Frontier:
    """All that a log must remember to grow. roots: of its perfect subtrees, the largest (leftmost) first.

    >>> log, made = Frontier().appended(leaf_hash(b"arrived"))
    >>> log, made = log.appended(leaf_hash(b"triaged"))
    >>> [(level, index) for level, index, _ in made], made[-1] == (1, 0, log.root())
    ([(0, 1), (1, 0)], True)
    """

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Raises ArtefactError: what was stored is no frontier."""
        if not 0 <= self.size <= MAX_SIZE or len(self.roots) != self.size.bit_count():
            expected = "a size, and a root for each of its binary ones"
            raise ArtefactError("frontier", expected, f"{len(self.roots)} roots at size {self.size}")

    @classmethod
    def of(cls, size: int, node: NodeSource) -> Frontier:
        """That of a log's first entries, from the stored nodes: how a log is opened again."""
        levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
        return cls(size, tuple(node(level, (size >> level) - 1) for level in levels))

    def appended(self, leaf: bytes) -> tuple[Frontier, list[Node]]:
        """The log with one entry more (leaf: its hash), and every perfect subtree that this completed."""
        if len(leaf) != HASH_BYTES:
            raise InputError("leaf hash", f"{HASH_BYTES} bytes", f"{len(leaf)} bytes")
        roots, level, index, top = list(self.roots), 0, self.size, leaf
        made = [Node(0, index, leaf)]
        while index & 1:
            top = node_hash(roots.pop(), top)
            level, index = level + 1, index >> 1
            made.append(Node(level, index, top))
        return Frontier(self.size + 1, (*roots, top)), made

    def root(self) -> bytes:
        if not self.roots:
            return EMPTY_ROOT
        *others, root = self.roots
        for left in reversed(others):
            root = node_hash(left, root)
        return root


def inclusion_proof(index: int, size: int, node: NodeSource) -> list[bytes]:
    """That an entry is the index-th (from 0) of the first `size`: PATH of RFC 9162, 2.1.3.1.

    Raises InputError when there is no such entry.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise InputError("inclusion proof", f"an index below the size {size}", str(index))
    begin, end, proof = 0, size, list[bytes]()
    while end - begin > 1:
        middle = _middle(begin, end)
        if index < middle:
            proof.append(_root(middle, end, node))
            end = middle
        else:
            proof.append(_root(begin, middle, node))
            begin = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, node: NodeSource) -> list[bytes]:
    """That the first `old` entries still are the first ones at size `new`: PROOF of RFC 9162, 2.1.4.1.

    Empty from size 0 and from a size to itself. Raises InputError when `old` is larger.
    """
    if not 0 <= old <= new <= MAX_SIZE:
        raise InputError("consistency proof", f"an old size from 0 to {new}", str(old))
    if old in (0, new):
        return []
    proof = prefix_proof(old, new, node)
    return proof[1:] if _is_power(old) else proof


def prefix_proof(old: int, new: int, node: NodeSource) -> list[bytes]:
    """What the root of the first `old` entries is, as seen from the tree of size `new` (0 < old < new).

    A consistency proof whose first hash always stands there. Where the RFC leaves it out (`old` is a power of
    two), a verifier would put the root that he believes; whoever shows that the root is another one needs it.
    """
    if not 0 < old < new <= MAX_SIZE:
        raise InputError("prefix proof", f"an old size from 1 to {new - 1}", str(old))
    begin, end, proof = 0, new, list[bytes]()
    while end != old:
        middle = _middle(begin, end)
        if old <= middle:
            proof.append(_root(middle, end, node))
            end = middle
        else:
            proof.append(_root(begin, middle, node))
            begin = middle
    return [_root(begin, end, node), *reversed(proof)]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162, 2.1.3.2. leaf: the entry's hash. Raises UntrustedError with what failed."""
    item = f"inclusion of entry {index} among {size}"
    if not 0 <= index < size <= MAX_SIZE:
        raise UntrustedError(item, f"an index below the size, at most {MAX_SIZE}", f"{index} of {size}")
    _are_hashes(item, [leaf, root, *proof])
    _, top = _climbed(item, leaf, index, size - 1, proof, f"{len(proof)} hashes")
    _is_root(item, root, top)


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """RFC 9162, 2.1.4.2, and the sizes that it leaves out: from 0, and to itself, with an empty proof.

    Raises UntrustedError with what failed.
    """
    item = f"consistency from size {old_size} to {new_size}"
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise UntrustedError(item, "an old size that is not larger", f"{old_size} and {new_size}")
    _are_hashes(item, [old_root, new_root, *proof])
    if old_size in (0, new_size):
        if proof:
            raise UntrustedError(item, "an empty proof", f"{len(proof)} hashes")
        _is_root(item, EMPTY_ROOT if old_size == 0 else old_root, old_root)
        _is_root(item, EMPTY_ROOT if new_size == 0 else new_root, new_root)
        if old_size == new_size:
            _is_root(item, old_root, new_root)
        return
    if not proof:
        raise UntrustedError(item, "a proof", "none")
    path = [old_root, *proof] if _is_power(old_size) else proof
    shown_old, shown_new = prefix_roots(old_size, new_size, path)
    _is_root(f"{item}, old root", old_root, shown_old)
    _is_root(f"{item}, new root", new_root, shown_new)


def prefix_roots(old_size: int, new_size: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The two roots that a `prefix_proof` leads to. If the second is right, so is the first.

    Raises UntrustedError when it is none for these sizes.
    """
    item = f"consistency from size {old_size} to {new_size}"
    if not 0 < old_size < new_size <= MAX_SIZE:
        raise UntrustedError(item, "an old size that is smaller, from 1 on", f"{old_size} and {new_size}")
    _are_hashes(item, proof)
    if not proof:
        raise UntrustedError(item, "a longer proof", "0 hashes")
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    return _climbed(item, proof[0], at, last, proof[1:], f"{len(proof)} hashes")


def _climbed(
    item: str, first: bytes, at: int, last: int, proof: Sequence[bytes], found: str
) -> tuple[bytes, bytes]:
    """RFC 9162, 2.1.3.2 (4) and 2.1.4.2 (6): the roots above `first`, of the tree that ends with it and of
    the whole. at, last: its index and the last one on its level. found: what is wrong, if the length is.
    """
    old = new = first
    for other in proof:
        if last == 0:
            raise UntrustedError(item, "a shorter proof", found)
        if at & 1 or at == last:
            old, new = node_hash(other, old), node_hash(other, new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, other)
        at, last = at >> 1, last >> 1
    if last:
        raise UntrustedError(item, "a longer proof", found)
    return old, new


def _middle(begin: int, end: int) -> int:
    """Where RFC 9162, 2.1.1 splits two entries or more: after the largest power of two below their number."""
    return begin + (1 << (end - begin - 1).bit_length() - 1)


def _root(begin: int, end: int, node: NodeSource) -> bytes:
    """Of the entries from begin to before end, a range which such splits have led to."""
    size = end - begin
    if _is_power(size):
        level = size.bit_length() - 1
        return node(level, begin >> level)
    middle = _middle(begin, end)
    return node_hash(_root(begin, middle, node), _root(middle, end, node))


def _is_power(size: int) -> bool:
    return size & (size - 1) == 0


def _are_hashes(item: str, hashes: Sequence[bytes]) -> None:
    for found in hashes:
        if len(found) != HASH_BYTES:
            raise UntrustedError(item, f"hashes of {HASH_BYTES} bytes", f"one of {len(found)} bytes")


def _is_root(item: str, expected: bytes, found: bytes) -> None:
    if found != expected:
        raise UntrustedError(item, f"the root {expected.hex()[:16]}…", f"{found.hex()[:16]}…")
