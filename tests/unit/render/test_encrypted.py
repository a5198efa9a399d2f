"""What SOPS encrypted is told by its metadata, a Git LFS pointer by its first line, and lookalikes are neither."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.kit import sopsfiles
from tests.kit.memorytree import MemoryTree
from tests.kit.sopsfiles import LFS, MAC, PLAIN, enc, manifest

from setpoint.api.reasons import Problem, Reason
from setpoint.objects import documents
from setpoint.render import encrypted
from setpoint.render.contents import Contents

FORMATS = {
    "yaml": sopsfiles.YAML,
    "json": sopsfiles.JSON,
    "binary": sopsfiles.BINARY,
    "dotenv": sopsfiles.DOTENV,
    "ini": sopsfiles.INI,
    "manifest": manifest(),
    "second document": f"a: 1\n---\n{sopsfiles.YAML}",
    "before what is no YAML": f"{sopsfiles.YAML}---\n\t{{",
    "windows dotenv": sopsfiles.DOTENV.replace("\n", "\r\n"),
    "windows ini": sopsfiles.INI.replace("\n", "\r\n"),
    "byte order mark": f"\ufeff{sopsfiles.DOTENV}",
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_sops_is_known_by_its_metadata(name: str) -> None:
    assert encrypted.macs(FORMATS[name].encode()) == {MAC}


@pytest.mark.parametrize("more", ["n: 12345678901234567890123", "deep: " + "[" * 70 + "]" * 70])
def test_what_is_not_read_is_searched(more: str) -> None:
    """SOPS leaves what it is told not to encrypt; what we refuse as a manifest must not pass for plain text."""
    assert encrypted.macs(f"{more}\n{sopsfiles.YAML}".encode()) == {MAC}
    key, _, value = more.partition(": ")
    made = sopsfiles.JSON.lstrip().replace("{", f'{{"{key}": {value}, ', 1)
    assert encrypted.macs(made.encode()) == {MAC}


LOOKALIKES = {
    "nothing": "",
    "a ConfigMap with a key sops": "kind: ConfigMap\ndata: {sops: 'mac version'}\n",
    "a ConfigMap with a file of SOPS in it": "kind: ConfigMap\ndata:\n  f: |\n"
    + "".join(f"    {line}\n" for line in sopsfiles.YAML.splitlines()),
    "a text with ENC[": f"password: {enc('cGFzcw')}\n",
    "a resource with a field sops": f"kind: SopsSecret\nspec: {{sops: {{mac: {MAC!r}, version: '3'}}}}\n",
    "sops without mac": "sops: {version: 3.9.0, age: []}\n",
    "sops without version": f"sops: {{mac: {MAC!r}}}\n",
    "sops that is no mapping": f"sops: [mac, version, {MAC!r}]\n",
    "mac and version that are no texts": "sops: {mac: 1, version: [2]}\n",
    "rules of SOPS": "creation_rules:\n- path_regex: sops.*\n  encrypted_regex: ^data$\n",
    "dotenv of an own setting": "SOPS_MAC=x\nmy_sops_mac=y\nsops_macro=z\n",
    "a page about dotenv": f"Put this into your file:\n\nsops_mac={MAC}\nsops_version=3\n",
    "ini without mac": "[sops]\nversion = 3\nenabled = true\n",
    "ini of another section": f"[sops]\nx = 1\n[other]\nmac = {MAC}\nversion = 3\n",
    "a page about ini": f"# Title\n\nText.\n\n[sops]\nmac = {MAC}\nversion = 3\n",
    "a page that ends in ini": f"# Title\n\n```\n[sops]\nmac = {MAC}\nversion = 3\n```\n",
    "a page about YAML": f"Like this:\n\n```yaml\n{sopsfiles.YAML}```\n",
    "YAML that is none": "sops: {mac: a, version: b}\nsops: [\n",
    "a list": json.dumps([{"sops": sopsfiles.METADATA}]),
}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_lookalike_is_not_encrypted(name: str) -> None:
    assert encrypted.macs(LOOKALIKES[name].encode()) == frozenset()


def test_bytes_that_are_no_text_are_not_encrypted() -> None:
    assert encrypted.macs(b"sops_mac=\xff\n[sops]\nsops: \xff") == frozenset()


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (LFS, True),
        (LFS.replace("\n", "\r\n"), True),
        ("version https://git-lfs.github.com/spec/v1", True),
        (f"\n{LFS}", False),
        (f"# pointers look so\n{LFS}", False),
        ("version https://git-lfs.github.com/spec/v10\noid sha256:0\n", False),
        ("version: https://git-lfs.github.com/spec/v1\n", False),
        ("\x00\x01" + LFS, False),
    ],
)
def test_a_pointer_of_git_lfs_is_known_by_its_first_line(data: str, *, is_one: bool) -> None:
    assert encrypted.is_lfs_pointer(data.encode()) is is_one


@pytest.mark.parametrize(
    ("version", "core"),
    [
        ("v1", True),
        ("apps/v1", True),
        ("networking.k8s.io/v1", True),
        ("rbac.authorization.k8s.io/v1", True),
        ("setpoint.dev/v1alpha1", True),
        (enc("YXBpL3Y"), True),
        ("isindir.github.com/v1alpha3", False),
        ("cluster.x-k8s.io/v1beta1", False),
        ("notk8s.io/v1", False),
    ],
)
def test_core_kinds_are_those_of_groups_without_a_dot_of_kubernetes_and_of_setpoint(
    version: str, *, core: bool
) -> None:
    assert encrypted.is_core({"apiVersion": version}) is core


def judged(files: dict[str, str], *objects: dict[str, Any]) -> Problem | None:
    """Read files as a render does, and give what is said of the objects that came of them."""
    contents = Contents(MemoryTree(files))
    for file in files:
        contents.read(file)
    try:
        contents.check(objects)
    except Problem as problem:
        return problem
    return None


def made(kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, **fields}


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ENV = {
    key: value
    for line in sopsfiles.DOTENV.splitlines()
    if "=" in line
    for key, _, value in [line.partition("=")]
}


@pytest.mark.parametrize(
    ("text", "obj"),
    [
        (sopsfiles.YAML, made("ConfigMap", data={"f": sopsfiles.YAML})),
        (sopsfiles.BINARY, made("Secret", data={"f": base64_of(sopsfiles.BINARY)})),
        (sopsfiles.INI, made("ConfigMap", binaryData={"f": base64_of(sopsfiles.INI)})),
        (sopsfiles.DOTENV, made("ConfigMap", data=ENV)),
        (sopsfiles.DOTENV, made("Secret", data={k: base64_of(v) for k, v in ENV.items()})),
        (manifest(), documents.load(manifest().encode(), "f")[0].manifest),
        (sopsfiles.YAML, made("Deployment", spec={"template": [{"env": [{"value": enc("cGFzcw")}]}]})),
        ("sops: {mac: handmade, version: '1'}", made("Pod", sops={"mac": "handmade"})),
        ("sops: {mac: handmade, version: '1'}", made("Pod", x=["sops: {mac: handmade, version: '1'}"])),
    ],
)
def test_an_object_that_holds_ciphertext_of_a_file_is_refused_and_both_are_named(
    text: str, obj: dict[str, Any]
) -> None:
    problem = judged({"a/enc.yaml": text, "b.yaml": PLAIN}, made("ConfigMap", data={"x": "y"}), obj)
    assert problem is not None
    assert (problem.reason, problem.transient) == (Reason.Encrypted, False)
    assert "a/enc.yaml is encrypted by SOPS" in problem.message
    assert f"{obj['kind']}/{obj['metadata']['name']}" in problem.message
    assert PLAIN not in problem.message
    assert "ENC[" not in problem.message


@pytest.mark.parametrize(
    "obj",
    [
        {**made("SopsSecret", sops=sopsfiles.METADATA), "apiVersion": "isindir.github.com/v1alpha3"},
        made("ConfigMap", data={"f": enc("b3RoZXI")}),
        made("ConfigMap", data={"sops": "mac version"}),
        made("Secret", data={"f": "no base64 !", "g": base64.b64encode(b"\xff").decode(), "h": 3}),
        {
            **made("ConfigMap", data={"f": sopsfiles.YAML}),
            "metadata": {"name": "x", "annotations": {"setpoint.dev/encrypted": "keep"}},
        },
    ],
)
def test_what_is_made_to_carry_it_or_annotated_passes(obj: dict[str, Any]) -> None:
    assert judged({"enc.yaml": sopsfiles.YAML}, obj) is None


def test_only_keep_keeps() -> None:
    obj = made("ConfigMap", data={"f": sopsfiles.YAML})
    obj["metadata"]["annotations"] = {"setpoint.dev/encrypted": "true"}
    assert judged({"enc.yaml": sopsfiles.YAML}, obj) is not None


def test_a_manifest_that_is_encrypted_whole_is_named_by_its_file_alone() -> None:
    whole = {"apiVersion": enc("YQ"), "kind": enc("Yg"), "metadata": {"name": enc("Yw")}}
    problem = judged(
        {"enc.yaml": f'{json.dumps(whole)[:-1]}, "sops": {json.dumps(sopsfiles.METADATA)}}}'}, whole
    )
    assert problem is not None
    assert "enc.yaml is encrypted" in problem.message
    assert "ENC[" not in problem.message


def test_several_are_counted() -> None:
    first, second = (made("ConfigMap", data={"f": text}) for text in (sopsfiles.YAML, sopsfiles.JSON))
    problem = judged(
        {"a.yaml": sopsfiles.YAML, "b.json": sopsfiles.JSON.replace(MAC, enc("b3RoZXI"))}, first, second
    )
    assert problem is not None
    assert "1 more object" in problem.message


def test_a_pointer_is_refused_when_it_is_read() -> None:
    contents = Contents(MemoryTree({"p/big.bin": LFS}))
    with pytest.raises(Problem) as raised:
        contents.read("p/big.bin")
    assert raised.value.reason is Reason.RenderFailed
    assert "p/big.bin is a Git LFS pointer" in raised.value.message
    assert "does not fetch LFS content" in raised.value.message


def test_a_pointer_that_lies_in_a_folder_that_is_exported_whole_is_refused_only_if_an_object_holds_it() -> (
    None
):
    contents = Contents(MemoryTree({"p/big.bin": LFS, "p/x.yaml": ""}))
    contents.children("p")
    assert contents.read("p/big.bin") == LFS.encode()
    contents.check([made("ConfigMap", data={"f": "x"})])
    with pytest.raises(Problem, match=r"p/big\.bin is a Git LFS pointer"):
        contents.check([made("ConfigMap", binaryData={"f": base64_of(LFS)})])
    with pytest.raises(Problem, match=r"p/big\.bin is a Git LFS pointer"):
        contents.check([{**made("Widget", spec=[{"f": LFS}]), "apiVersion": "example.org/v1"}])


def test_a_kustomization_is_neither() -> None:
    contents = Contents(
        MemoryTree({"k/kustomization.yaml": sopsfiles.YAML, "l": LFS, "ok": "a: 1"}), strict=True
    )
    contents.children("k")
    contents.children("")
    with pytest.raises(Problem, match=r"k/kustomization\.yaml is encrypted by SOPS") as raised:
        contents.read("k/kustomization.yaml")
    assert raised.value.reason is Reason.Encrypted
    with pytest.raises(Problem, match="l is a Git LFS pointer"):
        contents.read("l")
    assert contents.read("ok") == b"a: 1"
    assert contents.entry("ok") == MemoryTree({"ok": "a: 1"}).entry("ok")


def test_a_failure_says_which_file_is_encrypted() -> None:
    contents = Contents(MemoryTree({"p/patch.yaml": sopsfiles.YAML, "p/big.bin": LFS}))
    other = Problem(Reason.RenderFailed, "p: no")
    assert contents.explained(other) is other
    contents.read("p/patch.yaml")
    named = contents.explained(Problem(Reason.RenderFailed, "p/patch.yaml:3: a tab"))
    assert (named.reason, "p/patch.yaml is encrypted by SOPS" in named.message) == (Reason.Encrypted, True)
    hinted = contents.explained(other)
    assert (hinted.reason, hinted.message) == (
        Reason.RenderFailed,
        "p: no; note that p/patch.yaml is encrypted by SOPS, which Setpoint does not decrypt yet",
    )
    large = Problem(Reason.TooLarge, "p: large")
    assert contents.explained(large) is large
    contents.children("p")
    contents.read("p/big.bin")
    assert "p/big.bin is a Git LFS pointer" in contents.explained(other).message
