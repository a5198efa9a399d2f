"""What refusals mean, from messages of a kube-apiserver 1.36 (tests/kube/test_errors.py provokes them for real)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api.reasons import Reason
from setpoint.kube.errors import WITHHELD, ApiError, Cause, classify, error_of, error_of_status, warning_texts
from setpoint.kube.explain import person, problem_of
from setpoint.kube.requests import resource_of
from setpoint.objects.identity import ObjectId

WEB = ObjectId("apps", "Deployment", "prod", "web")


def status(code: int, message: str, reason: str = "", **details: Any) -> bytes:
    return json.dumps(
        {"kind": "Status", "code": code, "message": message, "reason": reason, "details": details}
    ).encode()


TABLE: list[tuple[int, str, Reason, str]] = [
    (
        403,
        'admission webhook "v.example.org" denied the request: replicas must be odd',
        Reason.AdmissionDenied,
        "denied by webhook v.example.org: replicas must be odd",
    ),
    (
        400,
        'admission webhook "v.example.org" denied the request without explanation',
        Reason.AdmissionDenied,
        "denied by webhook v.example.org, without explanation",
    ),
    (
        403,
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
        Reason.AdmissionDenied,
        'denied by admission: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
    ),
    (
        500,
        (
            'Internal error occurred: failed calling webhook "v.example.org": failed to call webhook: Post '
            '"https://hook.sys.svc:443/v?timeout=10s": tls: failed to verify certificate: x509: certificate signed by unknown authority'
        ),
        Reason.WebhookFailed,
        "admission webhook v.example.org could not be called (hook.sys.svc:443, certificate signed by unknown authority)",
    ),
    (
        400,
        (
            'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct '
            "field DeploymentSpec.spec.replicas of type int32"
        ),
        Reason.Invalid,
        "spec.replicas: expected int32, got string",
    ),
    (
        400,
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.foo"',
        Reason.Invalid,
        'unknown field "spec.foo"',
    ),
    (
        422,
        "the server rejected our request due to an error in our request",
        Reason.ApplyFailed,
        "somebody else changed it during apply; it is tried again",
    ),
    (
        409,
        'Operation cannot be fulfilled on deployments.apps "web": the object has been modified; please apply your changes',
        Reason.ApplyFailed,
        "somebody else changed it during apply; it is tried again",
    ),
    (
        409,
        "the object has been modified",
        Reason.ApplyFailed,
        "somebody else changed it during apply; it is tried again",
    ),
    (
        409,
        'Operation cannot be fulfilled on resourcequotas "team": the object has been modified; please apply your changes',
        Reason.ApplyFailed,
        'resourcequotas "team" changed meanwhile during apply; it is tried again',
    ),
    (
        409,
        'Operation cannot be fulfilled on deployments.apps "web": uid mismatch: no existing object was found',
        Reason.ApplyFailed,
        "somebody else deleted it during apply; it is tried again",
    ),
    (
        409,
        "another object has this name now",
        Reason.ApplyFailed,
        "the API server reports a conflict during apply: another object has this name now; it is tried again",
    ),
    (
        409,
        "",
        Reason.ApplyFailed,
        "the API server reports a conflict during apply: it does not say which; it is tried again",
    ),
    (404, 'deployments.apps "web" not found', Reason.Missing, "it does not exist"),
    (
        404,
        "the server could not find the requested resource",
        Reason.KindUnknown,
        "the cluster does not serve kind Deployment (any more)",
    ),
    (500, "etcdserver: request is too large", Reason.TooLarge, "the object is too large; split it"),
    (
        500,
        (
            'conversion webhook for bugs.example.org/v1alpha1, Kind=Gadget failed: Post "https://nobody.default.svc:443/convert?timeout=30s": '
            'service "nobody" not found'
        ),
        Reason.WebhookFailed,
        'conversion webhook of deployments.apps could not be called (nobody.default.svc:443, service "nobody" not found)',
    ),
    (
        500,
        "conversion webhook for bugs.example.org/v1, Kind=Gadget returned 0 objects, expected 1",
        Reason.WebhookFailed,
        "conversion webhook of deployments.apps returned 0 objects, expected 1",
    ),
    (
        500,
        "conversion webhook for bugs.example.org/v1, Kind=Gadget failed: no field size",
        Reason.WebhookFailed,
        "conversion webhook of deployments.apps failed: no field size",
    ),
]

IMMUTABLE = [
    ("parameters", "updates to parameters are forbidden."),
    ("provisioner", "updates to provisioner are forbidden."),
    ("spec", "updates to poddisruptionbudget spec are forbidden."),
    ("spec", "pod updates may not add or remove containers"),
    ("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"),
    ("spec.clusterIPs[0]", "primary clusterIP can not be unset"),
    ("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden"),
    ("spec.selector", "must not be changed"),
    ("spec.selector", "cannot be modified"),
    ("roleRef", "cannot change roleRef"),
    ("spec.claimRef", "field is immutable"),
    ("spec.nodeSelector", "only additions to spec.nodeSelector are allowed (no mutations or deletions)"),
    ("spec.affinity", "only additions are allowed (no mutations or deletions)"),
    ("spec.schedulingGates[0].name", "only deletion is allowed, but found new scheduling gate 'hold'"),
    ("spec.activeDeadlineSeconds", "must be less than or equal to previous value"),
    ("spec.completions", "can only be modified in tandem with spec.parallelism"),
]


@pytest.mark.parametrize(("field", "words"), IMMUTABLE)
def test_what_may_not_change_in_the_words_of_many_releases(field: str, words: str) -> None:
    for kind in ("Forbidden: ", ""):
        error = ApiError(422, "Invalid", "x is invalid", (Cause(field, f"{kind}{words}", ""),))
        problem = problem_of(error, WEB, "apply", home="prod")
        assert (problem.reason, problem.message) == (
            Reason.Immutable,
            f"Deployment/web: {field}: {kind}{words}",
        )


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("spec.replicas", "Invalid value: -1: must be greater than or equal to 0"),
        (
            "status.storedVersions[0]",
            'Invalid value: "v1": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions',
        ),
        ("spec.ports", "Forbidden: may not be used when `type` is 'ExternalName'"),
    ],
)
def test_what_is_wrong_in_itself_is_invalid_in_the_servers_words(field: str, words: str) -> None:
    problem = problem_of(ApiError(422, "Invalid", "x", (Cause(field, words, ""),)), WEB, "apply", home="prod")
    assert (problem.reason, problem.message) == (Reason.Invalid, f"Deployment/web: {field}: {words}")


@pytest.mark.parametrize("words", ["previous value", "status.capacity"])
def test_a_claim_cannot_shrink(words: str) -> None:
    cause = Cause("spec.resources.requests.storage", f"Forbidden: field can not be less than {words}", "")
    claim = ObjectId("", "PersistentVolumeClaim", "prod", "data")
    problem = problem_of(ApiError(422, "Invalid", "x", (cause,)), claim, "apply", home="prod")
    assert problem.reason is Reason.Immutable
    assert problem.message == (
        "PersistentVolumeClaim/data: spec.resources.requests.storage: a claim cannot shrink; "
        "set it back to the size that it has, or make a new claim"
    )


def test_what_of_a_claim_may_change() -> None:
    words = "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
    claim = ObjectId("", "PersistentVolumeClaim", "prod", "data")
    error = ApiError(422, "Invalid", "x", (Cause("spec", f"{words}\n@@ -6,7 +6,7 @@", ""),))
    problem = problem_of(error, claim, "apply", home="prod")
    assert problem.reason is Reason.Immutable
    assert problem.message == (
        "PersistentVolumeClaim/data: spec: only the size and volumeAttributesClassName of a claim may change, "
        "once it has its volume, and it cannot shrink; set it back, or make a new claim"
    )


def test_what_of_a_statefulset_may_change() -> None:
    words = "Forbidden: updates to statefulset spec for fields other than 'replicas', 'template' and 'updateStrategy' are forbidden"
    stateful = ObjectId("apps", "StatefulSet", "prod", "db")
    error = ApiError(422, "Invalid", "x", (Cause("spec", words, ""),))
    problem = problem_of(error, stateful, "apply", home="prod")
    assert problem.reason is Reason.Immutable
    assert problem.message == (
        "StatefulSet/db: spec: only replicas, template and updateStrategy of a StatefulSet may change, its "
        "volumeClaimTemplates may not: a volume grows at its own claim, and none can shrink"
    )


AUTHORIZER = (
    'Internal Server Error: "/api/v1/namespaces/n/secrets/s?fieldManager=setpoint&amp;force=true": Post '
    '"https://authz.example.org:8443/authorize?timeout=30s": dial tcp 10.0.0.1:8443: connect: connection refused'
)


def test_a_webhook_that_the_api_server_asks_about_requests() -> None:
    problem = problem_of(error_of(500, AUTHORIZER.encode()), WEB, "apply", home="prod")
    assert (problem.reason, problem.transient) == (Reason.WebhookFailed, True)
    assert problem.message == (
        "Deployment/web: a webhook that the API server asks about requests (authentication, authorization) "
        "could not be called (authz.example.org:8443, connection refused)"
    )
    hidden = problem_of(error_of(500, AUTHORIZER.encode(), secret=True), WEB, "apply", home="prod")
    assert (hidden.reason, "authz.example.org:8443" in hidden.message) == (Reason.WebhookFailed, True)


def test_what_a_conversion_webhook_converts_without_a_request() -> None:
    error = ApiError(500, "", "conversion webhook for a.example.org/v1, Kind=Gadget failed: no")
    assert (
        problem_of(error, WEB, "list", home="prod").message
        == "Deployment/web: conversion webhook of Gadget failed: no"
    )
    assert error.transient


@pytest.mark.parametrize(
    ("target", "resource"),
    [
        ("/apis/bugs.example.org/v1/namespaces/n/gadgets/one?force=true", "gadgets.bugs.example.org"),
        ("/apis/bugs.example.org/v1/gadgets?limit=5", "gadgets.bugs.example.org"),
        ("/api/v1/namespaces/n/secrets/s", "secrets"),
        ("/api/v1/namespaces/n", "namespaces"),
        ("/version", ""),
        ("/apis", ""),
    ],
)
def test_what_a_request_is_about(target: str, resource: str) -> None:
    assert resource_of(target) == resource


@pytest.mark.parametrize(("code", "message", "reason", "sentence"), TABLE)
def test_what_it_means(code: int, message: str, reason: Reason, sentence: str) -> None:
    error = error_of(code, status(code, message), resource="deployments.apps")
    problem = problem_of(error, WEB, "apply", home="prod")
    assert (problem.reason, problem.message) == (reason, f"Deployment/web: {sentence}")


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ApiError(0, "Timeout", "no answer"), True),
        (ApiError(429, "TooManyRequests", ""), True),
        (ApiError(500, "", "etcdserver: leader changed"), True),
        (ApiError(503, "ServiceUnavailable", ""), True),
        (ApiError(409, "Conflict", ""), True),
        (ApiError(500, "InternalError", 'failed calling webhook "a"'), True),
        (ApiError(500, "", "failed to create typed patch object (a): .spec.ports: duplicate entries"), False),
        (
            ApiError(500, "", "failed to create typed patch object (a): .data.a: expected string, got 1"),
            False,
        ),
        (ApiError(500, "", "etcdserver: request is too large"), False),
        (ApiError(409, "AlreadyExists", ""), False),
        (ApiError(422, "Invalid", ""), False),
        (ApiError(403, "Forbidden", ""), False),
    ],
)
def test_errors_that_look_transient_and_are_not(error: ApiError, transient: bool) -> None:
    assert error.transient is transient


def test_the_api_servers_own_trouble_names_no_object() -> None:
    for error in (ApiError(0, "NotSent", "the API server cannot be reached"), ApiError(503, "", "away")):
        problem = problem_of(error, WEB, "apply")
        assert problem.reason is Reason.ApiUnavailable
        assert "web" not in problem.message
        assert problem.transient


def test_the_whole_object_is_not_quoted() -> None:
    value = json.dumps({"containers": [{"name": "a", "env": list("abcdefghijklmnopqrstuvwxyz")}]})
    cause = {"field": "spec.template", "message": f"Invalid value: {value}: field is immutable"}
    problem = problem_of(
        error_of(422, status(422, "x", "Invalid", causes=[cause])), WEB, "apply", home="prod"
    )
    assert problem.reason is Reason.Immutable
    assert problem.message == "Deployment/web: spec.template: field is immutable"


def test_many_causes_are_cut_and_counted() -> None:
    causes = tuple(Cause(f"spec.a{n}", "Required value", "FieldValueRequired") for n in range(9))
    problem = problem_of(ApiError(422, "Invalid", "", causes), WEB, "apply")
    assert problem.message.endswith("spec.a2: Required value; and 6 more")


def test_a_body_that_is_no_status() -> None:
    error = error_of(502, b"<html>Bad gateway\nsecond line</html>", retry_after=3.0)
    assert (error.status, error.message, error.retry_after) == (502, "<html>Bad gateway", 3.0)
    assert error.transient


def test_an_error_within_a_watch() -> None:
    error = error_of_status({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
    assert (error.status, error.reason) == (410, "Expired")
    assert error_of_status({"details": {"retryAfterSeconds": 7}, "code": 429}).retry_after == 7.0


def test_persons() -> None:
    assert person("system:serviceaccount:team:deployer") == "ServiceAccount team/deployer"
    assert person("alice@example.org") == "user alice@example.org"


def test_warnings() -> None:
    headers = ['299 - "unknown field \\"spec.foo\\""', '299 - "one", 299 - "two"']
    assert warning_texts(headers) == ('unknown field "spec.foo"', "one", "two")
    assert warning_texts(['299 - "the value hunter2 is weak"'], secret=True) == (WITHHELD,)


SECRET_MESSAGES = [
    "failed to create typed patch object (n/s; /v1, Kind=Secret): .stringData.pin: expected string, got &value.valueUnstructured{{Value:{0}}}",
    (
        "failed to create typed patch object (n/s; /v1, Kind=Secret): errors:\n  .stringData.pin: expected string, got "
        "&value.valueUnstructured{{Value:{0}}}\n  .data.x: expected string, got &value.valueUnstructured{{Value:{0}}}"
    ),
    'Secret "s" is invalid: metadata.labels: Invalid value: "{0}": a valid label must be an empty string or',
    'Secret "s" is invalid: data[tls.crt]: Invalid value: "{0}": tls: failed to find any PEM data',
    'admission webhook "v.example.org" denied the request: {0} is a weak password',
    "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {0} is a weak password",
    'Secret "s" is invalid: data: Invalid value: "Post \\"https://{0}.example.org/x\\": updates to {0} are forbidden"',
    'Internal Server Error: "/api/v1/namespaces/n/secrets/s": the body was {0}',
    "something that no rule knows: {0}",
    "{0}",
]


@given(st.sampled_from(SECRET_MESSAGES), st.sampled_from([400, 403, 422, 500]), st.integers(10**9, 10**12))
def test_no_value_of_a_secret_survives(template: str, code: int, number: int) -> None:
    value = f"hunter{number}"
    causes = [{"field": "data", "message": template.format(value), "reason": "FieldValueInvalid"}]
    error = error_of(code, status(code, template.format(value), "Invalid", causes=causes), secret=True)
    problem = problem_of(error, ObjectId("", "Secret", "n", "s"), "apply")
    for text in (str(error), repr(error), repr(error.causes), problem.message, repr(error.args)):
        assert value not in text
        assert str(number) not in text


def test_a_secret_is_recognised_by_the_status_too() -> None:
    body = status(422, 'Secret "s" is invalid: data[x]: Invalid value: "hunter2"', "Invalid", kind="Secret")
    assert "hunter2" not in str(error_of(422, body))
    typed = (
        "failed to create typed patch object (n/s; /v1, Kind=Secret): .data.x: expected string, got hunter2"
    )
    assert "hunter2" not in str(error_of(500, status(500, typed)))


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        (500, SECRET_MESSAGES[0].format("1"), Reason.Invalid),
        (403, SECRET_MESSAGES[4].format("1"), Reason.AdmissionDenied),
        (422, SECRET_MESSAGES[5].format("1"), Reason.AdmissionDenied),
        (
            422,
            'Secret "s" is invalid: data: Forbidden: field is immutable when `immutable` is set',
            Reason.Immutable,
        ),
        (404, 'namespaces "x" not found', Reason.NamespaceMissing),
        (404, 'secrets "x" not found', Reason.Missing),
        (404, "the server could not find the requested resource", Reason.KindUnknown),
        (
            403,
            'secrets "s" is forbidden: User "u" cannot patch resource "secrets" in API group ""',
            Reason.Forbidden,
        ),
        (413, "Request entity too large: limit is 3145728", Reason.TooLarge),
        (500, 'Internal error occurred: failed calling webhook "a.example.org": x', Reason.WebhookFailed),
    ],
)
def test_a_rebuilt_message_means_the_same(code: int, message: str, reason: Reason) -> None:
    assert classify(error_of(code, status(code, message), secret=True)) is reason
    assert classify(error_of(code, status(code, message))) is reason


def test_fields_are_named_in_one_order_whatever_the_server_says_first() -> None:
    head = "failed to create typed patch object (n/c; /v1, Kind=ConfigMap): errors:\n"
    errors = ["  .data.a: expected string, got 1", "  .data.b: expected string, got true"]
    said = {
        problem_of(error_of(500, status(500, head + "\n".join(order))), WEB, "apply").message
        for order in (errors, errors[::-1])
    }
    assert len(said) == 1


@pytest.mark.parametrize(
    "words",
    [
        "updates to ",
        "updates to statefulset spec for fields other than ",
        "conversion webhook for a, Kind=b failed",
        "field can not be ",
        'Post "https://',
    ],
)
@pytest.mark.parametrize("code", [422, 500])
def test_a_message_that_quotes_a_tenant_at_length_holds_nobody_up(words: str, code: int) -> None:
    """A pattern that began anew at each of these words took minutes; this ends, or the test does not."""
    refusal = ApiError(code, "Invalid", words * (1_000_000 // len(words)))
    assert len(problem_of(refusal, WEB, "apply").message) < 500
