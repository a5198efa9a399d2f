"""What a Secret says, and that none of it shows."""

from __future__ import annotations

import base64
import shutil
import subprocess
from dataclasses import fields
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api.reasons import Problem, Reason
from setpoint.git.credentials import NO_CREDENTIALS, Credentials, credentials_from_secret, knows_host
from setpoint.git.remotes import parse_url

HTTPS = parse_url("https://git.example.org/app")
HTTP = parse_url("http://git.example.org/app")
SSH = parse_url("ssh://ana@git.example.org/app")
needs_ssh_keygen = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")
HOSTS = b"git.example.org ssh-ed25519 AAAA\n"
CA = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@cache
def key(passphrase: str = "", form: str = "RFC4716") -> bytes:
    """Make a private key: RFC4716 is OpenSSH's own format, PEM and PKCS8 are OpenSSL's."""
    kind = "ed25519" if form == "RFC4716" else "rsa"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "id"
        command = ["ssh-keygen", "-q", "-t", kind, "-m", form, "-N", passphrase, "-f", str(file)]
        subprocess.run(command, check=True, capture_output=True)
        return file.read_bytes()


def refusal(data: dict[str, bytes], url: str = HTTPS.url) -> str:
    with pytest.raises(Problem) as caught:
        credentials_from_secret(parse_url(url, allow_file=True), data)
    assert caught.value.reason is Reason.SecretInvalid
    return caught.value.message


def test_basic() -> None:
    read = credentials_from_secret(HTTPS, {"username": b"ana", "password": "pässword\n".encode()})
    assert read == Credentials(username="ana", password="pässword")
    header = read.authorization()
    assert header is not None
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == "ana:pässword"


def test_the_url_may_name_the_user() -> None:
    remote = parse_url("https://ana@git.example.org/app")
    assert credentials_from_secret(remote, {"password": b"x"}).username == "ana"


def test_bearer_and_ca() -> None:
    read = credentials_from_secret(HTTPS, {"bearerToken": b"t0ken\n", "ca.crt": CA, "other": b"\xff"})
    assert read.authorization() == "Bearer t0ken"
    assert read.ca == CA.decode().rstrip()
    assert credentials_from_secret(HTTPS, {"ca.crt": CA}).authorization() is None


@needs_ssh_keygen
@pytest.mark.parametrize("form", ["RFC4716", "PEM", "PKCS8"])
@pytest.mark.parametrize("passphrase", ["", "open sesame"])
def test_ssh_keys_and_their_passphrase(form: str, passphrase: str) -> None:
    data = {"identity": key(passphrase, form), "known_hosts": HOSTS}
    if passphrase:
        assert "identity is encrypted" in refusal(data, SSH.url)
        data["password"] = passphrase.encode()
    read = credentials_from_secret(SSH, data)
    assert (read.username, read.passphrase) == ("ana", passphrase)
    assert read.identity.strip() == key(passphrase, form).decode().strip()


@needs_ssh_keygen
def test_a_password_beside_a_plain_key_is_not_its_passphrase() -> None:
    read = credentials_from_secret(SSH, {"identity": key(), "known_hosts": HOSTS, "password": b"x"})
    assert read.passphrase == ""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "neither username and password nor bearerToken nor ca.crt"),
        ({"username": b"ana"}, "password is missing"),
        ({"password": b"s3cret"}, "username is missing"),
        ({"username": b"", "password": b"s3cret"}, "username is missing"),
        ({"username": b"a:b", "password": b"s3cret"}, "colon"),
        ({"username": b"ana", "password": b"s3cret\r\nX: y"}, "password holds a control character"),
        ({"bearerToken": b"s3cret\r\nX: y"}, "bearerToken holds a character"),
        ({"bearerToken": b"s3cret", "password": b"s3cret"}, "keep one of the two"),
        ({"username": b"ana", "password": b"s3cret\xff"}, "password is not UTF-8"),
        ({"ca.crt": b"s3cret"}, "no certificate in PEM"),
        ({"tls.crt": CA, "tls.key": b"s3cret"}, "client certificates"),
        ({"username": b"ana", "password": b"s3cret", "tls.key": b"s3cret"}, "client certificates"),
        ({"identity": b"s3cret", "known_hosts": HOSTS}, "identity is for ssh"),
    ],
)
def test_what_https_refuses(data: dict[str, bytes], words: str) -> None:
    message = refusal(data)
    assert words in message
    assert "s3cret" not in message


@pytest.mark.parametrize("data", [{"username": b"ana", "password": b"s3cret"}, {"bearerToken": b"s3cret"}])
@pytest.mark.parametrize("url", [HTTP.url, "file:///srv/app"])
def test_no_credentials_without_protection(data: dict[str, bytes], url: str) -> None:
    message = refusal(data, url)
    assert "use https" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "identity is missing"),
        ({"username": b"ana", "password": b"s3cret"}, "identity is missing"),
        ({"identity": b"-----BEGIN RSA PRIVATE KEY-----"}, "known_hosts is missing"),
        ({"identity": b"-----BEGIN RSA PRIVATE KEY-----", "known_hosts": b"# none\n\n"}, "holds no host key"),
        ({"identity": b"s3cret", "known_hosts": HOSTS}, "not a private key"),
        (
            {
                "identity": b"-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret!\n-----END OPENSSH PRIVATE KEY-----",
                "known_hosts": HOSTS,
            },
            "base64 cannot be read",
        ),
        (
            {
                "identity": b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
                "known_hosts": HOSTS,
            },
            "does not start as an OpenSSH key",
        ),
    ],
)
def test_what_ssh_refuses(data: dict[str, bytes], words: str) -> None:
    message = refusal(data, SSH.url)
    assert words in message
    assert "s3cret" not in message


VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=12)


@given(st.lists(VALUES, min_size=7, max_size=7))
def test_no_value_is_in_a_repr_or_digest(values: list[str]) -> None:
    shown = Credentials(*values)
    for text in (repr(shown), str(shown), shown.digest, shown.trust):
        assert not any(value in text for value in values)


def test_the_digest_tells_every_field_and_its_place() -> None:
    one = [Credentials(**{field.name: "x"}) for field in fields(Credentials)]
    moved = [Credentials(username="ab", password="c"), Credentials(username="a", password="bc")]
    digests = {each.digest for each in (NO_CREDENTIALS, *one, *moved)}
    assert len(digests) == 1 + len(one) + len(moved)


def test_trust_is_ca_and_known_hosts_alone() -> None:
    full = Credentials("u", "p", "b", "i", "s", "hosts", "ca")
    assert full.trust_only() == Credentials(known_hosts="hosts", ca="ca")
    assert full.trust == full.trust_only().trust
    assert full.trust not in {
        NO_CREDENTIALS.trust,
        Credentials(ca="ca").trust,
        Credentials(known_hosts="cahosts").trust,
    }


@pytest.mark.parametrize(
    ("host", "port", "known"),
    [
        ("git.example.org", 22, True),
        ("GIT.example.org", 22, True),
        ("git.example.org", 2222, False),
        ("other.example.org", 2222, True),
        ("other.example.org", 22, False),
        ("192.0.2.1", 22, True),
        ("signed.example.org", 22, True),
        ("commented.example.org", 22, False),
    ],
)
def test_who_is_in_known_hosts(host: str, port: int, known: bool) -> None:
    text = (
        "# commented.example.org ssh-ed25519 AAAA\n\n"
        "git.example.org,192.0.2.1 ssh-ed25519 AAAA\n"
        "[other.example.org]:2222 ssh-rsa AAAA\n"
        "@cert-authority signed.example.org ssh-rsa AAAA\n"
        "|1|broken\n|1|!|!\n"
    )
    assert knows_host(text, host, port) is known


@needs_ssh_keygen
def test_hashed_known_hosts_as_ssh_keygen_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJr1mvQ0JgKxyPqN0q0Yqz3Jq0m3b0bM6nXcY2rj4b0a\n"
    file.write_text(f"git.example.org {public}[git.example.org]:2222 {public}")
    subprocess.run(["ssh-keygen", "-H", "-f", str(file)], check=True, capture_output=True)
    text = file.read_text()
    assert "example" not in text.replace(public.strip(), "")
    assert knows_host(text, "git.example.org", 22)
    assert knows_host(text, "git.example.org", 2222)
    assert not knows_host(text, "git.example.org", 2223)
    assert not knows_host(text, "other.example.org", 22)
