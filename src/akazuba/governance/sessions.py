"""Sessions on shared tablets: who is signed in where, until when, and what she may do.

A token is 32 random bytes, of which the store keeps the hash. A session belongs to one tablet and to the boot
in which it began. It ends when it is not used, after a shift, when another user signs in on that tablet, and
as soon as an entry about its user is newer than itself. Outside the hours that the site's configuration gives
her role, a user signs in with a written reason. Starts, ends and refusals are logged.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from akazuba.errors import ArtefactError, InputError, encodable
from akazuba.governance.pins import Moment, system_moment
from akazuba.governance.roles import BEHIND_GLASS, LIMITS, Action, Verdict, verdict
from akazuba.governance.signing_in import Tried, known_tablet, tried
from akazuba.governance.site_rules import let_in, verdict_here, written_reason
from akazuba.governance.users import User, acting, refused, user_of, users
from akazuba.storage.store import Entry, Store

TOKEN_BYTES = 32
MOST_SESSIONS = 3
"""Of one user, on different tablets; a fourth ends the one that was not used for longest."""

TOUCH_S = 15.0
"""How exactly the last use is written down: a session may count as unused by so much too early."""

GLASS_S = 30 * 60.0
_SESSIONS = "sessions"


class Glass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A right for one patient for GLASS_S, as long as the session lasts. index: its entry in the log."""

    action: Action
    patient: str
    at: Moment
    index: int


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """name: under which the log knows it; it opens nothing. as_of: the newest entry about the user then."""

    name: str
    token_hash: bytes
    user: str
    tablet: str
    started: Moment
    used: Moment
    as_of: int
    glass: tuple[Glass, ...] = ()


@dataclass(frozen=True)
class Started:
    """token: to be shown by the tablet at each request, 64 hexadecimal digits. wrong_before: attempts with a
    wrong PIN since the user's last right one, to be told to her.
    """

    token: str
    session: Session
    wrong_before: int


@dataclass(frozen=True)
class Granted:
    user: User
    session: Session
    verdict: Verdict


@dataclass(frozen=True)
class Door:
    """Through which everybody comes in. now: a clock of the boot. random: the system's source."""

    store: Store
    now: Callable[[], Moment] = system_moment
    random: Callable[[int], bytes] = os.urandom

    def start(self, who: str, pin: str, tablet: str, reason: str = "") -> Started:
        """Signs in by PIN, and ends whatever session was open on that tablet. Raises InputError.

        reason: to be given outside her hours (`site_rules.outside_hours`).
        """
        return self.started(tried(self.store, who, pin, tablet, self.now()), tablet, reason)

    def started(self, right: Tried, tablet: str, reason: str = "") -> Started:
        """For whoever has just signed in: by PIN (`signing_in.tried`) or passkey (`passkeys.signed_in`).

        Raises InputError, after it is logged, outside her hours without a reason; the PIN counted as right.
        """
        off_shift = let_in(self.store, right.user.id, right.user.role, tablet, reason, right.wrong_before)
        now, token = self.now(), self.random(TOKEN_BYTES)
        made = _made(right.user, token, tablet, now)
        sessions = self._open()
        whys = _over(sessions, users(self.store), made, now)
        kept = [*(session for session in sessions if session.name not in whys), made]
        ended = [_ended(session, whys[session.name]) for session in sessions if session.name in whys]
        told = msgspec.json.encode({"session": made.name, "tablet": tablet, "role": right.user.role})
        self._write(kept, [*ended, *off_shift, Entry("session-started", right.user.id, told)])
        return Started(token.hex(), made, right.wrong_before)

    def session(self, token: str, tablet: str, *, use: bool = True) -> tuple[Session, User]:
        """The open session of a token. use: False for a screen that renews itself and keeps none open.

        Raises InputError; one that is shown by another tablet ends.
        """
        known_tablet(tablet)
        sessions, people, now = self._open(), users(self.store), self.now()
        hash_ = hashlib.sha256(_bytes(token)).digest()
        found = [session for session in sessions if hmac.compare_digest(session.token_hash, hash_)]
        if not found:
            raise InputError("session", "one that is open: sign in", "none")
        (session,) = found
        why = _why_over(session, people, now)
        if session.tablet != tablet:
            why = f"its token was shown by {tablet}"
        if why:
            self._end([session], why)
            raise InputError("session", f"one that is open on {tablet}: sign in", why)
        if use and now.since(session.used) >= TOUCH_S:
            session = msgspec.structs.replace(session, used=now)
            self._write([session if it.name == session.name else it for it in sessions])
        return session, people[session.user]

    def demand(self, token: str, tablet: str, action: Action, patient: str = "") -> Granted:
        """To be asked before anything is done. Whoever then shows a patient's entries records a `read`.

        Raises InputError, after it is logged, when the user may not.
        """
        session, user = self.session(token, tablet)
        judged = verdict_here(self.store, user.role, action)
        if not judged.allowed:
            judged = _through_glass(session, action, patient, self.now()) or judged
        if not judged.allowed:
            refused(self.store, user.id, action, judged.why, patient, tablet)
            raise InputError("right", f"one of the role {user.role}", judged.why)
        return Granted(user, session, judged)

    def break_glass(self, token: str, tablet: str, action: Action, patient: str, reason: str) -> Granted:
        """A right that the role lacks, or that the configuration took from it, for one patient.

        Raises InputError, after it is logged, where no glass is; for a reason that says nothing; for an
        unknown or erased patient.
        """
        session, user = self.session(token, tablet)
        judged, taken = verdict_here(self.store, user.role, action), verdict(user.role, action).allowed
        if judged.allowed:
            raise InputError("glass", "a right that the role lacks", judged.why)
        behind = action in BEHIND_GLASS[user.role] or taken
        if not verdict(user.role, "break-glass").allowed or not behind:
            why = f"no glass for the role {user.role} before: {action}"
            refused(self.store, user.id, "break-glass", why, patient, tablet)
            raise InputError("right", f"one that is behind glass for the role {user.role}", why)
        said = written_reason(reason, "reason")
        patient = self.store.person(encodable(patient)).id
        glass = Glass(action, patient, self.now(), self.store.size)
        broken = msgspec.structs.replace(session, glass=(*session.glass, glass))
        told = {"action": action, "reason": said, "session": session.name, "tablet": tablet, "for_s": GLASS_S}
        self._write(
            [broken if it.name == session.name else it for it in self._open()],
            [Entry("break-glass", user.id, msgspec.json.encode(told), patient)],
        )
        through = _through_glass(broken, action, patient, self.now())
        assert through is not None  # noqa: S101 - it was broken just now
        return Granted(user, broken, through)

    def end(self, token: str, tablet: str) -> None:
        """Signs out."""
        session, _ = self.session(token, tablet)
        self._end([session], "signed out")

    def sessions(self, token: str, tablet: str, who: str = "") -> list[Session]:
        """Those of the user herself that are still open, or of another one for whoever manages users."""
        _, user = self.session(token, tablet)
        people, now = users(self.store), self.now()
        about = user_of(people, who) if who else user
        if about.id != user.id:
            acting(self.store, user.id, "manage-users")
        return [it for it in self._open() if it.user == about.id and not _why_over(it, people, now)]

    def end_all(self, token: str, tablet: str, who: str = "") -> int:
        """How many were ended: all of the user's own, or of another one for whoever manages users."""
        _, user = self.session(token, tablet)
        ending = self.sessions(token, tablet, who)
        self._end(ending, f"all were ended by {user.id}")
        return len(ending)

    def _open(self) -> list[Session]:
        raw = self.store.recall(_SESSIONS)
        try:
            return msgspec.msgpack.decode(raw, type=list[Session]) if raw else []
        except msgspec.MsgspecError as problem:
            raise ArtefactError("sessions", "those that are open", str(problem)) from problem

    def _write(self, sessions: Sequence[Session], entries: Sequence[Entry] = ()) -> None:
        self.store.add_with(_SESSIONS, msgspec.msgpack.encode(sessions), entries)

    def _end(self, ending: Sequence[Session], why: str) -> None:
        names = {session.name for session in ending}
        if names:
            rest = [session for session in self._open() if session.name not in names]
            self._write(rest, [_ended(session, why) for session in ending])


def _made(user: User, token: bytes, tablet: str, now: Moment) -> Session:
    hash_ = hashlib.sha256(token).digest()
    return Session(hash_[:8].hex(), hash_, user.id, tablet, now, now, user.changed)


def _ended(session: Session, why: str) -> Entry:
    told = {"session": session.name, "tablet": session.tablet, "why": why}
    return Entry("session-ended", session.user, msgspec.json.encode(told))


def _over(
    sessions: Sequence[Session], people: Mapping[str, User], new: Session, now: Moment
) -> dict[str, str]:
    """Which sessions end now that a new one begins, and why."""
    whys = {session.name: _why_over(session, people, now) for session in sessions}
    for session in sessions:
        if session.tablet == new.tablet:
            same = session.user == new.user
            whys[session.name] = whys[session.name] or (
                "signed in again" if same else f"{new.user} took over"
            )
    own = [session for session in sessions if session.user == new.user and not whys[session.name]]
    own.sort(key=lambda session: session.used.seconds)
    for session in own[: max(0, len(own) - MOST_SESSIONS + 1)]:
        whys[session.name] = f"more than {MOST_SESSIONS} at once"
    return {name: why for name, why in whys.items() if why}


def _why_over(session: Session, people: Mapping[str, User], now: Moment) -> str:
    """Why it is over, else ""."""
    user = people.get(session.user)
    if session.started.boot != now.boot:
        return "the box was started anew"
    if user is None or user.disabled or user.changed != session.as_of:
        return "the user was changed or disabled"
    limits = LIMITS[user.role]
    if now.since(session.used) >= limits.idle_s:
        return f"not used for {limits.idle_s / 60:.0f} minutes"
    if now.since(session.started) >= limits.whole_s:
        return f"open for {limits.whole_s / 3600:.0f} hours"
    return ""


def _through_glass(session: Session, action: Action, patient: str, now: Moment) -> Verdict | None:
    for glass in session.glass:
        fits = glass.action == action and glass.patient == patient
        if fits and glass.at.boot == now.boot and now.since(glass.at) < GLASS_S:
            return Verdict(True, f"glass broken for {patient}: {action}", glass.index)
    return None


def _bytes(token: str) -> bytes:
    """Raises InputError for what is no token; it isn't repeated."""
    try:
        data = bytes.fromhex(token) if len(token) == 2 * TOKEN_BYTES else b""
    except ValueError:
        data = b""
    if len(data) != TOKEN_BYTES:
        raise InputError("session", f"a token of {2 * TOKEN_BYTES} hexadecimal digits", "something else")
    return data
