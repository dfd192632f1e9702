"""An interview that a language model leads, by calling the box's own tools in a bounded loop.

Every fact comes from a tool and every step is logged. The model chooses what is looked up and what is asked
next; it decides nothing: urgency, ranking and plan are worked out afterwards by the box from the answers,
as always.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from akazuba.errors import AkazubaError, ModelError
from akazuba.llm.answers import object_schema, read
from akazuba.llm.model import Model
from akazuba.llm.prompts import prompt
from akazuba.records import ToolStep

MOST_STEPS = 12
LONGEST_RESULT = 1_500
"""Characters of a tool's answer that go back to the model; the log keeps them all."""

FINISH = "finish"
MOST_FAULTS = 3
"""Calls in a row that a tool refuses, before the interview ends."""


@dataclass(frozen=True)
class Tool:
    """schema: JSON Schema of the arguments (an object). call: takes them, gives plain data."""

    name: str
    about: str
    schema: Mapping[str, Any]
    call: Callable[[Mapping[str, Any]], object]


@dataclass(frozen=True)
class Led:
    """ended: why the interview ended, in a few words."""

    steps: tuple[ToolStep, ...]
    ended: str


def lead(
    situation: str, tools: Sequence[Tool], model: Model, over: Callable[[], bool] = lambda: False
) -> Led:
    """Lets a model call tools until it finishes, `MOST_STEPS` are done or it calls amiss too often.

    situation: what is known at the start, in words. over: whether there is nothing left to ask. Raises
    nothing: a model that fails ends the interview.
    """
    by_name = {tool.name: tool for tool in tools}
    asked = prompt("lead")
    talk: list[Mapping[str, Any]] = list(asked.messages(situation=situation, tools=_listed(tools)))
    steps: list[ToolStep] = []
    faults = 0
    for _ in range(MOST_STEPS):
        try:
            name, arguments = _called(model, talk, tools)
        except ModelError as error:
            return Led(tuple(steps), str(error))
        if name == FINISH:
            return Led(tuple(steps), "the model finished")
        step = _done(by_name, name, arguments)
        steps.append(step)
        if over():
            return Led(tuple(steps), "nothing is left to ask")
        faults = faults + 1 if step.error else 0
        if faults == MOST_FAULTS:
            return Led(tuple(steps), f"{MOST_FAULTS} calls in a row were refused")
        said = (step.error or step.result)[:LONGEST_RESULT]
        talk = [
            *talk,
            {"role": "assistant", "content": json.dumps({"tool": name, "arguments": arguments})},
            {"role": "user", "content": f"{name} answers: {said}"},
        ]
    return Led(tuple(steps), f"{MOST_STEPS} steps were done")


def _called(
    model: Model, talk: Sequence[Mapping[str, Any]], tools: Sequence[Tool]
) -> tuple[str, dict[str, Any]]:
    done = model.complete(talk, schema=schema(tools), max_tokens=160)
    name, arguments = read(model.name, done, lambda call: (call["tool"], call["arguments"]), "JSON of a call")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ModelError(model.name, "the name and the arguments of a tool", done.text[:200])
    return name, arguments


def _done(tools: Mapping[str, Tool], name: str, arguments: Mapping[str, Any]) -> ToolStep:
    tool = tools.get(name)
    written = json.dumps(arguments, ensure_ascii=False)
    if tool is None:
        return ToolStep(name, written, "", f"tool: expected one of {', '.join(tools)}, found {name}")
    try:
        return ToolStep(name, written, json.dumps(tool.call(arguments), ensure_ascii=False))
    except AkazubaError as error:
        return ToolStep(name, written, "", str(error))
    except (LookupError, TypeError, ValueError, OverflowError) as fault:
        return ToolStep(name, written, "", f"{name}: expected arguments of its schema, found {fault!r}")


def schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """A call: the name of a tool with the arguments of that tool, or `finish`."""
    calls = [(tool.name, tool.schema) for tool in tools]
    return {
        "anyOf": [
            object_schema(tool={"const": name}, arguments=arguments)
            for name, arguments in (*calls, (FINISH, object_schema()))
        ]
    }


def _listed(tools: Sequence[Tool]) -> str:
    return "\n".join(f"{tool.name}: {tool.about}" for tool in tools)
