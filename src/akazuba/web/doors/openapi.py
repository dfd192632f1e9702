"""The REST door's description (OpenAPI 3.1), made from the table of its operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request

JSON = "application/json"
REFUSALS: Mapping[int, str] = {
    400: "the body is no JSON",
    401: "no token that stands",
    403: "a token without the right",
    404: "there is nothing of that name",
    413: "a body that is too large",
    415: "a body that is no JSON by its Content-Type",
    422: "a value that cannot be used; the words name the field",
    429: "too many requests at once",
    503: "the records are locked: tokens cannot be looked up",
}


class Refusal(msgspec.Struct, frozen=True):
    """error: `ITEM: expected …, found …`."""

    error: str


@dataclass(frozen=True)
class Parameter:
    """place: path or query. schema: JSON Schema."""

    name: str
    place: str
    schema: Mapping[str, Any]
    says: str


@dataclass(frozen=True)
class Operation:
    """One way to ask. answered: makes the answer of a request and its body. scopes: any one lets in.

    body, gives: types that msgspec knows. fails: statuses besides those that every operation has.
    """

    id: str
    method: str
    path: str
    says: str
    scopes: tuple[str, ...]
    answered: Callable[[Request, bytes], Awaitable[object]]
    gives: Any
    body: Any = None
    parameters: tuple[Parameter, ...] = ()
    fails: tuple[int, ...] = ()

    @property
    def refusals(self) -> tuple[int, ...]:
        with_body = (400, 413, 415, 422) if self.body is not None else ()
        return tuple(sorted({401, 403, 429, 503, *with_body, *self.fails}))


def document(operations: Sequence[Operation], version: str, token_url: str) -> dict[str, Any]:
    types = [it for operation in operations for it in (operation.body, operation.gives) if it is not None]
    schemas, components = msgspec.json.schema_components(
        [*types, Refusal], ref_template="#/components/schemas/{name}"
    )
    refusal = schemas[-1]
    by_type = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described: dict[str, Any] = {
            "operationId": operation.id,
            "summary": operation.says,
            "security": [{"token": [scope]} for scope in operation.scopes],
            "parameters": [
                {
                    "name": it.name,
                    "in": it.place,
                    "required": it.place == "path",
                    "schema": it.schema,
                    "description": it.says,
                }
                for it in operation.parameters
            ],
        }
        if operation.body is not None:
            described["requestBody"] = {"required": True, "content": {JSON: {"schema": next(by_type)}}}
        answer = {"description": "the answer", "content": {JSON: {"schema": next(by_type)}}}
        refused = {
            str(status): {"description": REFUSALS[status], "content": {JSON: {"schema": refusal}}}
            for status in operation.refusals
        }
        described["responses"] = {"200": answer, **refused}
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Akazuba",
            "version": version,
            "description": "Decision support of one box, no diagnosis; not reviewed by a clinician. "
            f"A program gets its token at {token_url} (SMART Backend Services).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }
