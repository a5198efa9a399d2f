"""Recognises files that SOPS encrypted and Git LFS pointers, by their content (pure).

SOPS marks its files by metadata of its own, in each of its formats; a text that looks like ciphertext is not enough.
A file that is not in a format has no metadata of that format: SOPS could not read it either. One that we do not read, for a
number of more than 64 bits or over a budget, is searched for the words.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from setpoint.api import names
from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.reasons import Problem
from setpoint.objects import documents
from setpoint.objects.identity import group_of

KEEP: Final = "keep"
"""The value of `setpoint.dev/encrypted` on an object that is meant to hold ciphertext."""

_POINTER: Final = b"version https://git-lfs.github.com/spec/v1"
_KEY: Final = "sops"
_SECTION: Final = f"[{_KEY}]"
_COMMENTS: Final = ("#", ";")
_OWN_KEY: Final = re.compile(r"""^(?:sops|\s*[{,]?\s*"sops")\s*:""", re.MULTILINE)
_MAC: Final = re.compile(r"""\bmac["']?\s*:\s*["']?(ENC\[AES256_GCM,data:[^\]\s]*\])""")
_CIPHERTEXT: Final = re.compile(r"ENC\[AES256_GCM,data:[^\]\s]*\]")


def is_lfs_pointer(data: bytes) -> bool:
    """Return whether a file is a Git LFS pointer, by its first line."""
    return data.startswith(_POINTER) and data.split(b"\n", 1)[0].rstrip() == _POINTER


def macs(data: bytes, budgets: Budgets = DEFAULTS) -> frozenset[str]:
    """Return the MACs that SOPS wrote into a file, one for each of its encryptions; none if it is not from SOPS."""
    if _KEY.encode() not in data:
        return frozenset()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return frozenset()
    lines = [line.strip() for line in text.splitlines()]
    return frozenset((*_of_documents(data, budgets), *_of_dotenv(lines), *_of_ini(lines)))


def marks(data: bytes, found: frozenset[str]) -> frozenset[str]:
    """Return the texts that only an object made of this file holds: itself, its MACs and its encrypted values."""
    text = data.decode("utf-8-sig")
    return frozenset((text, *found, *_CIPHERTEXT.findall(text)))


def traces(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Return the texts of an object that can be `marks` of a file, those that it holds in base64 too."""
    texts = [*_texts(manifest), *_decoded(manifest)]
    return (found for text in texts for found in (text, *_CIPHERTEXT.findall(text)))


def is_core(manifest: Mapping[str, Any]) -> bool:
    """Return whether a kind is one that cannot carry SOPS's metadata, so that ciphertext in it is a mistake.

    Those are Kubernetes' own (a group without a dot, which no CRD may have, or one that ends in `.k8s.io`) and
    Setpoint's. Of other custom resources only their own controllers know.
    """
    group = group_of(manifest["apiVersion"])
    return "." not in group or group.endswith(".k8s.io") or group == names.GROUP


def is_kept(manifest: Mapping[str, Any]) -> bool:
    """Return whether Git says by annotation that an object is meant to hold ciphertext."""
    return (manifest["metadata"].get("annotations") or {}).get(names.ANNOTATION_ENCRYPTED) == KEEP


def _of_documents(data: bytes, budgets: Budgets) -> Iterator[str]:
    """Find the metadata of YAML and JSON, which is also the format of binary files; each document has its own."""
    try:
        for parsed in documents.parse(data, "", budgets):
            value = parsed.value.get(_KEY) if isinstance(parsed.value, dict) else None
            if isinstance(value, dict) and all(_is_text(value.get(each)) for each in ("mac", "version")):
                yield value["mac"]
    except Problem:
        text = data.decode("utf-8-sig")
        if _OWN_KEY.search(text) and documents.is_well_formed(data):
            yield from _MAC.findall(text)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _of_dotenv(lines: Sequence[str]) -> Iterator[str]:
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    if all(equals for _, equals, _ in pairs):
        yield from (value for key, _, value in pairs if key == f"{_KEY}_mac")


def _of_ini(lines: Sequence[str]) -> Iterator[str]:
    """Find the section, in a file that begins as INI does, so not in a page of text that shows one."""
    said = [line for line in lines if line and not line.startswith(_COMMENTS)]
    if _SECTION not in said or not (said[0].startswith("[") or "=" in said[0]):
        return
    section: dict[str, str] = {}
    for line in said[said.index(_SECTION) + 1 :]:
        key, equals, value = line.partition("=")
        if line.startswith("["):
            break
        if not equals:
            return
        section[key.strip()] = value.strip()
    if section.get("mac") and section.get("version"):
        yield section["mac"]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _decoded(manifest: Mapping[str, Any]) -> Iterator[str]:
    field = {"Secret": "data", "ConfigMap": "binaryData"}.get(manifest["kind"], "")
    for text in _texts(manifest.get(field)):
        try:
            yield base64.b64decode(text).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            continue
