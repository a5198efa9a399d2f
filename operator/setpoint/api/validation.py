"""Validation rules of the API in two languages: CEL for the API server, Python for files and the command line (pure).

A `Rule` stands beside a field (`Annotated[str, RELATIVE]`) or in `Spec.invariants` of a model. It adds an entry to
`x-kubernetes-validations` of the generated schema and a check to the model, so that both refuse the same values
with the same words. Messages never quote the value: it may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

KEY = "x-kubernetes-validations"


@dataclass(frozen=True)
class Rule:
    """`cel`: an expression over `self`; `message`: what must be so; `holds`: the same test in Python.

    `field`: for a rule of a model, the field that is wrong (its name in JSON).
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]
    field: str = ""

    def check(self, value: Any) -> Any:
        """Return the value back, or raise what pydantic turns into a ValidationError."""
        if not self.holds(value):
            raise PydanticCustomError("rule", "{message}", {"message": self.message})
        return value

    def entry(self) -> JsonSchemaValue:
        """Return the entry of `x-kubernetes-validations`."""
        entry = {"rule": self.cel, "message": self.message}
        return {**entry, "fieldPath": f".{self.field}"} if self.field else entry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return with_rules(handler(schema), (self,))


def with_rules(schema: JsonSchemaValue, rules: tuple[Rule, ...]) -> JsonSchemaValue:
    """Return the schema with these rules added to those that it has."""
    return {**schema, KEY: [*schema.get(KEY, []), *(rule.entry() for rule in rules)]} if rules else schema


@dataclass(frozen=True)
class Form:
    """The form of a text, as a `pattern` of the schema: CEL over every element of two nested lists costs too much.

    `example` is shown by the model; the API server quotes the pattern.
    """

    pattern: str
    example: str

    def check(self, value: str) -> str:
        """Return the value back, or raise what pydantic turns into a ValidationError."""
        if re.search(rf"^({self.pattern})\Z", value) is None:
            raise PydanticCustomError("form", "{message}", {"message": f"must be {self.example}: {value!r}"})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^({self.pattern})$"}


def _matches(pattern: str) -> Callable[[str], bool]:
    """Return a test for a pattern that means the same in RE2 and in Python."""
    return lambda text: re.search(pattern, text) is not None


POSITIVE = Rule("self.matches('[1-9]')", "must be longer than zero", _matches("[1-9]"))


def at_most(longest: str) -> Rule:
    """Return the rule that a duration is not longer than another.

    The API server alone refuses a longer one. The model takes it: it may have been stored before there was this
    rule, and who reads it shortens it and says so.
    """
    return Rule(
        f"duration(self) <= duration('{longest}')", f"must be {longest} or less", lambda _stored: True
    )


RELATIVE = Rule(
    "!self.startsWith('/')",
    "must be relative, inside the repository: leave out the leading slash",
    lambda path: not path.startswith("/"),
)

# No white space and no control characters; \Z and $ differ between Python and RE2, hence the explicit class.
_C = r"[^\x00-\x20\x7f]"
_URL = (
    rf"^((https?|ssh)://[^\x00-\x20\x7f/]+(/{_C}*)?"
    rf"|file:///{_C}+"
    rf"|[A-Za-z0-9_.-]+@(\[[0-9A-Fa-f:.]+\]|[^\x00-\x20\x7f/:\[\]]+):{_C}+)"
)
# The API server quotes the value that breaks a rule of a string, but not one of an object: hence rules of the
# object that holds the URL.
SCHEME = Rule(
    f"self.url.matches(r'{_URL}$')",
    "url must be https://host/path, http://host/path, ssh://user@host/path or user@host:path",
    lambda spec: _matches(_URL + r"\Z")(spec.url),
    field="url",
)

_CREDENTIALS = r"^(https?://[^/?#]*@|ssh://[^/@]*:[^/]*@)"
NO_CREDENTIALS = Rule(
    f"!self.url.matches(r'{_CREDENTIALS}')",
    "url must not hold a user or a password: put them into a Secret and name it in secretRef",
    lambda spec: not _matches(_CREDENTIALS)(spec.url),
    field="url",
)

# A segment that a server may take for . or .., in the text itself or percent-encoded any number of times. After a
# semicolon come parameters, which some servers cut off; before the first colon comes the host of user@host:path.
_SLASH = r"([/\\]|%(25)*(2[fF]|5[cC]))"
_HOST = r"^[^/:\[]*(\[[^\]/]*\])?:"
_DOTS = rf"({_HOST}|{_SLASH})(\.|%(25)*2[eE]){{1,2}}({_SLASH}|[;?#]|%(25)*(23|3[bBfF])|$)"
NO_DOTS = Rule(
    f"!self.url.matches(r'{_DOTS}')",
    "url must not hold the segment . or .. in its path, percent-encoded or not: write the path that it leads to",
    lambda spec: not _matches(_DOTS)(spec.url),
    field="url",
)

# Tokens of RFC 6901, of which one that begins with a bracket names elements of a list: [name=app,kind="a]b"].
_ESCAPED = "~[01]"
_PLAIN = rf"(([^~/\[]|{_ESCAPED})([^~/]|{_ESCAPED})*)?"
_VALUE = rf'("([^~/"\\]|{_ESCAPED}|\\["\\])*"|([^~/,"\[\]]|{_ESCAPED})+)'
_NAMED = rf'([^~/=,"\[\]]|{_ESCAPED})+={_VALUE}'
FIELD_PATH = Form(
    rf"(/({_PLAIN}|\[{_NAMED}(,{_NAMED})*\]))+",
    "a path such as /spec/replicas or /spec/template/spec/containers/[name=app]/image, with ~1 for / and values "
    "in quotes that have brackets, commas or quotes",
)

PATTERNS_SIZE = 16_384
PATTERNS = Rule(
    f"self.map(pattern, size(pattern)).sum() <= {PATTERNS_SIZE}",
    f"must have at most {PATTERNS_SIZE:,} characters in all: leave out whole folders instead of files",
    lambda patterns: sum(map(len, patterns)) <= PATTERNS_SIZE,
)

_SHARE = r"^(100|[0-9]{1,2})%"
LIMIT = Rule(
    f"type(self) == int ? self >= 0 : self.matches('{_SHARE}$')",
    "must be a number of objects, or a share such as 25%",
    lambda limit: limit >= 0 if isinstance(limit, int) else _matches(_SHARE + r"\Z")(limit),
)
