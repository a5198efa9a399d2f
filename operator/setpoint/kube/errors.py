"""Errors of the API server, and their meaning (pure).

In: a `Status` object (Kubernetes API conventions, "Response Status Kind") with its HTTP code. Out: an
`ApiError`, and of that a `Problem`. The server quotes values in its messages, so an answer about a Secret
is rebuilt from the few phrases that hold none, before anything can log it. It also answers 500 for
manifests that are simply wrong; those are told from its own failures by their words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from setpoint.api.reasons import Reason

WITHHELD = "the server's words are withheld, for they may quote the Secret"


class Fenced(Exception):
    """This process is no longer the leader; the request was not sent."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One detail of a refusal: the field's path, what is wrong with it, and the machine-readable type."""

    field: str
    message: str
    type: str


class ApiError(Exception):
    """The API server refused (its HTTP status), or gave no answer (status 0).

    `reason` is `Status.reason`; without an answer it is NotSent, Dropped, Timeout or Untrusted. `resource` is what
    was asked for, as a CRD is named (`gadgets.example.org`).
    """

    def __init__(
        self,
        status: int,
        reason: str = "",
        message: str = "",
        causes: tuple[Cause, ...] = (),
        retry_after: float | None = None,
        resource: str = "",
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message
        self.causes, self.retry_after = causes, retry_after
        self.resource = resource

    def __str__(self) -> str:
        """Status, reason and the server's message (never of a Secret)."""
        return f"{self.status} {self.reason}: {self.message}"

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later, though nobody changes anything."""
        if self.status in (0, 401, 408, 410, 429) or (self.status == 409 and self.reason == "Conflict"):
            return True
        return self.status >= 500 and classify(self) in (Reason.ApiUnavailable, Reason.WebhookFailed)


def error_of(
    status: int, body: bytes, *, retry_after: float | None = None, secret: bool = False, resource: str = ""
) -> ApiError:
    """Read the body of a refusal; one that is no Status (a proxy's page) counts with its first line."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("kind") != "Status":
        text = body.decode(errors="replace").strip().partition("\n")[0][:500]
        return ApiError(status, "", _rebuilt(text) if secret else text, (), retry_after, resource)
    return error_of_status(document, status, retry_after=retry_after, secret=secret, resource=resource)


def error_of_status(
    document: Mapping[str, Any],
    status: int = 0,
    *,
    retry_after: float | None = None,
    secret: bool = False,
    resource: str = "",
) -> ApiError:
    """Read a Status object, also one that came in the middle of a watch."""
    details = document.get("details") or {}
    causes = tuple(
        Cause(c.get("field") or "", c.get("message") or "", c.get("reason") or "")
        for c in details.get("causes") or ()
    )
    message = document.get("message") or ""
    if secret or details.get("kind") in ("Secret", "secrets") or "Kind=Secret)" in message:
        message = _rebuilt(message)
        causes = tuple(Cause(c.field, _rebuilt(c.message), c.type) for c in causes)
    after = details.get("retryAfterSeconds")
    return ApiError(
        status or int(document.get("code") or 500),
        document.get("reason") or "",
        message,
        causes,
        retry_after if retry_after is not None else (float(after) if after else None),
        resource,
    )


# --- Secrets: the phrases that hold no value, each with what of it is kept

_NAME = r"[\w.:-]+"
_SAFE = tuple(
    re.compile(pattern)
    for pattern in (
        rf'{_NAME} "{_NAME}" not found',
        rf'{_NAME} "{_NAME}" already exists',
        r"the server could not find the requested resource",
        rf'User "[^"]+" cannot {_NAME} resource "[^"]+" in API group "[^"]*"(?: in the namespace "{_NAME}")?',
        rf"unable to create new content in namespace {_NAME} because it is being terminated",
        rf"namespace {_NAME} is being terminated",
        r"exceeded quota: [\w.:=, /-]+",
        rf'admission webhook "{_NAME}" denied the request',
        rf'failed calling webhook "{_NAME}"',
        rf"ValidatingAdmissionPolicy '{_NAME}' with binding '{_NAME}' denied request",
        r"failed to create typed patch object",
        rf"(?<=[: ] )\.{_NAME}(?:\.{_NAME})*: (?:expected [\w ()]+?(?=, got\b)|field not declared in schema)",
        r'unknown field "[\w.\[\]-]+"',
        r'duplicate field "[\w.\[\]-]+"',
        r"field is immutable(?: when `immutable` is set)?",
        r"Too long: (?:must have at most|may not be more than) \d+ bytes",
        r"[Rr]equest (?:entity )?(?:is )?too large(?:: limit is \d+)?",
        r"trying to send message larger than max",
        r"Required value",
        r"the object has been modified",
        r"the UID in the precondition \([\w-]+\) does not match the UID in record",
        r"no existing object was found",
        r"illegal base64 data at input byte \d+",
        r"Timeout: request did not complete within requested timeout",
        r"Unauthorized",
        # An authorization webhook: the path and the host, and nothing of the body. Only as the server itself begins.
        r'^Internal Server Error: "/[\w./%-]*(?:\?[\w.=&;%-]*)?": Post "https?://[\w.:-]+',
    )
)


def _rebuilt(text: str) -> str:
    found = sorted((m.start(), m.group()) for p in _SAFE for m in p.finditer(text))
    return ": ".join(phrase for _, phrase in found) or WITHHELD


def warning_texts(headers: Sequence[str], *, secret: bool = False) -> tuple[str, ...]:
    """Read `Warning` headers (RFC 7234, 5.5); a Secret's are rebuilt like its errors."""
    texts = [
        re.sub(r"\\(.)", r"\1", quoted)
        for header in headers
        for quoted in re.findall(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"', header)
    ]
    return tuple(_rebuilt(text) if secret else text for text in texts)


# --- what it means

# Each is of the validation of a kind that Kubernetes serves, or was of an older release.
_IMMUTABLE = re.compile(
    r"\bimmutable\b|may not (?:be )?change|updates to \w+ spec for fields other than"
    # Words are counted: a message quotes what tenants wrote, and must not be gone through once for each of its words.
    r"|\bupdates to [\w.]+(?: [\w.]+){0,7} (?:are|is) forbidden|\bupdate (?:from [\w-]+ value )?to (?:nil|empty string) is forbidden"
    r"|can ?not be (?:changed|modified|updated|unset)|may not (?:be (?:modified|updated)|add or remove)"
    r"|only (?:additions|deletion)\b[\w. ]{0,80}\b(?:is|are) allowed|must be less than or equal to previous value|can only be modified in tandem"
    r"|must not be (?:changed|modified|updated)|cannot change \w+$|not allowed to be (?:changed|modified|updated)",
    re.MULTILINE,
)
SHRINK = re.compile(r"field can ?not be less than (?:previous value|status\.capacity)")
_TOO_LARGE = re.compile(
    r"request is too large|[Rr]equest entity too large|send message larger than max"
    r"|(?:^|: )(?:\[\]|data)?: ?Too long"
)
_TYPED = re.compile(
    r"failed to create typed (?:patch|live) object|field not declared in schema|duplicate entries for key"
    r"|cannot unmarshal|expected \w+, got|failed to convert|unable to convert"
    r"|illegal base64 data|strict decoding error"
)
PERMISSION = re.compile(
    r'User "(?P<user>[^"]+)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)
ESCALATION = re.compile(
    r'user "(?P<user>[^"]+)" .*?is attempting to grant RBAC permissions not currently held:\s*(?P<rights>.*)',
    re.DOTALL,
)
DENIED = re.compile(
    r'admission webhook "(?P<webhook>[^"]+)" denied the request(?: without explanation)?(?:: (?P<text>.*))?'
    r"|ValidatingAdmissionPolicy '(?P<policy>[^']+)' (?:with binding '[^']+' )?denied request(?:: (?P<why>.*))?",
    re.DOTALL,
)
UNCALLED = re.compile(r'failed calling webhook "(?P<webhook>[^"]+)"(?:: (?P<chain>.*))?', re.DOTALL)
CONVERSION = re.compile(
    r"conversion webhook for (?P<version>\S+), Kind=(?P<kind>\w+) (?P<how>failed|returned)(?P<chain>.*)",
    re.DOTALL,
)
# What else the API server itself asks by POST: authorization, authentication and image policies.
ASKED = re.compile(r'\bPost "https?://(?P<chain>.*)', re.DOTALL)
NO_NAMESPACE = re.compile(r'namespaces "(?P<namespace>[^"]+)" not found')


_TEST_FAILED = "the server rejected our request due to an error in our request"


def classify(error: ApiError) -> Reason:
    """Return the reason that an error stands for, whatever object it is about."""
    text, status = error.message, error.status
    if status == 0:
        return Reason.ApiUnavailable
    rules: tuple[tuple[bool, Reason], ...] = (
        (_is_terminating(error), Reason.NamespaceTerminating),
        (DENIED.search(text) is not None, Reason.AdmissionDenied),
        (UNCALLED.search(text) is not None, Reason.WebhookFailed),
        (CONVERSION.search(text) is not None, Reason.WebhookFailed),
        ((status in (401, 403) or status >= 500) and ASKED.search(text) is not None, Reason.WebhookFailed),
        (status == 413 or _too_large(error), Reason.TooLarge),
        (status == 404 and NO_NAMESPACE.search(text) is not None, Reason.NamespaceMissing),
        (status == 404 and not re.search(r'" not found$', text), Reason.KindUnknown),
        (status == 404, Reason.Missing),
        (status == 403 and _may_not(text), Reason.Forbidden),
        (status == 403, Reason.AdmissionDenied),
        (status == 422 and _may_not_change(all_words(error)), Reason.Immutable),
        # A `test` of a JSON Patch that failed: the server says no more than this.
        (is_failed_test(error), Reason.ApplyFailed),
        (status in (400, 422), Reason.Invalid),
        (status == 500 and _TYPED.search(text) is not None, Reason.Invalid),
        (status == 409, Reason.ApplyFailed),
        (status in (401, 408, 410, 429) or status >= 500, Reason.ApiUnavailable),
    )
    return next((reason for holds, reason in rules if holds), Reason.Invalid)


def is_failed_test(error: ApiError) -> bool:
    """Return whether a `test` of a JSON Patch failed, so that nothing was written."""
    return error.status == 422 and error.message == _TEST_FAILED and not error.causes


def is_absence(error: ApiError) -> bool:
    """Return whether an answer says that an object does not exist: "no such kind" may be the word of a server that is behind."""
    return error.status == 404 and classify(error) is not Reason.KindUnknown


def _is_terminating(error: ApiError) -> bool:
    return any(c.type == "NamespaceTerminating" for c in error.causes) or (
        error.status in (403, 409) and "being terminated" in error.message
    )


def _too_large(error: ApiError) -> bool:
    return _TOO_LARGE.search(error.message) is not None or any(
        c.type == "FieldValueTooLong" and c.field in ("", "[]", "data") for c in error.causes
    )


def _may_not_change(words: str) -> bool:
    return SHRINK.search(words) is not None or _IMMUTABLE.search(words) is not None


def _may_not(text: str) -> bool:
    return PERMISSION.search(text) is not None or ESCALATION.search(text) is not None or text == ""


def all_words(error: ApiError) -> str:
    """Return the message of an error with those of its causes."""
    return " ".join((error.message, *(c.message for c in error.causes)))
