"""An attribution as lines for a terminal, as JSON, and as one page of HTML without a script or a link.

As PDF it comes from `incident_pdf`; a browser prints the page too (it has rules for paper). Whatever comes
from the records is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

import msgspec

from akazuba.governance.incident_findings import Cause, Evidence
from akazuba.governance.incidents import Attribution

SHOWN = {
    True: "its effect is shown (by replay, a signed statement or the records)",
    False: "its effect is not shown",
}
PARTIES: Mapping[str, str] = {
    "developer": "model developer",
    "deployer": "deploying organisation",
    "clinician": "clinician, or who entered the case",
}

CAUSES = "Contributing causes, the first divergence first"
NOTED, UNCHECKED = "Divergences without a contribution", "What could not be checked"

_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body{font:16px/1.5 sans-serif;max-width:46em;margin:2em auto;padding:0 1em;color:#111;background:#fff}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:1.6em}dt{font-weight:bold}dd{margin:0 0 .4em 1em}
section{border-left:4px solid #555;padding-left:1em;margin:1em 0}code{word-break:break-all;font-size:.9em}
.disclaimer{border:2px solid #111;padding:.6em}
@media print{body{margin:0;max-width:none;font-size:11pt}section{break-inside:avoid}@page{size:A4;margin:2cm}}
"""


def as_json(attribution: Attribution) -> bytes:
    """One line."""
    return msgspec.json.encode(attribution)


def as_text(attribution: Attribution) -> str:
    """Lines that are not wrapped; whoever prints them sees to control characters."""
    said = attribution
    lines = [
        f"Assessment {said.assessment}, case {said.case_id or 'unknown'}, patient {said.patient or 'none'}",
        f"Reported: {said.what or 'nothing'}",
        said.conclusion,
    ]
    for number, cause in enumerate(said.causes, 1):
        lines += [
            f"{number}. {cause.kind}: {PARTIES[cause.level]}",
            f"   {cause.says}",
            f"   {SHOWN[cause.shown]}",
            *(f"   evidence: {evidence_line(it)}" for it in cause.evidence),
            f"   would rebut it: {cause.rebuttal}",
        ]
    lines += [f"no contribution: {it}" for it in said.noted]
    lines += [f"not checked: {it}" for it in said.unchecked]
    return "\n".join([*lines, "", f"log: {said.log}", f"replay: {said.replay}", said.disclaimer])


def facts_of(said: Attribution) -> dict[str, str]:
    """What stands at the head of a report, by its title."""
    return {
        "Assessment": f"entry {said.assessment} of the log",
        "Incident": "not reported" if said.incident is None else f"entry {said.incident}",
        "Case": said.case_id or "unknown",
        "Patient": said.patient or "none",
        "Reported": said.what or "nothing",
        "Log": said.log,
        "Replay": said.replay,
    }


def facts_of_cause(cause: Cause) -> dict[str, str]:
    return {
        "Party": PARTIES[cause.level],
        "What": cause.says,
        "Effect": SHOWN[cause.shown],
        "Would rebut it": cause.rebuttal,
    }


def evidence_line(evidence: Evidence) -> str:
    entries = f"entries {', '.join(map(str, evidence.entries))}" if evidence.entries else ""
    digests = "; ".join(f"{name} {digest}" for name, digest in evidence.digests.items())
    return " | ".join(part for part in (evidence.says, entries, evidence.clause, digests) if part)


def as_html(said: Attribution) -> str:
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>Incident: assessment {said.assessment}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Who contributed: assessment {said.assessment}</h1>",
        f'<p class="disclaimer">{_safe(said.disclaimer)}</p>',
        f"<p><strong>{_safe(said.conclusion)}</strong></p>",
        _facts(facts_of(said)),
        f"<h2>{CAUSES}</h2>" if said.causes else "",
        *(_cause(number, cause) for number, cause in enumerate(said.causes, 1)),
        _listed(NOTED, said.noted),
        _listed(UNCHECKED, said.unchecked),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _cause(number: int, cause: Cause) -> str:
    evidence = "".join(f"<li>{_code(it)}</li>" for it in cause.evidence)
    head = f"<h2>{number}. {_safe(cause.kind)}</h2>{_facts(facts_of_cause(cause))}"
    return f"<section>{head}<p>Evidence</p><ul>{evidence}</ul></section>"


def _code(evidence: Evidence) -> str:
    entries = f" (entries {', '.join(map(str, evidence.entries))})" if evidence.entries else ""
    clause = f"; clause {_safe(evidence.clause)}" if evidence.clause else ""
    digests = "".join(
        f"<br>{_safe(name)} <code>{_safe(digest)}</code>" for name, digest in evidence.digests.items()
    )
    return f"{_safe(evidence.says)}{entries}{clause}{digests}"


def _facts(facts: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{_safe(n)}</dt><dd>{_safe(v)}</dd>" for n, v in facts.items()) + "</dl>"


def _listed(title: str, items: Iterable[str]) -> str:
    listed = "".join(f"<li>{_safe(item)}</li>" for item in items)
    return f"<h2>{title}</h2><ul>{listed}</ul>" if listed else ""


def _safe(text: str) -> str:
    """Escaped, apart from the direction of the text around it, and without control characters."""
    return f"<bdi>{escape(_CONTROL.sub(_UNKNOWN, text))}</bdi>"
