"""Reads the Secret of a Source: our credentials for a Git server, and which servers to trust (pure).

Values live in memory only: no `repr`, message or folder name shows them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Protocol

from setpoint.api.reasons import Problem, Reason
from setpoint.wall.messages import Login

_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")
_OPENSSH = re.compile(r"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_MAGIC = b"openssh-key-v1\0"


class Addressed(Protocol):
    """What credentials need to know of a remote."""

    @property
    def scheme(self) -> str:
        """One of https, http, ssh, file."""

    @property
    def user(self) -> str:
        """The user that the URL names, or nothing."""


@dataclass(frozen=True, slots=True)
class Credentials(Login):
    """A login as it is used; `identity` is a private key in PEM."""

    @property
    def digest(self) -> str:
        """Return what distinguishes credentials; a cache hashes it with a key of its own before it names a folder so."""
        text = "\0".join(f"{len(value)}:{value}" for value in astuple(self))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def trust(self) -> str:
        """Return what distinguishes trust sets (CA and known hosts); nothing of it is secret."""
        return hashlib.sha256(f"{len(self.ca)}:{self.ca}{self.known_hosts}".encode()).hexdigest()

    def trust_only(self) -> Credentials:
        """Return the same trust for another origin, which may not see who we are."""
        return Credentials(known_hosts=self.known_hosts, ca=self.ca)

    def authorization(self) -> str | None:
        """Return the value of the HTTP header (RFC 7617, RFC 6750)."""
        if self.bearer:
            return f"Bearer {self.bearer}"
        if self.username or self.password:
            pair = f"{self.username}:{self.password}".encode()
            return f"Basic {base64.b64encode(pair).decode('ascii')}"
        return None


NO_CREDENTIALS = Credentials()


def credentials_from_secret(remote: Addressed, data: Mapping[str, bytes]) -> Credentials:
    """Read a Secret's data (decoded bytes): username and password | bearerToken | identity and known_hosts.

    `password` beside `identity` is the key's; `ca.crt` may accompany any. Problem(SecretInvalid) names the
    key that is missing, doubled or unusable, never a value.
    """
    if "tls.crt" in data or "tls.key" in data:
        raise _invalid(
            "TLS client certificates (tls.crt, tls.key) are not supported; use a password or a token"
        )
    texts = {key: _text(key, value) for key, value in data.items() if key in _KEYS and value}
    ca = texts.get("ca.crt", "")
    if ca and _CERTIFICATE not in ca:
        raise _invalid("ca.crt holds no certificate in PEM")
    if remote.scheme == "ssh":
        return _ssh(remote, texts, ca)
    own = [key for key in ("username", "password", "bearerToken") if key in texts]
    if own and remote.scheme != "https":
        raise _invalid(f"{' and '.join(own)} would be sent unprotected over {remote.scheme}; use https")
    if "bearerToken" in texts:
        if len(own) > 1:
            raise _invalid("it holds bearerToken and username or password; keep one of the two")
        if not _HEADER_SAFE.fullmatch(texts["bearerToken"]):
            raise _invalid("bearerToken holds a character that no token has")
        return Credentials(bearer=texts["bearerToken"], ca=ca)
    if own:
        return _basic(remote, texts, ca)
    if ca:
        return Credentials(ca=ca)
    raise _invalid(
        "it has neither username and password nor bearerToken nor ca.crt"
        + ("; identity is for ssh URLs" if "identity" in texts else "")
    )


_KEYS = frozenset({"username", "password", "bearerToken", "identity", "known_hosts", "ca.crt"})


def _basic(remote: Addressed, texts: Mapping[str, str], ca: str) -> Credentials:
    username = texts.get("username", remote.user)
    for key, value in (("username", username), ("password", texts.get("password", ""))):
        if not value:
            raise _invalid(f"{key} is missing")
        if any(character < " " or character == "\x7f" for character in value):
            raise _invalid(f"{key} holds a control character")
    if ":" in username:
        raise _invalid("username holds a colon")
    return Credentials(username=username, password=texts["password"], ca=ca)


def _ssh(remote: Addressed, texts: Mapping[str, str], ca: str) -> Credentials:
    for key in ("identity", "known_hosts"):
        if key not in texts:
            raise _invalid(f"{key} is missing; an ssh URL needs identity and known_hosts")
    identity = texts["identity"] + "\n"
    if not _PEM.search(identity):
        raise _invalid("identity is not a private key in PEM or OpenSSH format")
    if _is_encrypted(identity) and "password" not in texts:
        raise _invalid("identity is encrypted; add its passphrase as password")
    if not any(line.strip() and not line.startswith("#") for line in texts["known_hosts"].splitlines()):
        raise _invalid("known_hosts holds no host key")
    passphrase = texts.get("password", "") if _is_encrypted(identity) else ""
    return Credentials(
        username=remote.user,
        identity=identity,
        passphrase=passphrase,
        known_hosts=texts["known_hosts"] + "\n",
        ca=ca,
    )


def _is_encrypted(identity: str) -> bool:
    """Return whether it is encrypted: by the PEM headers, or by the cipher's name in OpenSSH's own format (PROTOCOL.key)."""
    match = _OPENSSH.search(identity)
    if not match:
        return "ENCRYPTED" in identity
    try:
        blob = base64.b64decode("".join(match[1].split()), validate=True)
    except binascii.Error:
        raise _invalid("identity is damaged: its base64 cannot be read") from None
    if not blob.startswith(_MAGIC):
        raise _invalid("identity is damaged: it does not start as an OpenSSH key")
    rest = blob[len(_MAGIC) :]
    return rest[4 : 4 + int.from_bytes(rest[:4], "big")] != b"none"


def keys_of(known_hosts: str, host: str, port: int) -> tuple[str, ...]:
    """Return the keys that known_hosts has for a host, plain or hashed, as libssh2 reads it: with the port or without."""
    names = (f"[{host}]:{port}", host)
    found: dict[str, None] = {}
    for line in known_hosts.splitlines():
        hosts, *key = line.split(None, 1)[:2] or [""]
        if key and any(_names(entry, name) for entry in hosts.split(",") for name in names):
            found[key[0]] = None
    return tuple(found)


def knows_host(known_hosts: str, host: str, port: int) -> bool:
    """Whether known_hosts (sshd(8)) has any key for the host, plain or hashed; patterns are not followed."""
    name = host if port == 22 else f"[{host}]:{port}"
    return any(_names(entry, name) for line in known_hosts.splitlines() for entry in _hosts(line))


def _hosts(line: str) -> list[str]:
    words = line.split()
    if not words or words[0].startswith("#"):
        return []
    return (words[1] if words[0].startswith("@") and len(words) > 1 else words[0]).split(",")


def _names(entry: str, name: str) -> bool:
    if not entry.startswith("|1|"):
        return entry.lower() == name.lower()
    _, _, salt, digest = (*entry.split("|"), "", "")[:4]
    try:
        key = base64.b64decode(salt)
    except binascii.Error:
        return False
    return base64.b64encode(hmac.digest(key, name.encode(), "sha1")).decode("ascii") == digest


def _text(key: str, value: bytes) -> str:
    try:
        # A newline at the end comes from `echo` and from editors; no such value ends in one on purpose.
        return value.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise _invalid(f"{key} is not UTF-8 text") from None


def _invalid(why: str) -> Problem:
    return Problem(Reason.SecretInvalid, why)
