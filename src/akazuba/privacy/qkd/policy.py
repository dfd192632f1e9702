"""When a quantum key is used: `off` never, `prefer` where there is one, `require` always.

A quantum key is never the only secret (see `keys.envelope`): going on without one under `prefer` costs no
more than a second lock. Under `require` nothing goes on: what waits is sent when there are keys again.
"""

from __future__ import annotations

from collections.abc import Callable

from akazuba.errors import AkazubaError, InputError, KeysExhaustedError, UntrustedError
from akazuba.privacy.keys.envelope import QkdPolicy, QuantumKey
from akazuba.privacy.qkd.client import KmeClient

QkdKey = QuantumKey

KEY_BITS = 256


def key_for(
    policy: QkdPolicy,
    client: KmeClient | None,
    peer_sae: str,
    *,
    missing: Callable[[AkazubaError], None] = lambda _: None,
) -> QkdKey | None:
    """A new key to share with a peer. client: None where there is no link. missing: is told why `prefer` goes
    on without one. Raises KeysExhaustedError under `require`.
    """
    return _under(policy, client, lambda kme: kme.enc_keys(peer_sae, 1, KEY_BITS), missing)


def key_by_id(
    policy: QkdPolicy,
    client: KmeClient | None,
    master_sae: str,
    key_id: str,
    *,
    missing: Callable[[AkazubaError], None] = lambda _: None,
) -> QkdKey | None:
    """The key that a sender named. Raises as `key_for`."""
    return _under(policy, client, lambda kme: kme.dec_keys(master_sae, [key_id]), missing)


def _under(
    policy: QkdPolicy,
    client: KmeClient | None,
    fetch: Callable[[KmeClient], tuple[QkdKey, ...]],
    missing: Callable[[AkazubaError], None],
) -> QkdKey | None:
    if policy == "off":
        return None
    try:
        return _fetched(client, fetch)
    except KeysExhaustedError as problem:
        if policy == "require":
            raise
        missing(problem)
        return None
    except (UntrustedError, InputError) as problem:
        if policy == "require":
            raise KeysExhaustedError(problem.item, problem.expected, problem.found) from problem
        missing(problem)
        return None


def _fetched(client: KmeClient | None, fetch: Callable[[KmeClient], tuple[QkdKey, ...]]) -> QkdKey:
    if client is None:
        raise KeysExhaustedError("quantum key", "a key management entity", "none is set up")
    (key,) = fetch(client)
    if len(key.key) * 8 != KEY_BITS:
        raise UntrustedError("quantum key", f"{KEY_BITS} bits", f"{len(key.key) * 8} bits")
    return key
