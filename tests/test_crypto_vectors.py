"""Published cases for the primitives under keys and envelopes: the valid hold, the invalid are refused.

They are a selection from Wycheproof; the head of data/wycheproof.json says where each can be found again.
What `cryptography` does with the cases called acceptable is written down in `refuses`.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings, strategies as st

PUBLISHED = Path(__file__).parent / "data" / "wycheproof.json"

REFUSED = (InvalidSignature, InvalidTag, ValueError)


@dataclass(frozen=True)
class Case:
    primitive: str
    file: str
    number: int
    result: str
    flags: tuple[str, ...]
    comment: str
    size: int
    values: dict[str, bytes]

    def __getitem__(self, name: str) -> bytes:
        return self.values[name]


def published() -> Iterator[Case]:
    plain = ("tcId", "result", "flags", "comment", "size")
    for section in json.loads(PUBLISHED.read_text(encoding="utf-8"))["sections"]:
        for group in section["groups"]:
            for case in group["cases"]:
                texts: dict[str, Any] = group["shared"] | case
                yield Case(
                    section["primitive"],
                    section["file"],
                    case["tcId"],
                    case["result"],
                    tuple(case["flags"]),
                    case.get("comment", ""),
                    case.get("size", 0),
                    {name: base64.b64decode(text) for name, text in texts.items() if name not in plain},
                )


CASES = list(published())


def only(file: str, number: int) -> Case:
    return next(case for case in CASES if (case.file, case.number) == (file, number))


def ed25519(case: Case) -> bool:
    Ed25519PublicKey.from_public_bytes(case["key"]).verify(case["sig"], case["msg"])
    return True


def ml_dsa(case: Case) -> bool:
    key = MLDSA65PublicKey.from_public_bytes(case["key"])
    key.verify(case["sig"], case["msg"], case.values.get("ctx"))
    return True


def ml_dsa_from_seed(case: Case) -> bool:
    """`cryptography` signs with fresh randomness (FIPS 204, hedged), so its signature is not the published
    one: both must verify under the key that grows from the seed, and that key must be the published one.
    """
    private = MLDSA65PrivateKey.from_seed_bytes(case["seed"])
    public = private.public_key()
    if "msg" in case.values:
        context = case.values.get("ctx")
        signatures = [private.sign(case["msg"], context), case["sig"]]
        for signature in signatures:
            public.verify(signature, case["msg"], context)
    else:
        for signature in [private.sign_mu(case["mu"]), case["sig"]]:
            public.verify_mu(signature, case["mu"])
    return public.public_bytes_raw() == case["key"]


def x25519(case: Case) -> bool:
    private = X25519PrivateKey.from_private_bytes(case["private"])
    return private.exchange(X25519PublicKey.from_public_bytes(case["public"])) == case["shared"]


def ml_kem_opened(case: Case) -> bool:
    """An altered ciphertext of the right length is no error: it opens to another secret (FIPS 203, 6.3)."""
    return MLKEM768PrivateKey.from_seed_bytes(case["seed"]).decapsulate(case["c"]) == case["K"]


def ml_kem_sealed(case: Case) -> bool:
    """The randomness of an encapsulation cannot be handed in, so only the sizes can be held to the text."""
    secret, ciphertext = MLKEM768PublicKey.from_public_bytes(case["ek"]).encapsulate()
    return (len(secret), len(ciphertext)) == (32, 1088)


def ml_kem_from_seed(case: Case) -> bool:
    private = MLKEM768PrivateKey.from_seed_bytes(case["seed"])
    secret, ciphertext = MLKEM768PublicKey.from_public_bytes(case["ek"]).encapsulate()
    return private.public_key().public_bytes_raw() == case["ek"] and private.decapsulate(ciphertext) == secret


def hkdf(algorithm: HashAlgorithm) -> Callable[[Case], bool]:
    def derives(case: Case) -> bool:
        derived = HKDF(algorithm, case.size, case["salt"], case["info"]).derive(case["ikm"])
        return derived == case["okm"]

    return derives


def aead(cipher: type[AESGCM] | type[ChaCha20Poly1305]) -> Callable[[Case], bool]:
    def opens(case: Case) -> bool:
        key, sealed = cipher(case["key"]), case["ct"] + case["tag"]
        opened = key.decrypt(case["iv"], sealed, case["aad"])
        return opened == case["msg"] and key.encrypt(case["iv"], opened, case["aad"]) == sealed

    return opens


HOLDS: dict[str, Callable[[Case], bool]] = {
    "ed25519_test.json": ed25519,
    "mldsa_65_verify_test.json": ml_dsa,
    "mldsa_65_sign_seed_test.json": ml_dsa_from_seed,
    "x25519_test.json": x25519,
    "mlkem_768_test.json": ml_kem_opened,
    "mlkem_768_encaps_test.json": ml_kem_sealed,
    "mlkem_768_keygen_seed_test.json": ml_kem_from_seed,
    "hkdf_sha384_test.json": hkdf(SHA384()),
    "hkdf_sha256_test.json": hkdf(SHA256()),
    "aes_gcm_test.json": aead(AESGCM),
    "chacha20_poly1305_test.json": aead(ChaCha20Poly1305),
}


def refuses(case: Case) -> bool:
    """Of the acceptable cases, an exchange whose shared secret is all zero is refused (RFC 7748, 6.1).

    A public X25519 value on the twist or not reduced mod p is taken (RFC 7748, 5). An Ed25519 key of small
    or mixed order is taken too, as RFC 8032 allows: see the test on what such a key vouches for.
    """
    return case.result == "invalid" or "ZeroSharedSecret" in case.flags


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.file.removesuffix('_test.json')}-{case.number}"
)
def test_a_published_case_ends_as_published(case: Case) -> None:
    if refuses(case):
        with pytest.raises(REFUSED):
            HOLDS[case.file](case)
    else:
        assert HOLDS[case.file](case), case.comment


def test_each_primitive_is_held_to_valid_and_to_refused_cases() -> None:
    assert {case.file for case in CASES} == set(HOLDS)
    seen = Counter((case.primitive, refuses(case)) for case in CASES)
    for primitive in {case.primitive for case in CASES}:
        assert seen[primitive, False] >= 9, primitive
        assert seen[primitive, True] >= 3, primitive
    assert len({(case.file, case.number) for case in CASES}) == len(CASES)


def test_the_origin_of_the_cases_is_told() -> None:
    head = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert head["source"]["licence"] == "Apache-2.0"
    assert all(len(section["commit"]) == 40 for section in head["sections"])
    assert PUBLISHED.stat().st_size < 300_000


def test_an_ed25519_key_of_small_order_vouches_for_any_message() -> None:
    """The reason why an Ed25519 signature alone never identifies anybody: both signatures must verify."""
    neutral = only("ed25519_test.json", 152)
    key = Ed25519PublicKey.from_public_bytes(neutral["key"])
    key.verify(neutral["sig"], neutral["msg"])
    key.verify(neutral["sig"], b"what nobody signed")


def test_a_ciphertext_for_another_ml_kem_key_opens_to_another_secret() -> None:
    mine, other = (only("mlkem_768_keygen_seed_test.json", number) for number in (1, 2))
    secret, ciphertext = MLKEM768PublicKey.from_public_bytes(mine["ek"]).encapsulate()
    assert MLKEM768PrivateKey.from_seed_bytes(mine["seed"]).decapsulate(ciphertext) == secret
    assert MLKEM768PrivateKey.from_seed_bytes(other["seed"]).decapsulate(ciphertext) != secret


ALTERABLE = [
    (only("ed25519_test.json", 81), ("sig", "msg")),
    (only("mldsa_65_verify_test.json", 3), ("sig", "msg", "ctx")),
    (only("aes_gcm_test.json", 120), ("key", "iv", "aad", "ct", "tag")),
    (only("chacha20_poly1305_test.json", 1), ("key", "iv", "aad", "ct", "tag")),
]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_one_flipped_bit_anywhere_is_refused(data: st.DataObject) -> None:
    case, names = data.draw(st.sampled_from(ALTERABLE))
    name = data.draw(st.sampled_from(names))
    bit = data.draw(st.integers(0, 8 * len(case[name]) - 1))
    altered = bytearray(case[name])
    altered[bit // 8] ^= 1 << bit % 8
    values = case.values | {name: bytes(altered)}
    changed = Case(case.primitive, case.file, case.number, "invalid", case.flags, "", 0, values)
    with pytest.raises(REFUSED):
        HOLDS[case.file](changed)
