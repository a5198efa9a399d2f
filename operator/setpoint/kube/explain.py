"""Explains in one sentence why a request failed (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Protocol

from setpoint.api.reasons import Problem, Reason
from setpoint.kube.errors import (
    ASKED,
    CONVERSION,
    DENIED,
    ESCALATION,
    NO_NAMESPACE,
    PERMISSION,
    SHRINK,
    UNCALLED,
    ApiError,
    Cause,
    all_words,
    classify,
)


class Named(Protocol):
    """An object's identity, as `objects.identity.ObjectId` is."""

    @property
    def kind(self) -> str:
        """Its kind."""

    @property
    def namespace(self) -> str:
        """Its namespace, "" if it has none."""

    @property
    def name(self) -> str:
        """Its name."""

    def label(self, home: str = "") -> str:
        """`Kind/name` for a person."""


_TERMINATING = re.compile(r"namespace (?P<namespace>\S+) .*?(?:is being|being) terminated")


def problem_of(
    error: ApiError, what: Named, verb: str, user: str | None = None, *, home: str = ""
) -> Problem:
    """Return in one sentence why `verb` (apply, patch, delete, ...) failed on `what`.

    `user` is who was impersonated, `home` the namespace that need not be named. What the API server suffers
    from itself names no object: it is the same for all.
    """
    reason = classify(error)
    if reason is Reason.ApiUnavailable:
        return Problem(reason, _unavailable(error))
    if reason is Reason.Forbidden:
        sentence = _forbidden(error, verb, user)
    elif reason is Reason.ApplyFailed:
        sentence = f"{_conflict(error, what, verb)}; it is tried again"
    else:
        sentence = _SENTENCES.get(reason, _invalid)(error, what)
    return Problem(reason, f"{what.label(home)}: {sentence}")


_MODIFIED = re.compile(
    r'(?:cannot be fulfilled on (?P<resource>\S+) "(?P<name>[^"]+)": )?the object has been modified'
)

# The answer to an apply with a uid (`apply.writer.existing`).
_GONE = "no existing object was found"


def _conflict(error: ApiError, what: Named, verb: str) -> str:
    """Return what a conflict came from: somebody else only if somebody else wrote this very object."""
    if error.reason == "AlreadyExists":
        return f"somebody else made it during {verb}"
    found = _MODIFIED.search(error.message)
    # A `test` of a JSON Patch that failed is 422; the conflict may also be about e.g. the quota of the namespace.
    if error.status != 409 or (found and found["name"] in (None, what.name)):
        return f"somebody else changed it during {verb}"
    if _GONE in error.message:
        return f"somebody else deleted it during {verb}"
    if found:
        return f'{found["resource"]} "{found["name"]}" changed meanwhile during {verb}'
    return (
        f"the API server reports a conflict during {verb}: {_short(error.message) or 'it does not say which'}"
    )


def person(user: str) -> str:
    """Name a user as people know it: a ServiceAccount by namespace and name."""
    account = re.fullmatch(r"system:serviceaccount:([^:]+):([^:]+)", user)
    return f"ServiceAccount {account[1]}/{account[2]}" if account else f"user {user}"


def _forbidden(error: ApiError, verb: str, user: str | None) -> str:
    if found := ESCALATION.search(error.message):
        rights = re.sub(r"\s+", " ", found["rights"]).strip()
        return f"{person(found['user'])} may not grant rights that it does not hold itself: {_short(rights)}"
    found = PERMISSION.search(error.message)
    if found is None:
        return f"{person(user) if user else 'the operator'} may not {verb} it"
    resource = f"{found['resource']}.{found['group']}" if found["group"] else found["resource"]
    if found["verb"] == "impersonate":
        return f"{person(found['user'])} may not impersonate {resource}"
    inside = found["namespace"] and found["resource"] != "namespaces"
    where = f" in namespace {found['namespace']}" if inside else ""
    return f"{person(found['user'])} may not {found['verb']} {resource}{where}"


def _invalid(error: ApiError, what: Named) -> str:
    if error.causes:
        parts = list(dict.fromkeys(_cause(c) for c in error.causes))
        more = len(parts) - 3
        return "; ".join(parts[:3]) + (f"; and {more} more" if more > 0 else "")
    text = _PREFIXES.sub("", error.message)
    text = _GO_VALUE.sub(_plain_value, text)
    text = _GO_TYPE.sub(
        lambda m: f"{m[2] or 'the value'}: expected {m[3].rpartition('.')[2]}, got {m[1]}", text
    )
    text = _BASE64.sub(
        r"a value under `data` is not base64 (at its byte \1); plain text goes under `stringData`", text
    )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if all(line.startswith(".") for line in lines):
        lines.sort()  # the server names fields in any order
    lines = [line.removeprefix(".") for line in lines]
    return _short("; ".join(lines)) or f"the server rejects this {what.kind} and does not say why"


_PREFIXES = re.compile(
    r"^(?:failed to create typed (?:patch|live) object(?: \([^)]*\))?: ?"
    r'|\S+ in version "[^"]*" cannot be handled as an? \S+: |strict decoding error: |errors:\s*)+'
)
_GO_VALUE = re.compile(r"&value\.valueUnstructured\{Value:(.*)\}$", re.MULTILINE)
_GO_TYPE = re.compile(r"json: cannot unmarshal (\w+) into Go (?:struct field \w+\.(\S+)|value) of type (\S+)")
_BASE64 = re.compile(r"^.*illegal base64 data at input byte (\d+)$")


def _plain_value(found: re.Match[str]) -> str:
    """Return a Go value as a person would write it; lists and maps by name alone."""
    names_of_types = (("[]", "a list"), ("map[", "a map"), ("interface {}(nil)", "null"))
    return next((name for start, name in names_of_types if found[1].startswith(start)), found[1])


def _cause(cause: Cause) -> str:
    field = cause.field if cause.field not in ("", "<nil>") else ""
    message = cause.message.partition("\n")[0]  # what follows is a diff of Go structs
    # `Invalid value: <perhaps the whole object>: <what is wrong>`
    *value, wrong = re.split(r'(?<=[}\]"]): ', message)
    if message.startswith("Invalid value: ") and sum(map(len, value)) > 80:
        message = wrong
    return _short(f"{field}: {message}" if field else message)


def _denied(error: ApiError, _what: Named) -> str:
    found = DENIED.search(error.message)
    if found is None:
        # In-tree admission (quota, LimitRange, PodSecurity) says `<resource> "<name>" is forbidden: <why>`.
        why = re.sub(r'^\S+ "[^"]*" is forbidden: ', "", error.message)
        return f"denied by admission: {_short(why)}"
    who = f"webhook {found['webhook']}" if found["webhook"] else f"policy {found['policy']}"
    text = (found["text"] or found["why"] or "").strip()
    return f"denied by {who}" + (f": {_short(text)}" if text else ", without explanation")


def _uncalled(error: ApiError, what: Named) -> str:
    if found := UNCALLED.search(error.message):
        where = _called(found["chain"] or "")
        return f"admission webhook {found['webhook']} could not be called{where}"
    if found := CONVERSION.search(error.message):
        return _unconverted(found, error.resource or found["kind"])
    found = ASKED.search(error.message)
    return (
        f"a webhook that the API server asks about requests (authentication, authorization) could not be called{_called(found[0])}"
        if found
        else f"a webhook of {what.kind} could not be called"
    )


def _unconverted(found: re.Match[str], resource: str) -> str:
    """Return what is wrong with a conversion webhook: it could not be called, or its answer is of no use."""
    chain = found["chain"].lstrip(": ").strip()
    if found["how"] == "failed" and ASKED.search(chain):
        return f"conversion webhook of {resource} could not be called{_called(chain)}"
    return f"conversion webhook of {resource} {found['how']}{': ' if found['how'] == 'failed' else ' '}{_short(chain)}"


def _called(chain: str) -> str:
    """Return ` (host, why)` of Go's words for a call that failed, or nothing."""
    host = re.search(r'"https?://([^/"?]+)', chain)
    last = re.split(r": (?![^\"]*\"(?:[^\"]*\"[^\"]*\")*[^\"]*$)", chain)[-1].strip()
    where = ", ".join(
        part for part in (host[1] if host else "", last if last != chain or not host else "") if part
    )
    return f" ({_short(where)})" if where else ""


def _no_namespace(error: ApiError, what: Named) -> str:
    found = NO_NAMESPACE.search(error.message)
    return f"namespace {found['namespace'] if found else what.namespace} does not exist"


def _terminating(error: ApiError, what: Named) -> str:
    found = _TERMINATING.search(error.message)
    return f"namespace {found['namespace'] if found else what.namespace} is being deleted"


def _kind_unknown(_error: ApiError, what: Named) -> str:
    return f"the cluster does not serve kind {what.kind} (any more)"


def _too_large_text(error: ApiError, _what: Named) -> str:
    limit = re.search(r"(?:more than|at most|limit is|vs\.) (\d+)", all_words(error))
    return "the object is too large" + (f" (limit {int(limit[1]):,} bytes)" if limit else "") + "; split it"


def _unavailable(error: ApiError) -> str:
    if error.status == 0:
        return error.message
    if error.status == 401:
        return "the API server does not accept the operator's own credentials, or cannot check them (its authentication webhook)"
    if error.status == 429:
        return "the API server has too many requests at the moment"
    return f"the API server failed (HTTP {error.status}): {_short(error.message)}"


_STATEFULSET = re.compile(
    r"updates to statefulset spec for fields other than (?P<fields>.{1,400}?) are forbidden"
)


# Followed by a diff of Go structs, which names the size in no words of a manifest.
_PENDING_CLAIM = "spec is immutable after creation except resources.requests"


def _immutable(error: ApiError, what: Named) -> str:
    """Return which field may not change; of what is about sizes also that no volume becomes smaller."""
    if SHRINK.search(all_words(error)):
        field = next(
            (c.field for c in error.causes if SHRINK.search(c.message)), "spec.resources.requests.storage"
        )
        return f"{field}: a claim cannot shrink; set it back to the size that it has, or make a new claim"
    if _PENDING_CLAIM in all_words(error):
        return (
            "spec: only the size and volumeAttributesClassName of a claim may change, once it has its volume, and it "
            "cannot shrink; set it back, or make a new claim"
        )
    if found := _STATEFULSET.search(all_words(error)):
        # The server lists what may change, and not what was changed.
        fields = found["fields"].replace("'", "")
        return (
            f"spec: only {fields} of a StatefulSet may change, its volumeClaimTemplates may not: "
            "a volume grows at its own claim, and none can shrink"
        )
    return _invalid(error, what)


_SENTENCES: Mapping[Reason, Callable[[ApiError, Named], str]] = {
    Reason.AdmissionDenied: _denied,
    Reason.WebhookFailed: _uncalled,
    Reason.NamespaceMissing: _no_namespace,
    Reason.NamespaceTerminating: _terminating,
    Reason.KindUnknown: _kind_unknown,
    Reason.TooLarge: _too_large_text,
    Reason.Immutable: _immutable,
    Reason.Missing: lambda _error, _what: "it does not exist",
}


def _short(text: str, limit: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "\u2026"
