"""Files as SOPS 3 writes them, with values that nobody holds the key of; and pointers of Git LFS."""

from __future__ import annotations

import json

PLAIN = "plainly-visible-value"
"""A value that SOPS was told not to encrypt: it must not be seen in any message either."""


def enc(text: str) -> str:
    """Return a value as SOPS writes it."""
    return f"ENC[AES256_GCM,data:{text}5jQ+/b2A==,iv:k0Zx3yD7hQk=,tag:{text}Tm9wZQ==,type:str]"


MAC = enc("bWFj")
RECIPIENT = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"
ARMOR = (
    "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YxCg==\n-----END AGE ENCRYPTED FILE-----\n"
)
METADATA = {
    "age": [{"recipient": RECIPIENT, "enc": ARMOR}],
    "lastmodified": "2026-01-01T12:00:00Z",
    "mac": MAC,
    "encrypted_regex": "^(data|stringData)$",
    "version": "3.11.0",
}
BLOCK = f"""sops:
    age:
        - recipient: {RECIPIENT}
          enc: |
            -----BEGIN AGE ENCRYPTED FILE-----
            YWdlLWVuY3J5cHRpb24ub3JnL3YxCg==
            -----END AGE ENCRYPTED FILE-----
    lastmodified: "2026-01-01T12:00:00Z"
    mac: {MAC}
    encrypted_regex: ^(data|stringData)$
    version: 3.11.0
"""
YAML = f"password: {enc('cGFzcw')}\nplain: {PLAIN}\n{BLOCK}"
JSON = json.dumps({"password": enc("anNvbg"), "plain": PLAIN, "sops": METADATA}, indent="\t")
BINARY = json.dumps({"data": enc("YmluYXJ5"), "sops": METADATA}, indent="\t")
_FLAT = ARMOR.replace("\n", "\\n")
DOTENV = f"""# settings
PASSWORD={enc("ZW52")}
PLAIN={PLAIN}
sops_age__list_0__map_enc={_FLAT}
sops_age__list_0__map_recipient={RECIPIENT}
sops_lastmodified=2026-01-01T12:00:00Z
sops_mac={MAC}
sops_version=3.11.0
"""
INI = f"""[database]
password = {enc("aW5p")}
plain    = {PLAIN}

[sops]
age__list_0__map_enc       = {_FLAT}
age__list_0__map_recipient = {RECIPIENT}
lastmodified               = 2026-01-01T12:00:00Z
mac                        = {MAC}
version                    = 3.11.0
"""

LFS = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 12345\n"
)


def manifest(kind: str = "Secret", version: str = "v1", name: str = "s", annotations: str = "{}") -> str:
    """Return a manifest whose data SOPS encrypted."""
    return (
        f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, annotations: {annotations}}}\n"
        f"data:\n    password: {enc('c2VjcmV0')}\n    plain: {PLAIN}\n{BLOCK}"
    )
