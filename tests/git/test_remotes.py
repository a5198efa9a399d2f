"""URLs of repositories and submodules."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.credentials import Credentials
from setpoint.reasons import Problem, Reason
from setpoint.remotes import (
    NO_CREDENTIALS,
    Remote,
    Repository,
    parse_url,
    submodule_remote,
    submodule_repository,
)


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        (
            "https://Git.example.org/team/app.git",
            Remote("https", "git.example.org", 443, "/team/app.git", "https://git.example.org/team/app.git"),
        ),
        (
            "https://org@git.example.org:443/team/_git/app",
            Remote(
                "https",
                "git.example.org",
                443,
                "/team/_git/app",
                "https://git.example.org/team/_git/app",
                "org",
            ),
        ),
        (
            "https://git.example.org/tëam/%20app",
            Remote(
                "https",
                "git.example.org",
                443,
                "/t%C3%ABam/%20app",
                "https://git.example.org/t%C3%ABam/%20app",
            ),
        ),
        (
            "http://git.example.org:8080/app",
            Remote("http", "git.example.org", 8080, "/app", "http://git.example.org:8080/app"),
        ),
        (
            "https://[2001:db8::1]:8443/app",
            Remote("https", "2001:db8::1", 8443, "/app", "https://[2001:db8::1]:8443/app"),
        ),
        (
            "ssh://git@git.example.org/team/app.git",
            Remote(
                "ssh", "git.example.org", 22, "/team/app.git", "ssh://git@git.example.org/team/app.git", "git"
            ),
        ),
        (
            "ssh://git.example.org:2222/app",
            Remote("ssh", "git.example.org", 2222, "/app", "ssh://git@git.example.org:2222/app", "git"),
        ),
        (
            "git@git.example.org:team/app.git",
            Remote("ssh", "git.example.org", 22, "team/app.git", "git@git.example.org:team/app.git", "git"),
        ),
        (
            "ana@git.example.org:/srv/app.git",
            Remote(
                "ssh", "git.example.org", 22, "/srv/app.git", "ssh://ana@git.example.org/srv/app.git", "ana"
            ),
        ),
    ],
)
def test_what_is_understood(url: str, remote: Remote) -> None:
    assert parse_url(url) == remote


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "write it as"),
        ("team/app", "write it as"),
        ("ftp://git.example.org/app", "scheme ftp is not supported"),
        ("git://git.example.org/app", "scheme git is not supported"),
        ("https://ana:s3cret@git.example.org/app", "holds credentials"),
        ("ssh://ana:s3cret@git.example.org/app", "holds credentials"),
        ("http://s3cret@git.example.org/app", "holds credentials"),
        ("https://git.example.org/app?s3cret=1", "a query"),
        ("https://git.example.org/app#s3cret", "a query or fragment"),
        ("https://git.example.org", "path of the repository is missing"),
        ("https://git.example.org//", "path of the repository is missing"),
        ("https:///app", "host is missing"),
        ("https://-oProxyCommand=s3cret/app", "no host name"),
        ("-oProxyCommand=s3cret:app", "no host name"),
        ("https://git.example.org:0x50/app", "cannot be read"),
        ("https://git.example.org:70000/app", "cannot be read"),
        ("https://[::1/app", "cannot be read"),
        ("https://git.example.org/a b", "a blank"),
        ("https://git.example.org/a\nb", "control character"),
        ("https://git.example.org\\@s3cret/a", "backslash"),
        ("file:///srv/app", "not allowed"),
    ],
)
def test_what_is_refused_and_never_quoted(url: str, words: str) -> None:
    with pytest.raises(Problem, match=words) as caught:
        parse_url(url)
    assert caught.value.reason is Reason.InvalidSpec
    assert caught.value.message.startswith("spec.url: ")
    assert "s3cret" not in caught.value.message


def test_files_only_where_allowed() -> None:
    assert parse_url("file:///srv/app", allow_file=True) == Remote(
        "file", "", 0, "/srv/app", "file:///srv/app"
    )
    for url in ("file://host/srv/app", "file:///"):
        with pytest.raises(Problem, match="file:///absolute/path"):
            parse_url(url, allow_file=True)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://git.example.org/a", "git.example.org"),
        ("https://git.example.org:8443/a", "git.example.org:8443"),
        ("https://[2001:db8::1]/a", "[2001:db8::1]"),
        ("git@git.example.org:a", "git.example.org"),
    ],
)
def test_the_place_that_messages_name(url: str, place: str) -> None:
    assert parse_url(url).place == place


@pytest.mark.parametrize(
    ("parent", "url", "resolved"),
    [
        ("https://h.example/team/app.git", "../lib.git", "https://h.example/team/lib.git"),
        ("https://h.example/team/app.git/", "../../other/lib", "https://h.example/other/lib"),
        ("https://h.example:8443/team/app", "./lib", "https://h.example:8443/team/app/lib"),
        ("git@h.example:team/app.git", "../lib.git", "git@h.example:team/lib.git"),
        ("ana@h.example:/srv/app.git", "../lib.git", "ssh://ana@h.example/srv/lib.git"),
        ("ssh://git@h.example:2222/a/b", "../c", "ssh://git@h.example:2222/a/c"),
        ("https://h.example/team/app", "git@other.example:x/y", "git@other.example:x/y"),
        ("file:///srv/app", "file:///srv/lib", "file:///srv/lib"),
        ("file:///srv/app", "../lib", "file:///srv/lib"),
    ],
)
def test_submodule_urls(parent: str, url: str, resolved: str) -> None:
    assert submodule_remote(parse_url(parent, allow_file=True), url).url == resolved


@pytest.mark.parametrize(
    "url", ["../../..", "../..", "../../../../etc", "/srv/lib", "lib", "file:///srv/lib", "ext::sh"]
)
def test_a_submodule_url_that_leaves_or_is_none(url: str) -> None:
    with pytest.raises(Problem) as caught:
        submodule_remote(parse_url("https://h.example/team/app"), url)
    assert caught.value.reason is Reason.InvalidSpec
    assert caught.value.message.startswith("submodule URL: ")


FULL = Credentials(username="ana", password="s3cret", known_hosts="h.example ssh-ed25519 AAAA", ca="CA")


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("../lib", True),
        ("https://h.example:443/lib", True),
        ("https://H.example/lib", True),
        ("https://h.example:8443/lib", False),
        ("http://h.example/lib", False),
        ("ssh://h.example/lib", False),
        ("https://h.example.evil.example/lib", False),
        ("https://evil.example/h.example/lib", False),
    ],
)
def test_credentials_stay_on_their_origin(url: str, sent: bool) -> None:
    parent = Repository(parse_url("https://h.example/team/app"), FULL)
    child = submodule_repository(parent, url)
    assert child.credentials == (FULL if sent else FULL.trust_only())
    assert (child.credentials.authorization() is not None) is sent
    assert child.credentials.trust == FULL.trust


def test_an_ssh_submodule_logs_in_as_its_own_url_says() -> None:
    keys = Credentials(username="git", identity="KEY", known_hosts="h.example ssh-ed25519 AAAA")
    child = submodule_repository(Repository(parse_url("git@h.example:a/b"), keys), "ssh://ana@h.example/lib")
    assert (child.credentials.username, child.credentials.identity) == ("ana", "KEY")


HOSTS = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]\.example", fullmatch=True)
SEGMENTS = st.lists(st.from_regex(r"[A-Za-z0-9_]{1,8}(\.git)?", fullmatch=True), min_size=1, max_size=4)


@given(st.sampled_from(["https", "http", "ssh"]), HOSTS, st.none() | st.integers(1, 65535), SEGMENTS)
def test_parsing_is_idempotent(scheme: str, host: str, port: int | None, segments: list[str]) -> None:
    place = host if port is None else f"{host}:{port}"
    remote = parse_url(f"{scheme}://{place}/{'/'.join(segments)}")
    assert parse_url(remote.url) == remote
    assert Repository(remote).credentials is NO_CREDENTIALS


def understood(parse: Callable[[], Remote]) -> Remote | None:
    """Give what was parsed, or None after a refusal; any other error is a bug."""
    with suppress(Problem):
        return parse()
    return None


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    if remote := understood(lambda: parse_url(text)):
        assert remote.host
        assert remote.path.strip("/")
        assert parse_url(remote.url) == remote


@given(SEGMENTS, st.lists(st.sampled_from(["..", ".", "x"]), min_size=1, max_size=8))
def test_a_relative_submodule_stays_on_the_server(segments: list[str], steps: list[str]) -> None:
    parent = parse_url(f"https://h.example/{'/'.join(segments)}")
    if child := understood(lambda: submodule_remote(parent, f"./{'/'.join(steps)}")):
        assert child.origin == parent.origin
        assert ".." not in child.path.split("/")
