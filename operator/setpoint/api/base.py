"""The base of all API models: strict specs, lenient statuses, names, times and conditions.

Specs are strict (`extra="forbid"`: files and the command line meet unknown fields with an error; the API
server prunes them before we see them). Statuses are lenient on read, so that an older operator survives a
newer status. JSON names are camelCase, as the Kubernetes API conventions ask.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from setpoint.api import validation
from setpoint.api.validation import Rule

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
NAMESPACE_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=32), validation.POSITIVE]
Name = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=253)]
Namespace = Annotated[str, Field(pattern=NAMESPACE_PATTERN, min_length=1, max_length=63)]
Path = Annotated[str, Field(max_length=1024), validation.RELATIVE]
FreeForm = dict[str, Any]


class Spec(BaseModel):
    """What a user writes: unknown fields are an error, and errors never quote the input."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )
    invariants: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _obeys_its_rules(self) -> Self:
        for rule in self.invariants:
            rule.check(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return validation.with_rules(handler.resolve_ref_schema(handler(schema)), cls.invariants)


class Reported(BaseModel):
    """What the operator writes: unknown fields are dropped on read."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class ConditionStatus(StrEnum):
    """The three states of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Reported):
    """A condition as the Kubernetes API conventions define it (metav1.Condition)."""

    type: str = Field(description="Ready, Synced, Healthy, Reconciling or Stalled.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: int | None = Field(
        None, description="The generation of the spec that this condition is about."
    )
    last_transition_time: str = Field(
        description="When `status` last changed.", json_schema_extra={"format": "date-time"}
    )
    reason: str = Field(description="A machine-readable reason; `docs/operations.md` explains each.")
    message: str = Field(description="A message for people.")


CONDITIONS_LIST: JsonDict = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
TIME: JsonDict = {"format": "date-time"}
