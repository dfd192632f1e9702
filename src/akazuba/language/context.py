"""Whether a finding that a note names is present, absent, uncertain, past or somebody else's.

The method is NegEx (Chapman WW et al. 2001, J Biomed Inform 34:301-310: trigger words with a direction,
pseudo-triggers, scopes that end at a terminator) with the further properties of ConText (Harkema H et
al. 2009, J Biomed Inform 42:839-851: experiencer, temporality, hypothetical). The triggers are our own
(`context_en.tsv`), for notes of health posts.

Where we differ: a scope is not a fixed number of words. It runs through a list ("no fever, cough or chest
pain") and ends at "but", a new subject, a new verb ("no fever, has cough"), or a member of the list that
says how long or how bad it is ("no fever, cough for 3 days"), because nobody denies a thing with its
duration. When this errs it errs towards a finding that is there, which is the safer side.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

from akazuba.language.matching import Match
from akazuba.language.scope import Context, Scope
from akazuba.language.times import Time
from akazuba.language.tokens import Gap, Token
from akazuba.language.triggers import Roles, Trigger, Triggers

LONGEST_SENTENCE = 150  # words
_BRINGS = frozenset({"bring", "brings", "bringing", "brought", "carries", "carried"})
"""Who is brought is the patient: "a woman brings her daughter because of a rash"."""
_HELD_BY = frozenset({"of", "arms", "lap", "back", "breast", "milk"})
"""Words behind a relative who is not the one who is ill: "shaking in his mother's arms"."""

DOUBT_ENDS = frozenset({"or", "nor", "and"})


class _Sentence:
    """One sentence with its named findings, triggers and times; `contexts` belong to `matches`."""

    def __init__(
        self,
        tokens: Sequence[Token],
        bounds: tuple[int, int],
        *,
        roles: Roles,
        matches: Sequence[Match],
        triggers: dict[int, Trigger],
        times: Sequence[Time],
    ) -> None:
        self.tokens, self.roles = tokens, roles
        self.begin, self.end = bounds
        self._told = False
        self.matches = matches
        self.contexts = [Context() for _ in self.matches]
        self.triggers = triggers
        self.times = times
        self._covered = {place for match in self.matches for place in match.places}

    def read(self) -> None:
        scope = Scope()
        starts: dict[int, list[Context]] = {}
        for match, context in self._pairs():
            if not self._is_circumstance(match):
                starts.setdefault(match.first, []).append(context)
            else:
                context.hypothetical = True
        skip = self.begin
        for place in range(self.begin, self.end):
            if place >= skip:
                self._meet_word(scope, place)
                if trigger := self.triggers.get(place):
                    self._meet_trigger(scope, trigger)
                    skip = trigger.last
            for context in starts.get(place, ()):
                scope.put_on(context)
        self._place_times()

    def _is_circumstance(self, match: Match) -> bool:
        """Whether it is only what makes another finding worse: "worse with coughing", "hurts on cough"."""
        before = [token.word for token in self.tokens[max(self.begin, match.first - 3) : match.first]]
        return (
            match.last - match.first == 1
            and self.tokens[match.first].word in self.roles.circumstance
            and before[-1:] in (["with"], ["on"], ["when"], ["by"], ["after"], ["during"])
            and (before[-1] == "on" or not self.roles.worse.isdisjoint(before))
        )

    # --- forward ---

    def _meet_word(self, scope: Scope, place: int) -> None:
        token = self.tokens[place]
        comma = place > self.begin and token.gap >= Gap.COMMA
        opens = place == self.begin or comma or self.tokens[place - 1].word in self.roles.joiner
        if comma:
            self._cross_comma(scope, place)
        if place in self._covered:
            return
        if token.word in self.roles.family and self._is_relative(place):
            if opens:
                scope.end_statement()
            self._meet_relative(scope, place)
        elif token.word in self.roles.patient or (opens and token.word in self.roles.pronoun):
            if opens:
                hypothetical = scope.hypothetical and not comma
                scope.end_statement()
                scope.hypothetical = hypothetical
            scope.subject = "patient"
        elif opens and token.word in self.roles.verb and place != self.begin:
            hypothetical = scope.hypothetical
            scope.end_statement()
            scope.hypothetical = hypothetical

    def _cross_comma(self, scope: Scope, place: int) -> None:
        own = self._is_own_statement(place)
        closed = self.tokens[place].gap is Gap.CLOSE
        if own or closed or (scope.negation == "near" and not self._list_goes_on(place)):
            scope.negation = ""
        elif scope.bare and not self._list_goes_on(place, DOUBT_ENDS):
            scope.doubtful = True
        if own:
            scope.history, scope.subject = False, "patient"
        scope.uncertain = scope.past = False

    def _is_own_statement(self, place: int) -> bool:
        """Whether the member of a list that begins here stands for itself: it has a duration or severity."""
        if self._list_goes_on(place):
            return False
        if self.tokens[place].word in self.roles.severity:
            return True
        _, last = self._chunk(place)
        start, end = self.tokens[place].start, self.tokens[last - 1].end
        timed = any(start <= time.start < end for time in self.times)
        return timed and any(place <= match.first < last for match in self.matches)

    def _list_goes_on(self, place: int, joiners: frozenset[str] = frozenset({"or", "nor"})) -> bool:
        """Whether one of `joiners` still comes before anything that ends a list."""
        for later in range(place, self.end):
            word = self.tokens[later].word
            if later in self._covered:
                continue
            if word in joiners:
                return True
            if (
                later in self.triggers
                or word in self.roles.verb
                or word in self.roles.pronoun
                or word in self.roles.patient
            ):
                return False
        return False

    def _is_relative(self, place: int) -> bool:
        """Whether a word of kinship names the one who is ill, not the one who tells or the patient."""
        word = self.tokens[place].word
        before = [token.word for token in self.tokens[max(self.begin, place - 3) : place]]
        after = [token.word for token in self.tokens[place + 1 : min(place + 5, self.end)]]
        brought = any(token.word in _BRINGS for token in self.tokens[self.begin : place])
        own_child = word in {"son", "daughter"} and (self._told or brought or "my" in before[-2:])
        expecting = bool(before) and before[-1] in self.roles.expecting and "born" not in before
        if own_child or expecting or (after and after[0] in _HELD_BY):
            return False
        led_by = next(
            (earlier for earlier in reversed(before) if earlier not in {"his", "her", "the", "my"}), ""
        )
        if led_by in self.roles.companion or led_by in self.roles.acts or self._is_object(place, led_by):
            return False
        if self._speaks(place):
            return False
        if self._acts(place, after):
            return False
        near = (
            after if after[:1] == ["with"] else after[:2]
        )  # "had fever in labour" tells of a child's mother
        if word in {"mother", "mum", "mama", "mom"} and not self.roles.childbirth.isdisjoint(near):
            return False
        tells = not self.roles.tells.isdisjoint(after)
        self._told = self._told or tells
        return not tells

    def _speaks(self, place: int) -> bool:
        """Whether what a relative says follows: "Mother: he sleeps all day", not "Mother: diabetes"."""
        if place + 1 == self.end or self.tokens[place + 1].gap is not Gap.SOFT:
            return False
        word = self.tokens[place + 1].word
        return word in {"his", "her", "my", "the"} or word in self.roles.pronoun | self.roles.patient

    def _acts(self, place: int, after: Sequence[str]) -> bool:
        """Whether a relative did it to the patient: "husband beat her", not "husband was beaten"."""
        pairs = pairwise((self.tokens[place].word, *after))
        return any(word in self.roles.acts and before not in self.roles.passive for before, word in pairs)

    def _is_object(self, place: int, led_by: str) -> bool:
        """Whether a relative ends a part of a sentence that began with something else than a finding:
        "does not know his wife, no fever"; not "diabetes in the family: mother" nor "cough: mother, sister".
        """
        ends = place + 1 == self.end or self.tokens[place + 1].gap >= Gap.COMMA
        opens = place == self.begin or self.tokens[place].gap > Gap.NONE
        before = self.tokens[max(self.begin, place - 4) : place]
        return ends and not opens and bool(led_by) and "in" not in {token.word for token in before}

    def _meet_relative(self, scope: Scope, place: int) -> None:
        earlier = [token.word for token in self.tokens[max(self.begin, place - 2) : place]]
        if "in" in earlier and self._backward(place):
            for context in self._backward(place):
                context.subject = "family"
        else:
            scope.subject = "family"

    def _meet_trigger(self, scope: Scope, trigger: Trigger) -> None:
        if trigger.kind == "ignore":
            return
        if trigger.kind == "stop":
            scope.end_statement()
            return
        if trigger.kind == "elsewhere":
            for context in self._backward(trigger.first):
                context.hypothetical = context.hypothetical or not context.present
            scope.negation, scope.bare, scope.doubtful = "", False, False
            return
        if self._looks_back(trigger):
            over = self.tokens[trigger.first].word == "none" and self._is_time(trigger.last)
            contexts = self._backward(trigger.first)
            for context in contexts:
                context.mark("past" if over else trigger.kind)  # "fits this morning, none since noon"
            # "Last year he had fits": an adverb may come first.
            if contexts or trigger.kind not in {"past", "family"}:
                return
        scope.open(trigger.kind)
        if trigger.kind.startswith("negation"):
            if scope.subject == "other" and self.tokens[trigger.first].gap >= Gap.COMMA:
                scope.subject = "patient"  # "no contact with sick people, no fever": the fever is hers again
            alone = trigger.last - trigger.first == 1 and self.tokens[trigger.first].word in {"no", "nil"}
            scope.bare, scope.doubtful = alone, False

    def _looks_back(self, trigger: Trigger) -> bool:
        if trigger.direction == "either":
            return not self._finding_follows(trigger.last) and bool(self._backward(trigger.first))
        if trigger.direction == "answer":
            first, last = self._chunk(trigger.first)
            return trigger.last == last and any(first <= match.first < last for match in self.matches)
        return trigger.direction == "backward"

    # --- backward ---

    def _chunk(self, place: int) -> tuple[int, int]:
        """First place and end (exclusive) of the stretch without a comma around `place`."""
        first = place
        while first > self.begin and self.tokens[first].gap < Gap.COMMA:
            first -= 1
        last = place + 1
        while last < self.end and self.tokens[last].gap < Gap.COMMA:
            last += 1
        return first, last

    def _is_time(self, place: int) -> bool:
        if place >= self.end:
            return False
        token = self.tokens[place]
        return token.word in {"now", "since", "after"} or any(
            time.start <= token.start < time.end for time in self.times
        )

    def _finding_follows(self, place: int) -> bool:
        if place >= self.end or self.tokens[place].gap >= Gap.COMMA:
            return False
        _, last = self._chunk(place)
        return any(place <= match.first < last for match in self.matches)

    def _backward(self, place: int) -> list[Context]:
        """The findings before a word, back to a comma; a list that ends in "or" counts whole."""
        first, saw_or = place, False
        for earlier in range(place - 1, self.begin - 1, -1):
            trigger = self.triggers.get(earlier)
            if trigger is not None and trigger.kind in {"stop", "negation", "negation-near"}:
                break
            first = earlier
            saw_or = saw_or or self.tokens[earlier].word in {"or", "nor"}
            comma = self.tokens[earlier].gap >= Gap.COMMA
            if comma and not saw_or and any(first <= match.first < place for match in self.matches):
                break
        return [context for match, context in self._pairs() if first <= match.first and match.last <= place]

    # --- times ---

    def _place_times(self) -> None:
        """Gives each time to the findings that it dates.

        Those before it in its own part of the list, and in the whole list when "and" closes that ("fever,
        cough and headache for 3 days"); those after it when it says so ("3 days of fever") or when nothing
        stands before. What is left undated is unknown, which is safer than a guess.
        """
        previous = self.begin
        for index, time in enumerate(self.times):
            place = next(
                place for place in range(self.begin, self.end) if self.tokens[place].end > time.start
            )
            last = next((p for p in range(place, self.end) if self.tokens[p].start >= time.end), self.end)
            dated = [] if time.onward else self._before_time(previous, place, time.marked)
            if not dated and (time.onward or time.marked or place == self.begin):
                later = self.times[index + 1].start if index + 1 < len(self.times) else None
                dated = [
                    context
                    for match, context in self._pairs()
                    if match.first >= last and (later is None or self.tokens[match.first].start < later)
                ]
            for context in dated:
                if time.past:
                    context.past = True
                elif context.present:
                    context.onset_days, context.history = time.days, False
            previous = last

    def _before_time(self, previous: int, place: int, marked: bool) -> list[Context]:
        """Findings between the last time and this one; a bare "3 days" must follow a finding at once."""
        first, _ = self._chunk(max(place - 1, self.begin))
        if any(self.tokens[p].word == "and" for p in range(first, place)):
            first = self.begin
        if not any(match.last <= place for match, _ in self._pairs() if match.first >= first):
            first = self.begin if marked else first
        near = [
            (match, context)
            for match, context in self._pairs()
            if max(first, previous) <= match.first and match.last <= place
        ]
        if not near or not (marked or place - max(match.last for match, _ in near) <= 1):
            return []
        return [context for _, context in near if context.subject == near[-1][1].subject]

    def _pairs(self) -> Iterator[tuple[Match, Context]]:
        return zip(self.matches, self.contexts, strict=True)


def read_contexts(
    tokens: Sequence[Token], matches: Sequence[Match], times: Sequence[Time], triggers: Triggers, roles: Roles
) -> list[Context]:
    """The context of every match, in the order of `matches` (which is the order of the note)."""
    taken = {place for match in matches for place in match.places}
    token_starts = [token.start for token in tokens]
    for time in times:
        taken.update(range(bisect_left(token_starts, time.start), bisect_left(token_starts, time.end)))
    found = triggers.find(tokens, taken)
    match_starts = [match.first for match in matches]
    time_starts = [time.start for time in times]
    contexts: list[Context] = []
    for begin, end in _sentences(tokens):
        sentence = _Sentence(
            tokens,
            (begin, end),
            roles=roles,
            matches=matches[bisect_left(match_starts, begin) : bisect_left(match_starts, end)],
            triggers=found,
            times=times[
                bisect_left(time_starts, tokens[begin].start) : bisect_left(time_starts, tokens[end - 1].end)
            ],
        )
        sentence.read()
        if tokens[end - 1].asked:
            _answer(sentence.contexts, tokens[end].word if end < len(tokens) else "", roles)
        contexts += sentence.contexts
    return contexts


def _answer(contexts: Sequence[Context], reply: str, roles: Roles) -> None:
    """A question names a finding that the next word may settle: "Any fever? No"."""
    for context in contexts:
        if reply in roles.no:
            context.present = False
        elif reply not in roles.yes:
            context.uncertain = True


def _sentences(tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """First and end (exclusive) place of each; a text without full stops is cut at LONGEST_SENTENCE."""
    begin = 0
    for place, token in enumerate(tokens):
        if place and (token.gap is Gap.END or place - begin >= LONGEST_SENTENCE):
            yield begin, place
            begin = place
    if tokens:
        yield begin, len(tokens)
