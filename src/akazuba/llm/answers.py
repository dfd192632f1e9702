"""The shape that a model's answer is asked in, and how the answer is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from akazuba.errors import ModelError

if TYPE_CHECKING:
    from akazuba.llm.model import Completion

Taken = TypeVar("Taken")


def object_schema(**properties: Any) -> dict[str, Any]:
    """JSON Schema of an object that has these properties and no other.

    All are required: a grammar puts optional ones behind the required ones.

    >>> object_schema(first={"enum": ["A"]})["required"]
    ['first']
    """
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read(
    model: str, done: Completion, take: Callable[[Any], Taken], expected: str = "JSON of the schema"
) -> Taken:
    """What `take` finds in the JSON that a model wrote. Raises ModelError for anything of another shape.

    A grammar keeps our own process to the schema; a server of the local network need not keep to it.
    """
    try:
        return take(json.loads(done.text))
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        raise ModelError(model, expected, done.text[:200]) from problem
