"""The API server takes and refuses the same specs as the models, with the same words."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.chart import samples
from tests.kit.cluster import versions
from tests.kit.cluster.base import Cluster, KubectlError
from tests.kit.cluster.processes import until

from setpoint.api import resources as api
from setpoint.api.sync import SyncSpec

pytestmark = pytest.mark.cluster
MODELS = {"Source": api.Source, "Sync": api.Sync}


def refusal(cluster: Cluster, manifest: dict[str, Any]) -> str:
    """What the server says against a manifest; nothing if it takes it."""
    try:
        cluster.kubectl(
            "create", "--dry-run=server", "--validate=strict", "--filename=-", input=json.dumps(manifest)
        )
    except KubectlError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("kind", "spec"), samples.GOOD)
def test_good_specs_are_taken(with_crds: Cluster, kind: str, spec: samples.Spec) -> None:
    assert refusal(with_crds, samples.manifest(kind, spec)) == ""


@pytest.mark.parametrize(("kind", "spec", "message"), samples.BAD)
def test_bad_specs_are_refused_without_quoting_a_secret(
    with_crds: Cluster, kind: str, spec: samples.Spec, message: str
) -> None:
    said = refusal(with_crds, samples.manifest(kind, spec))
    assert message in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("timeout", "taken"), [("10m", True), ("9m59.5s", True), ("601s", False), ("1h", False)]
)
def test_a_source_waits_ten_minutes_at_most(with_crds: Cluster, timeout: str, taken: bool) -> None:
    said = refusal(with_crds, samples.manifest("Source", samples.source(timeout=timeout)))
    assert ("must be 10m or less" in said) is not taken
    assert api.Source.model_validate(samples.manifest("Source", samples.source(timeout=timeout)))


def test_what_was_stored_before_there_was_a_rule_stays(with_crds: Cluster) -> None:
    """The server holds nobody to a new rule for what he does not change: else no status could be written any more."""
    name, crd = "stored-before", "sources.setpoint.dev"
    old = samples.source(timeout="1h", url="https://git.example.org/team/../app")
    rules = json.loads(with_crds.kubectl("get", "crd", crd, "-o", "json"))["spec"]["versions"][0]["schema"]
    spec = rules["openAPIV3Schema"]["properties"]["spec"]
    at = "/spec/versions/0/schema/openAPIV3Schema/properties/spec"
    kept = {
        f"{at}/x-kubernetes-validations": spec["x-kubernetes-validations"],
        f"{at}/properties/timeout/x-kubernetes-validations": spec["properties"]["timeout"][
            "x-kubernetes-validations"
        ],
    }

    def patch(operations: list[dict[str, Any]]) -> None:
        with_crds.kubectl("patch", "crd", crd, "--type=json", f"--patch={json.dumps(operations)}")

    def change(spec: dict[str, Any], *more: str) -> None:
        with_crds.kubectl("patch", "source", name, "--type=merge", f"--patch={json.dumps(spec)}", *more)

    manifest = samples.manifest("Source", old, name)
    patch([{"op": "remove", "path": path} for path in kept])
    try:
        until(lambda: not refusal(with_crds, manifest), "the rules are gone", 60)
        with_crds.kubectl("create", "--filename=-", input=json.dumps(manifest))
    finally:
        patch([{"op": "add", "path": path, "value": value} for path, value in kept.items()])
    try:
        other = samples.manifest("Source", old, "another")
        until(lambda: "must be 10m or less" in refusal(with_crds, other), "the rules are back", 60)
        status = ({"status": {"short": "main@0123456"}}, "--subresource=status")
        if (
            versions.chosen() == "1.31"
        ):  # there the server holds a write of the status to the rules of the spec
            with pytest.raises(KubectlError, match="must be 10m or less"):
                change(*status)
        else:
            change(*status)
        with pytest.raises(KubectlError, match="must be 10m or less"):
            change({"spec": {"timeout": "2h"}})
        change({"spec": {"timeout": "10m", "url": samples.REPOSITORY}})
    finally:
        with_crds.kubectl("delete", "source", name)


def test_defaults_are_stored(with_crds: Cluster) -> None:
    manifest = json.dumps(samples.manifest("Sync", samples.sync()))
    stored = with_crds.kubectl("create", "--dry-run=server", "-o", "json", "--filename=-", input=manifest)
    spec = json.loads(stored)["spec"]
    assert spec == {
        **samples.sync(),
        "path": ".",
        "interval": "1h",
        "timeout": "5m",
        "createNamespace": False,
        "prune": True,
        "pruneLimit": "25%",
        "drift": "Correct",
        "onError": "Abort",
        "suspend": False,
    }
    assert SyncSpec.model_validate(spec) == SyncSpec.model_validate(samples.sync())


def test_a_status_comes_back_as_it_was_written(with_crds: Cluster) -> None:
    """Else the operator would find it different, and write it again, for ever."""
    at = "2026-01-02T03:04:05Z"
    identity = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "default", "name": "a"}
    patch = [
        {"op": "replace", "path": "/data/a", "value": None},
        {"op": "add", "path": "/x", "value": {"deep": [1, None, {"null": None}], "empty": {}}},
        {"op": "remove", "path": "/y"},
    ]
    revision = {"revision": f"main@sha1:{samples.SHA}", "short": "main@0123456", "digest": "d", "at": at}
    status = {
        "observedGeneration": 1,
        "requested": "now",
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "observedGeneration": 1,
                "lastTransitionTime": at,
                "reason": "Drift",
                "message": "1 of 2 differs",
            }
        ],
        "desired": revision,
        "applied": {**revision, "ownership": "o"},
        "healthy": revision,
        "summary": {"objects": 2, "synced": 1, "healthy": 2, "drifted": 1, "corrected": 4},
        "inventory": [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "default", "names": ["a", "b"]}],
        "differences": [
            {
                **identity,
                "sync": "OutOfSync",
                "health": "Healthy",
                "reason": "Drift",
                "message": "m",
                "since": at,
                "patch": patch,
            }
        ],
        "omitted": 3,
        "driftLog": [
            {
                **identity,
                "manager": "kubectl-edit",
                "user": "ana",
                "detected": at,
                "corrected": at,
                "patch": patch,
            }
        ],
        "history": [
            {
                "revision": "r",
                "started": at,
                "finished": at,
                "result": "Healthy",
                "changed": 2,
                "trigger": "Commit",
            }
        ],
    }
    name = "status-sample"
    with_crds.kubectl(
        "apply", "--filename=-", input=json.dumps(samples.manifest("Sync", samples.sync(), name))
    )
    try:
        operations = json.dumps([{"op": "add", "path": "/status", "value": status}])
        with_crds.kubectl(
            "patch", "sync", name, "--subresource=status", "--type=json", f"--patch={operations}"
        )
        stored = json.loads(with_crds.kubectl("get", "sync", name, "-o", "json"))
        assert stored["status"] == status
        row = with_crds.kubectl("get", "sy", name).splitlines()[1].split()
        assert row[:-1] == [name, "False", "1", "of", "2", "differs", "main@0123456", "2", "4"]
        head = with_crds.kubectl("get", "syncs", "-o", "wide").splitlines()[0].split()
        assert head == [
            "NAME",
            "READY",
            "STATUS",
            "REVISION",
            "OBJECTS",
            "DRIFT",
            "SOURCE",
            "PATH",
            "CHANGED",
            "AGE",
        ]
        assert f"sync.setpoint.dev/{name}" in with_crds.kubectl("get", "gitops", "-o", "name")
    finally:
        with_crds.kubectl("delete", "sync", name)


def test_sources_show_revision_and_commit(with_crds: Cluster) -> None:
    name = "source-sample"
    status = {
        "conditions": [],
        "revision": f"main@sha1:{samples.SHA}",
        "short": "main@0123456",
        "commit": {"sha": samples.SHA, "subject": "Raise it", "author": "Ana", "summary": "Raise it (Ana)"},
    }
    with_crds.kubectl(
        "apply", "--filename=-", input=json.dumps(samples.manifest("Source", samples.source(), name))
    )
    try:
        operations = json.dumps([{"op": "add", "path": "/status", "value": status}])
        with_crds.kubectl(
            "patch", "source", name, "--subresource=status", "--type=json", f"--patch={operations}"
        )
        head, row = with_crds.kubectl("get", "src", name).splitlines()
        assert head.split() == ["NAME", "READY", "REVISION", "URL", "COMMIT", "AGE"]
        assert row.split()[:-1] == [name, "main@0123456", samples.REPOSITORY, "Raise", "it", "(Ana)"]
    finally:
        with_crds.kubectl("delete", "source", name)


def test_explain_shows_descriptions(with_crds: Cluster) -> None:
    text = with_crds.kubectl("explain", "sync.spec.pruneLimit", "--api-version=setpoint.dev/v1alpha1")
    description = SyncSpec.model_fields["prune_limit"].description
    assert description is not None
    assert description in " ".join(text.split())


limits = st.one_of(st.integers(-2, 10**6), st.from_regex(r"\A[0-9]{0,3}%?\Z"))
durations = st.from_regex(r"\A([0-9]{1,3}(\.[0-9])?(ms|s|m|h|d)?){1,2}\Z")
texts = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12)
urls = st.one_of(
    st.from_regex(r"\A(https?|ssh|ftp)://([a-z]{1,3}(:[a-z]{1,3})?@)?[a-z/]{1,6}\Z"),
    st.from_regex(r"\A[a-z@:/. ]{1,12}\Z"),
    st.from_regex(r"\A(https://a/|git@a:)(a|/|\.|%(25)?2[eEfF]|%5[cC]|\\|;){1,8}\Z"),
)
refs = st.fixed_dictionaries(
    {},
    optional={
        "branch": texts,
        "tag": texts,
        "semver": texts,
        "name": texts.map("refs/".__add__) | texts,
        "commit": st.just(samples.SHA) | texts,
    },
)
sources = st.fixed_dictionaries(
    {"url": urls},
    optional={"ref": refs, "interval": durations, "secretRef": st.just({"name": "a"})},
).map(lambda spec: samples.manifest("Source", spec))
syncs = st.fixed_dictionaries(
    {"source": st.fixed_dictionaries({"name": texts | st.just("a")})},
    optional={
        "path": texts,
        "pruneLimit": limits,
        "timeout": durations,
        "targetNamespace": texts | st.just("prod"),
        "createNamespace": st.booleans(),
        "ignore": st.lists(
            st.fixed_dictionaries({"paths": st.lists(texts | st.just("/a"), max_size=2)}), max_size=2
        ),
        "drift": st.sampled_from(["Correct", "Report", "correct", ""]),
    },
).map(lambda spec: samples.manifest("Sync", spec))


@settings(max_examples=10, derandomize=True)
@given(st.lists(sources | syncs, min_size=20, max_size=20))
def test_model_and_server_agree_on_any_spec(with_crds: Cluster, manifests: list[dict[str, Any]]) -> None:
    """A batch goes through one kubectl: the server's verdict on each is told apart by the name."""
    numbered = [{**each, "metadata": {"name": f"any-{i}"}} for i, each in enumerate(manifests)]
    text = yaml.safe_dump_all(numbered)
    try:
        taken = with_crds.kubectl("create", "--dry-run=server", "-o", "name", "--filename=-", input=text)
    except KubectlError as error:
        taken = ""
        said = str(error)
        refused = {i for i in range(len(numbered)) if f'"any-{i}" is invalid' in said}
    else:
        refused = set()
        assert len(taken.split()) == len(numbered)
    for i, each in enumerate(numbered):
        try:
            MODELS[each["kind"]].model_validate(each)
            good = True
        except ValidationError:
            good = False
        assert good is (i not in refused), each
