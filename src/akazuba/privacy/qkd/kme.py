"""The key management entity as a function: a request and who sends it in, an answer out.

ETSI GS QKD 014 V1.1.1 for the SAEs (clauses beside the code; see `messages` for what was opened and what is
from memory), and ours for the peer (/peer/v1) and the link (/link/v1). A key is delivered to its master when
the peer has durably taken the same bits for its slaves; a reservation that fails between is void at both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import msgspec

from akazuba.errors import ArtefactError, InputError, KeysExhaustedError, UntrustedError
from akazuba.privacy.qkd.configuration import Site
from akazuba.privacy.qkd.messages import (
    MAX_REQUEST,
    NOT_FOUND,
    NOT_SUPPORTED,
    NOT_WHOLE_BYTES,
    SIMULATED,
    UNSUPPORTED,
    Block,
    Compared,
    Key,
    KeyContainer,
    KeyId,
    KeyRequest,
    Marks,
    Next,
    Reservation,
    Status,
    Voids,
    canonical_uuid,
    decoded,
)
from akazuba.privacy.qkd.requests import (
    Answer,
    RefusedError,
    Request,
    bad,
    key_ids,
    key_request,
    known,
    only,
    read,
    steps,
)
from akazuba.privacy.qkd.store import Drawn, HeldKey, Store

TURN_S = 10.0
"""How long a request for keys waits for those before it."""
WAITING = 16
"""Requests for keys that wait at once: fewer than the server's threads, so that the peer is always heard."""

Tell = Callable[[str, bytes], Answer]
"""Posts to a path of the peer. Raises OSError when it cannot be reached or does not answer."""


class Kme:
    """site: who is who. tell: reaches the peer."""

    def __init__(self, site: Site, store: Store, tell: Tell) -> None:
        self._site, self._store, self._tell = site, store, tell
        self._turn, self._waiting = threading.Lock(), threading.BoundedSemaphore(WAITING)
        self._unsettled = True

    def answer(self, request: Request, caller: str | None) -> Answer:
        """caller: the name in the client's certificate. Every fault of a request is an answer."""
        try:
            said = self._routed(request, caller)
        except RefusedError as refusal:
            return refusal.answer
        except KeysExhaustedError as problem:
            return RefusedError(503, "insufficient key material", [{"found": problem.found}]).answer
        except ArtefactError:
            return RefusedError(503, "key data access error").answer
        return Answer(200, msgspec.json.encode(said))

    @property
    def simulated(self) -> bool:
        """Whether any of its bits come from no quantum link."""
        return self._store.any_simulated()

    def settle(self) -> bool:
        """Tells the peer of void reservations, agrees with it on new blocks, erases what nobody claimed.
        Whether the peer heard everything.
        """
        self._store.settle()
        with self._turn:
            return self._settled()

    def _routed(self, request: Request, caller: str | None) -> msgspec.Struct:
        match steps(request):
            case ["", "api", "v1", "keys", other, "status"]:
                only(request, "GET")
                return self._status(self._parties(caller, other), other)
            case ["", "api", "v1", "keys", other, "enc_keys"]:
                only(request, "GET", "POST")
                return self._enc_keys(self._parties(caller, other), other, key_request(request))
            case ["", "api", "v1", "keys", other, "dec_keys"]:
                only(request, "GET", "POST")
                return self._dec_keys(other, self._parties(caller, other), key_ids(request))
            case ["", "peer", "v1", act]:
                known(caller, self._site.peer.id)
                only(request, "POST")
                return self._peer_says(act, request.body)
            case ["", "link", "v1", "blocks"]:
                known(caller, self._site.link)
                only(request, "GET", "POST")
                if request.method == "GET":
                    return Next(self._store.next_number())
                return self._take_block(read(request.body, Block))
        raise RefusedError(404, "no such resource")

    def _parties(self, caller: str | None, other: str) -> str:
        """The caller, when it is an SAE of this KME and `other` is another SAE. Clause 5.1: an SAE that the
        KME does not serve is not authorised.
        """
        if caller is None or self._site.saes.get(caller) != self._site.id:
            raise RefusedError(401)
        if other not in self._site.saes:
            bad("unknown SAE ID")
        if other == caller:
            bad("master and slave SAE shall differ")
        return caller

    def _status(self, master: str, slave: str) -> Status:
        """Clauses 5.2 and 6.1."""
        limits = self._site.limits
        return Status(
            self._site.id,
            self._site.saes[slave],
            master,
            slave,
            limits.key_size,
            min(self._store.own_bytes() // (limits.key_size // 8), limits.max_key_count),
            limits.max_key_count,
            limits.max_key_per_request,
            limits.max_key_size,
            limits.min_key_size,
            limits.max_SAE_ID_count,
            {SIMULATED: self._store.any_simulated()},
        )

    def _enc_keys(self, master: str, slave: str, asked: KeyRequest) -> KeyContainer:
        """Clauses 5.3, 6.2 and 6.3."""
        size, slaves = self._met(master, slave, asked)
        if not self._waiting.acquire(blocking=False):
            raise RefusedError(503, "too many requests at once")
        try:
            if not self._turn.acquire(timeout=TURN_S):
                raise RefusedError(503, "too many requests at once")
            try:
                drawn = self._reserved_at_both(master, slaves, asked.number, size)
            finally:
                self._turn.release()
            self._store.deliver(drawn, self._served_here(slaves))
        finally:
            self._waiting.release()
        return _container(drawn.keys)

    def _reserved_at_both(self, master: str, slaves: Sequence[str], number: int, size: int) -> Drawn:
        """Under `_turn`: nothing is drawn before the peer knows of everything that came to nothing."""
        if self._unsettled and not self._settled():
            raise RefusedError(503, "the KME of the slave SAE does not answer")
        drawn = self._store.draw(master, slaves, number, size)
        self._unsettled = True  # until the peer has it
        try:
            answer = self._tell("/peer/v1/reservations", msgspec.json.encode(drawn.said))
        except OSError:
            answer = Answer(503)
        self._unsettled = answer.status != 200
        if answer.status == 409:
            self._store.drop([each.block for each in drawn.said.slices])
        if self._unsettled:
            self._store.void(drawn.said.reservation)
            raise RefusedError(503, "the KME of the slave SAE did not take the key")
        return drawn

    def _met(self, master: str, slave: str, asked: KeyRequest) -> tuple[int, tuple[str, ...]]:
        """Bytes of each key and all the slaves, when the request is one that this KME can meet."""
        limits, more = self._site.limits, asked.additional_slave_SAE_IDs
        if asked.extension_mandatory:
            names = [name[:64] for each in asked.extension_mandatory for name in each][:16]
            raise RefusedError(
                400, NOT_SUPPORTED, [{UNSUPPORTED: f"{name} is not supported"} for name in names]
            )
        size = limits.key_size if asked.size is msgspec.UNSET else asked.size
        if size % 8:
            bad(NOT_WHOLE_BYTES)
        if not limits.min_key_size <= size <= limits.max_key_size:
            bad(f"size shall be from {limits.min_key_size} to {limits.max_key_size} bits")
        if asked.number > limits.max_key_per_request:
            bad(f"number shall be at most {limits.max_key_per_request}")
        if len(more) > limits.max_SAE_ID_count:
            bad(f"additional_slave_SAE_IDs shall be at most {limits.max_SAE_ID_count}")
        if len({*more, slave, master}) != len(more) + 2:
            bad("additional_slave_SAE_IDs shall differ from one another, the slave and the master")
        if not all(name in self._site.saes for name in more):
            bad("additional_slave_SAE_IDs: unknown SAE ID")
        return size // 8, (slave, *more)

    def _dec_keys(self, master: str, slave: str, asked: Sequence[KeyId]) -> KeyContainer:
        """Clauses 5.4 and 6.4."""
        if not 1 <= len(asked) <= self._site.limits.max_key_per_request:
            bad(f"key_IDs shall be 1 to {self._site.limits.max_key_per_request}")
        ids = list[str]()
        for each in asked:
            made = canonical_uuid(each.key_ID)
            if made is None:
                bad("key_ID shall be a UUID")
            ids.append(made)
        if len(set(ids)) != len(ids):
            bad("key_IDs shall differ from one another")
        try:
            return _container(self._store.claim(master, slave, ids))
        except UntrustedError:
            raise RefusedError(401) from None
        except InputError:
            raise RefusedError(400, NOT_FOUND) from None

    def _peer_says(self, act: str, body: bytes) -> msgspec.Struct:
        if act == "reservations":
            said = read(body, Reservation)
            self._check(said)
            if not self._store.accept(said, self._served_here(said.slaves)):
                raise RefusedError(409, "the two KMEs are out of step")
            return Next(0)
        if act == "voids":
            self._store.forget(read(body, Voids).reservations)
            return Next(0)
        if act == "blocks":
            return self._store.compare(read(body, Marks).marks)
        raise RefusedError(404, "no such resource")

    def _check(self, said: Reservation) -> None:
        """The peer is authentic; this catches one that is broken."""
        limits, saes = self._site.limits, self._site.saes
        ids = [canonical_uuid(key_id) for key_id in (said.reservation, *said.key_ids)]
        if None in ids or len(set(ids)) != len(ids) or len(said.check) != 32:
            bad("a reservation shall have ids and a check")
        if said.size * 8 > limits.max_key_size or sum(each.length for each in said.slices) > MAX_REQUEST:
            bad("a reservation shall be within the limits")
        known = all(name in saes for name in said.slaves) and len(set(said.slaves)) == len(said.slaves)
        if not known or saes.get(said.master) != self._site.peer.id or said.master in said.slaves:
            bad("a reservation shall be of the peer's SAE for others")

    def _take_block(self, block: Block) -> Next:
        limits = self._site.limits
        room = 2 * limits.max_key_count * (limits.key_size // 8)
        if not self._store.make_room(len(block.bits), room):
            raise RefusedError(503, "the pool is full")
        try:
            self._store.add(block)
        except UntrustedError as problem:
            raise RefusedError(409, str(problem)) from None
        with self._turn:
            self._announced()
        return Next(self._store.next_number())

    def _settled(self) -> bool:
        """Under `_turn`."""
        while untold := self._store.void_untold():
            try:
                answer = self._tell("/peer/v1/voids", msgspec.json.encode(Voids(untold)))
            except OSError:
                return False
            if answer.status != 200:
                return False
            self._store.void_told(untold)
        self._unsettled = False
        return self._announced()

    def _announced(self) -> bool:
        """Under `_turn`: a block can be drawn from when the peer holds the same."""
        marks = self._store.not_agreed()
        if not marks:
            return True
        try:
            answer = self._tell("/peer/v1/blocks", msgspec.json.encode(Marks(marks)))
        except OSError:
            return False
        said = decoded(answer.body, Compared) if answer.status == 200 else ""
        if isinstance(said, str):
            return False
        self._store.agree(said)
        return True

    def _served_here(self, saes: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in saes if self._site.saes[name] == self._site.id)


def _container(keys: Sequence[HeldKey]) -> KeyContainer:
    return KeyContainer(
        tuple(Key(key.key_id, key.bits, key_extension={SIMULATED: key.simulated}) for key in keys)
    )
