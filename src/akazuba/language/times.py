"""How long ago something began: "for 3 weeks", "x 2 days", "2/7", "since yesterday", "3 day history of"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS: dict[str, float] = {word: float(value) for value, word in enumerate(_WORDS, start=1)}
_NUMBERS |= {"a": 1.0, "an": 1.0}
_NUMBERS |= {"a few": 3.0, "few": 3.0, "a couple of": 2.0, "couple of": 2.0, "several": 4.0}
_MONTH, _YEAR = 365.25 / 12, 365.25
_DAYS = {"mi": 0.0, "h": 1 / 24, "d": 1.0, "n": 1.0, "w": 7.0, "mo": _MONTH, "mt": _MONTH, "y": _YEAR}
_FRACTIONS = {"7": 1.0, "52": 7.0, "12": _MONTH}  # 2/7 is two days, 3/52 three weeks, 6/12 six months

_AMOUNT = r"(?:\d{1,3}(?:\.\d)?|" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"
_UNIT = r"(?:min(?:ute)?s?|h(?:ou)?rs?|h|days?|d|nights?|w(?:ee)?ks?|w|mo(?:nth)?s?|mths?|y(?:ea)?rs?|y)"
_SPAN = re.compile(
    rf"""\b(?P<lead>for|since|from|x|over|during|within|in|past|last)?\s*
    (?:(?:about|almost|nearly|over|more\ than|around|at\ least|the)\s+)?
    (?:(?:the\s+)?(?:past|last)\s+)?
    (?:(?P<amount>{_AMOUNT})(?:\s?(?:-|–|to|or)\s?(?P<upper>\d{{1,3}}))?[\s-]?(?P<unit>{_UNIT})
      |(?P<count>\d{{1,2}})/(?P<fraction>7|52|12))\b
    (?P<trail>\s(?:ago|back)\b)?
    (?P<onward>\s(?:of(?!\sage)|h/o|hx|history(?:\sof)?|duration)\b)?""",
    re.VERBOSE,
)
_LAST = re.compile(
    r"\b(?:for|in|over|during)\s(?:the\s)?(?:past|last)\s(?:few\s)?(?P<unit>days?|weeks?|months?|years?|night)\b"
)
_SINCE = re.compile(
    r"\b(?:(?P<lead>since|from|started|began|starting|onset)\s(?:the\s)?)?"
    r"(?P<when>today|this\smorning|morning|this\safternoon|tonight|last\snight|yesterday|last\sweek|last\smonth"
    r"|last\syear)\b"
)
_LONG_AGO = re.compile(
    r"\bin\s(?:19|20)\d\d\b|\bat\s(?:the\s)?age\s(?:of\s)?\d{1,2}\b|\bat\s\d{1,2}\s(?:years|months)\sof\sage\b"
)
"""A year or an age at which something happened: "heart attack in 2015", "broke her leg at age 10"."""
_WHEN = {"today": 0.0, "this morning": 0.0, "morning": 0.0, "this afternoon": 0.0, "tonight": 0.0}
_WHEN |= {"last night": 1.0, "yesterday": 1.0, "last week": 7.0, "last month": _MONTH, "last year": _YEAR}
_NOT_AFTER = re.compile(r"[\s-]*(?:old|of age|pregnan|gestation|amenorr|post|after|per\b|each|apart|later)")
_NOT_BEFORE = re.compile(
    r"\b(?:every|each|aged?|per|lasts?|lasting|lasted|takes|times|at|within|after|of)\s+(?:for\s+)?$"
)
"""An age, a frequency or the length of one attack is no onset."""
_BEGAN = re.compile(r"\b(?:start(?:ed|ing)?|beg[au]n|onset|noticed|fell|bitten|stung|burnt|injured)\W*$")
_BEGINS = re.compile(r",?\s(?:(?:he|she|it|they|i|patient)\s)?(?:start|beg[au]n|develop|notic)")
_PAST_AFTER_DAYS = 31.0
"""An event told with "ago" that is longer back is history: "had a fit 3 years ago"."""


@dataclass(frozen=True, slots=True)
class Time:
    """A stretch of time in the note.

    start, end: characters. days: how long ago. marked: it says itself that it is an onset ("for",
    "since", "2/7"); if not, it belongs to the finding just before it. onward: it belongs to what
    follows ("3 days of fever"). past: the event lies so far back that it is history.
    """

    start: int
    end: int
    days: float
    marked: bool
    onward: bool
    past: bool


def find_times(note: str) -> list[Time]:
    """Every onset or duration in the note, in order, without overlap.

    >>> [time.days for time in find_times("cough for 3 weeks, fever since yesterday, rash x 2/7")]
    [21.0, 1.0, 2.0]
    """
    text = note.lower() if len(note.lower()) == len(note) else note
    found = [*_spans(text), *_anchors(text)]
    found.sort(key=lambda time: (time.start, -time.end))
    kept: list[Time] = []
    for time in found:
        if not kept or time.start >= kept[-1].end:
            kept.append(time)
    return kept


def _spans(text: str) -> list[Time]:
    found = []
    for match in _SPAN.finditer(text):
        before = text[max(0, match.start() - 20) : match.start()] + " "
        lead = match["lead"]
        if _NOT_AFTER.match(text, match.end()) or (lead != "since" and _NOT_BEFORE.search(before)):
            continue
        if match["fraction"]:
            days = float(match["count"]) * _FRACTIONS[match["fraction"]]
        elif match["amount"] in {"a", "an"} and not lead and not match["trail"] and not match["onward"]:
            continue  # "twice a day"
        elif match["unit"] in {"h", "d", "w", "y"} and not match["amount"][0].isdigit():
            continue
        else:
            number = match["upper"] or match["amount"]
            days = _number(number) * _days(match["unit"])
        ago = match["trail"] is not None
        began = bool(_BEGAN.search(before) or _BEGINS.match(text, match.end())) or lead in {"since", "from"}
        past = ago and not began and days > _PAST_AFTER_DAYS
        marked = bool(lead) or ago or match["fraction"] is not None or began
        found.append(Time(match.start(), match.end(), days, marked, match["onward"] is not None, past))
    return found


def _anchors(text: str) -> list[Time]:
    found = []
    for match in _LAST.finditer(text):
        days = _days(match["unit"]) * (_NUMBERS["few"] if match["unit"].endswith("s") else 1)
        found.append(Time(match.start(), match.end(), days, marked=True, onward=False, past=False))
    for match in _SINCE.finditer(text):
        lead, when = match["lead"], " ".join(match["when"].split())
        if lead or (_WHEN[when] <= 1 and when != "morning"):
            marked = lead is not None
            found.append(Time(match.start(), match.end(), _WHEN[when], marked, onward=False, past=False))
    long_ago = _LONG_AGO.finditer(text)
    found += [Time(*match.span(), _YEAR, marked=True, onward=False, past=True) for match in long_ago]
    return found


def _number(text: str) -> float:
    return _NUMBERS[text] if text in _NUMBERS else float(text)


def _days(unit: str) -> float:
    return next(days for name, days in _DAYS.items() if unit.startswith(name))


def english_durations() -> tuple[tuple[str, float, str], ...]:
    """(finding, days, what it is when it lasts so long), from `durations_en.tsv`."""
    text = (resources.files("akazuba.language") / "durations_en.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return tuple((finding, float(days), lasting) for finding, days, lasting in rows)
