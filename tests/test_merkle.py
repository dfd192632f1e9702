"""The Merkle tree against the definitions of RFC 9162, written down once more as it gives them, and against
the vectors of certificate-transparency, as transparency-dev/merkle holds them in testonly/constants.go,
proof/verify_test.go and rfc6962/rfc6962_test.go.
"""

from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, strategies as st

from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    Node,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    prefix_proof,
    prefix_roots,
    verify_consistency,
    verify_inclusion,
)

LARGEST = 3_000


def entry(index: int) -> bytes:
    return b"entry %d" % index


def split(size: int) -> int:
    """The largest power of two smaller than size (RFC 9162, 2.1.1)."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


@cache
def mth(begin: int, end: int) -> bytes:
    """MTH(D[begin:end]) of RFC 9162, 2.1.1."""
    size = end - begin
    if size == 0:
        return sha256().digest()
    if size == 1:
        return sha256(b"\x00" + entry(begin)).digest()
    k = split(size)
    return sha256(b"\x01" + mth(begin, begin + k) + mth(begin + k, end)).digest()


def path(m: int, begin: int, end: int) -> list[bytes]:
    """PATH(m, D_n) of RFC 9162, 2.1.3.1."""
    size = end - begin
    if size == 1:
        return []
    k = split(size)
    if m < k:
        return [*path(m, begin, begin + k), mth(begin + k, end)]
    return [*path(m - k, begin + k, end), mth(begin, begin + k)]


def subproof(m: int, begin: int, end: int, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D_n, b) of RFC 9162, 2.1.4.1."""
    size = end - begin
    if m == size:
        return [] if whole else [mth(begin, end)]
    k = split(size)
    if m <= k:
        return [*subproof(m, begin, begin + k, whole), mth(begin + k, end)]
    return [*subproof(m - k, begin + k, end, False), mth(begin, begin + k)]


def grown(entries: list[bytes]) -> tuple[list[Frontier], dict[tuple[int, int], bytes]]:
    log, stored, states = Frontier(), dict[tuple[int, int], bytes](), [Frontier()]
    for data in entries:
        log, made = log.appended(leaf_hash(data))
        for level, index, hash_ in made:
            assert (level, index) not in stored
            stored[level, index] = hash_
        states.append(log)
    return states, stored


STATES, STORED = grown([entry(index) for index in range(LARGEST)])


def node(level: int, index: int) -> bytes:
    return STORED[level, index]


def test_every_root_up_to_65_entries_and_larger_ones_are_the_rfcs() -> None:
    for size in [*range(66), 127, 128, 129, 1_000, 2_047, 2_048, LARGEST]:
        assert STATES[size].root() == mth(0, size)
        assert Frontier.of(size, node) == STATES[size]


def test_every_inclusion_proof_up_to_65_entries_is_the_rfcs_and_verifies() -> None:
    for size in range(1, 66):
        for index in range(size):
            proof = inclusion_proof(index, size, node)
            assert proof == path(index, 0, size)
            verify_inclusion(leaf_hash(entry(index)), index, size, proof, mth(0, size))


def test_every_consistency_proof_up_to_65_entries_is_the_rfcs_and_verifies() -> None:
    for new in range(66):
        for old in range(new + 1):
            proof = consistency_proof(old, new, node)
            assert proof == ([] if old == 0 else subproof(old, 0, new, True))
            verify_consistency(old, mth(0, old), new, mth(0, new), proof)
            if 0 < old < new:
                assert prefix_roots(old, new, prefix_proof(old, new, node)) == (mth(0, old), mth(0, new))


SIZES = st.integers(1, LARGEST)


@given(SIZES, st.integers(0, LARGEST - 1))
def test_larger_inclusion_proofs_are_the_rfcs_and_verify(size: int, index: int) -> None:
    index %= size
    proof = inclusion_proof(index, size, node)
    assert proof == path(index, 0, size)
    verify_inclusion(leaf_hash(entry(index)), index, size, proof, STATES[size].root())


@given(SIZES, SIZES)
def test_larger_consistency_proofs_are_the_rfcs_and_verify(one: int, other: int) -> None:
    old, new = sorted((one, other))
    proof = consistency_proof(old, new, node)
    assert proof == subproof(old, 0, new, True)
    verify_consistency(old, STATES[old].root(), new, STATES[new].root(), proof)


def bent(hashes: list[bytes], bit: int) -> list[bytes]:
    bit %= 256 * len(hashes)
    which, within = divmod(bit, 256)
    changed = bytearray(hashes[which])
    changed[within // 8] ^= 1 << within % 8
    return [*hashes[:which], bytes(changed), *hashes[which + 1 :]]


@given(SIZES, st.integers(0, LARGEST - 1), st.integers(0, 256 * 20))
def test_no_bit_of_an_inclusion_can_be_changed(size: int, index: int, bit: int) -> None:
    index %= size
    root, leaf = STATES[size].root(), leaf_hash(entry(index))
    other_leaf, other_root, *proof = bent([leaf, root, *inclusion_proof(index, size, node)], bit)
    with pytest.raises(UntrustedError, match="root"):
        verify_inclusion(other_leaf, index, size, proof, other_root)


@given(SIZES, SIZES, st.integers(0, 256 * 20))
def test_no_bit_of_a_consistency_can_be_changed(one: int, other: int, bit: int) -> None:
    old, new = sorted((one, other))
    hashes = [STATES[old].root(), STATES[new].root(), *consistency_proof(old, new, node)]
    old_root, new_root, *proof = bent(hashes, bit)
    with pytest.raises(UntrustedError, match="root"):
        verify_consistency(old, old_root, new, new_root, proof)


@given(SIZES, st.integers(0, LARGEST - 1), st.integers(0, LARGEST + 1))
def test_a_proof_holds_for_its_own_index_only(size: int, index: int, other: int) -> None:
    index %= size
    proof = inclusion_proof(index, size, node)
    if other != index:
        with pytest.raises(UntrustedError):
            verify_inclusion(leaf_hash(entry(index)), other, size, proof, STATES[size].root())


@given(SIZES, SIZES, SIZES)
def test_a_consistency_proof_holds_for_its_own_old_size_only(one: int, other: int, wrong: int) -> None:
    old, new = sorted((one, other))
    if wrong != old:
        with pytest.raises(UntrustedError):
            verify_consistency(
                wrong, STATES[old].root(), new, STATES[new].root(), consistency_proof(old, new, node)
            )


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=40), st.data())
def test_an_entry_that_was_rewritten_breaks_the_consistency(
    entries: list[bytes], data: st.DataObject
) -> None:
    before = grown(entries)[0]
    old = data.draw(st.integers(1, len(entries)))
    place = data.draw(st.integers(0, old - 1))
    rewritten = [*entries[:place], entries[place] + b"!", *entries[place + 1 :]]
    after, stored = grown(rewritten)
    new = len(entries)
    proof = consistency_proof(old, new, lambda level, index: stored[level, index])
    with pytest.raises(UntrustedError):
        verify_consistency(old, before[old].root(), new, after[new].root(), proof)


def test_proofs_that_are_too_short_or_too_long_are_refused() -> None:
    root, leaf = STATES[11].root(), leaf_hash(entry(4))
    proof = inclusion_proof(4, 11, node)
    for wrong, expected in ((proof[:-1], "longer"), ([*proof, root], "shorter"), ([], "longer")):
        with pytest.raises(UntrustedError, match=expected):
            verify_inclusion(leaf, 4, 11, wrong, root)
    for old in (6, 4):
        proof, old_root = consistency_proof(old, 11, node), STATES[old].root()
        for wrong, expected in ((proof[:-1], "longer"), ([*proof, root], "shorter"), ([], "a proof")):
            with pytest.raises(UntrustedError, match=expected):
                verify_consistency(old, old_root, 11, root, wrong)
    with pytest.raises(UntrustedError, match="longer"):
        prefix_roots(6, 11, [])


def test_a_size_is_consistent_with_itself_and_with_zero_only_by_an_empty_proof() -> None:
    root = STATES[5].root()
    for old, old_root in ((0, EMPTY_ROOT), (5, root)):
        verify_consistency(old, old_root, 5, root, [])
        with pytest.raises(UntrustedError, match="empty proof"):
            verify_consistency(old, old_root, 5, root, [root])
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    with pytest.raises(UntrustedError, match="root"):
        verify_consistency(0, root, 5, root, [])
    with pytest.raises(UntrustedError, match="root"):
        verify_consistency(5, root, 5, STATES[6].root(), [])
    with pytest.raises(UntrustedError, match="root"):
        verify_consistency(0, root, 0, root, [])


@pytest.mark.parametrize(
    ("index", "size"), [(-1, 3), (3, 3), (0, 0), (0, -1), (MAX_SIZE, MAX_SIZE), (0, MAX_SIZE + 1)]
)
def test_an_entry_that_cannot_be_is_refused(index: int, size: int) -> None:
    with pytest.raises(UntrustedError):
        verify_inclusion(EMPTY_ROOT, index, size, [], EMPTY_ROOT)
    with pytest.raises(InputError):
        inclusion_proof(index, size, node)


@pytest.mark.parametrize(("old", "new"), [(-1, 3), (4, 3), (1, MAX_SIZE + 1), (-2, -1)])
def test_sizes_that_cannot_be_are_refused(old: int, new: int) -> None:
    with pytest.raises(UntrustedError):
        verify_consistency(old, EMPTY_ROOT, new, EMPTY_ROOT, [])
    with pytest.raises(UntrustedError):
        prefix_roots(old, new, [EMPTY_ROOT])
    with pytest.raises(InputError):
        consistency_proof(old, new, node)
    with pytest.raises(InputError):
        prefix_proof(old, new, node)


def test_hashes_of_another_length_are_refused() -> None:
    root, leaf, proof = STATES[3].root(), leaf_hash(entry(0)), inclusion_proof(0, 3, node)
    for leaf_, root_, proof_ in ((b"", root, proof), (leaf, b"", proof), (leaf, root, [b"", *proof[1:]])):
        with pytest.raises(UntrustedError, match="32 bytes"):
            verify_inclusion(leaf_, 0, 3, proof_, root_)
    with pytest.raises(UntrustedError, match="32 bytes"):
        verify_consistency(2, STATES[2].root(), 3, root, [b"short"])
    with pytest.raises(InputError, match="32 bytes"):
        Frontier().appended(b"not hashed")


@pytest.mark.parametrize(
    ("size", "roots"), [(1, ()), (0, (EMPTY_ROOT,)), (3, (EMPTY_ROOT,)), (-1, (EMPTY_ROOT,))]
)
def test_what_is_no_frontier_is_refused(size: int, roots: tuple[bytes, ...]) -> None:
    with pytest.raises(ArtefactError, match="frontier"):
        Frontier(size, roots)


def test_a_very_large_log_grows_and_proves_without_its_entries() -> None:
    """2^40 times the same entry, of which only the perfect subtrees' roots are known."""
    roots = [leaf_hash(b"")]
    for _ in range(40):
        roots.append(node_hash(roots[-1], roots[-1]))
    log, _ = Frontier.of((1 << 40) - 1, lambda level, _: roots[level]).appended(roots[0])
    assert log == Frontier(1 << 40, (roots[40],))
    proof = inclusion_proof(123_456_789_012, 1 << 40, lambda level, _: roots[level])
    verify_inclusion(roots[0], 123_456_789_012, 1 << 40, proof, log.root())


def hashes(text: str) -> list[bytes]:
    return [bytes.fromhex(word) for word in text.split()]


# The vectors of certificate-transparency.

LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = hashes("""
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125
aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77
d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7
4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4
76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef
ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c
5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328
""")
INCLUSIONS = [  # index, size, proof
    (0, 1, ""),
    (
        0,
        8,
        """96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7
        5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e
        6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4""",
    ),
    (
        5,
        8,
        """bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b
        ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0
        d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7""",
    ),
    (2, 3, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    (
        1,
        5,
        """6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
        5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e
        bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b""",
    ),
]
CONSISTENCIES = [  # old size, new size, proof
    (1, 1, ""),
    (
        1,
        8,
        """96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7
        5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e
        6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4""",
    ),
    (
        6,
        8,
        """0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a
        ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0
        d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7""",
    ),
    (
        2,
        5,
        """5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e
        bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b""",
    ),
    (
        6,
        7,
        """0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a
        b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f
        d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7""",
    ),
]


@pytest.fixture(scope="module")
def vectors() -> tuple[list[Frontier], dict[tuple[int, int], bytes]]:
    return grown([bytes.fromhex(leaf) for leaf in LEAVES])


def test_the_hashes_are_those_of_transparency_dev() -> None:
    assert ROOTS[0] == EMPTY_ROOT
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    made = node_hash(b"N123", b"N456").hex()
    assert made == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


def test_the_roots_are_those_of_certificate_transparency(vectors) -> None:
    assert [state.root() for state in vectors[0]] == ROOTS


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSIONS)
def test_the_inclusion_proofs_are_those_of_certificate_transparency(vectors, index, size, proof) -> None:
    assert inclusion_proof(index, size, lambda level, place: vectors[1][level, place]) == hashes(proof)
    leaf = leaf_hash(bytes.fromhex(LEAVES[index]))
    verify_inclusion(leaf, index, size, hashes(proof), ROOTS[size])


@pytest.mark.parametrize(("old", "new", "proof"), CONSISTENCIES)
def test_the_consistency_proofs_are_those_of_certificate_transparency(vectors, old, new, proof) -> None:
    assert consistency_proof(old, new, lambda level, place: vectors[1][level, place]) == hashes(proof)
    verify_consistency(old, ROOTS[old], new, ROOTS[new], hashes(proof))


def test_a_node_knows_its_level_index_and_hash() -> None:
    made = STATES[3].appended(leaf_hash(entry(3)))[1]
    assert (made[1].level, made[1].index, made[1].hash) == (1, 1, mth(2, 4))
    assert made == [Node(0, 3, mth(3, 4)), Node(1, 1, mth(2, 4)), Node(2, 0, mth(0, 4))]
