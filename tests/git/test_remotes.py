"""URLs of repositories and submodules."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api import validation
from setpoint.api.reasons import Problem, Reason
from setpoint.api.source import SourceSpec
from setpoint.git.credentials import NO_CREDENTIALS, Credentials
from setpoint.git.remotes import Remote, Repository, parse_url, submodule_remote, submodule_repository


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


DOTS = [
    *(
        "..",
        ".",
        "%2e%2e",
        "%2E.",
        ".%2e",
        "%2e",
        "%252e%252E",
        "%25252e.",
        "%%32e%2%65",
        "..;x=1",
        "%2e.%3bx",
    ),
    *(
        "x%2f..",
        "x%2F%2e%2e%2fy",
        "x%5c..",
        "%5c%2e%2e%5cy",
        "x%255c..%252fy",
        "..%00",
        "..%20",
        "..%3fx",
        "..%23x",
    ),
]
BEFORE = ["https://h.example/team/", "http://h.example/", "ssh://git@h.example/team/", "ssh://h.example:22/", "git@h.example:team/",
          "git@h.example:", "git@h.example:/", "git@[2001:db8::1]:team/", "h.example:", "file:///srv/", "https://h.example//"]  # fmt: skip


@pytest.mark.parametrize("dots", DOTS)
@pytest.mark.parametrize("before", BEFORE)
def test_a_path_means_what_it_says(before: str, dots: str) -> None:
    """Else a rule on how URLs begin would let through what lies elsewhere on the server."""
    for url in (f"{before}{dots}/s3cret", f"{before}x/{dots}", f"{before}x//{dots}//y", f"{before}{dots}/"):
        with pytest.raises(Problem, match=r"a segment that is \. or \.\.") as caught:
            parse_url(url, allow_file=True)
        assert caught.value.reason is Reason.InvalidSpec
        assert caught.value.message.startswith("spec.url: ")
        assert "s3cret" not in caught.value.message
        parent = parse_url("file:///srv/app", allow_file=True)
        with pytest.raises(Problem, match=r"submodule URL: .* a segment that is"):
            submodule_remote(parent, url)


@pytest.mark.parametrize(
    "path",
    ["...", "a..b", "..a", "a..", ".git", ".github/x.git", "a.b", "%2egithub", "a%2fb", "100%25", "a%20b", "~ana/app",
     "a//b", "v1.0;x", "%E2%80%A6", "a:.b", "a@..b"],
)  # fmt: skip
@pytest.mark.parametrize("before", ["https://h.example/", "ssh://git@h.example/", "git@h.example:"])
def test_dots_within_a_name_are_only_dots(before: str, path: str) -> None:
    remote = parse_url(f"{before}{path}/app")
    assert remote.path.strip("/") == f"{path}/app"
    assert SourceSpec(url=f"{before}{path}/app").url


@pytest.mark.parametrize("url", ["https://h.example/" + "%25" * 700, "git@h.example:" + "a" * 2048])
def test_a_url_is_no_longer_than_the_api_takes(url: str) -> None:
    with pytest.raises(Problem, match="longer than 2,048"):
        parse_url(url)
    with pytest.raises(Problem, match="longer than 2,048"):
        submodule_remote(parse_url("https://h.example/app"), "../" + "%25" * 700)


@pytest.mark.parametrize("encoded", ["%" + "25" * 9 + "41", "%" + "25" * 600])
def test_a_path_that_is_encoded_again_and_again_is_refused(encoded: str) -> None:
    """Each round takes as long as the text, and a commit may name a thousand submodules."""
    for url in (f"https://h.example/{encoded}", f"git@h.example:{encoded}"):
        with pytest.raises(Problem, match="percent-encoded more than 8 times"):
            parse_url(url)
    with pytest.raises(Problem, match="percent-encoded more than 8 times"):
        submodule_remote(parse_url("https://h.example/app"), f"./{encoded}")
    assert parse_url("https://h.example/%" + "25" * 7 + "41").host == "h.example"


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
        ("https://h.example/team/app", "./../lib/./x/..", "https://h.example/team/lib"),
        ("https://h.example/team//app", "..//lib", "https://h.example/team/lib"),
        ("https://h.example/team/app", "../..lib", "https://h.example/team/..lib"),
        ("https://h.example/team/app", "../../..lib", "https://h.example/..lib"),
        ("https://h.example/app", "../tëam/a b", "https://h.example/t%C3%ABam/a%20b"),
        ("git@h.example:app", "../lib", "git@h.example:lib"),
        ("git@h.example:~ana/app", "../lib", "git@h.example:~ana/lib"),
        ("ssh://h.example/~ana/app", "../../lib", "ssh://git@h.example/lib"),
    ],
)
def test_submodule_urls(parent: str, url: str, resolved: str) -> None:
    remote = submodule_remote(parse_url(parent, allow_file=True), url)
    assert remote.url == resolved
    assert parse_url(remote.url, allow_file=True) == remote


@pytest.mark.parametrize(
    "url",
    [
        "../../..",
        "../..",
        "../../../../etc",
        "/srv/lib",
        "lib",
        "file:///srv/lib",
        "ext::sh",
        "../x/../../../y",
        "./../../..",
        "../%2e%2e/lib",
        "../x%2f..%2f..%2fy",
        "../%252e",
        "./.%2e/.%2e/lib",
        "../..%5c..%5clib",
        "../..\\..\\lib",
        "../..;a/lib",
        "../lib?x=1",
        "../lib#x",
        "../a\nb",
        "..",
        ".",
        "..\\lib",
        "../\x00",
    ],
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
    """Return what was parsed, or None after a refusal; any other error is a bug."""
    with suppress(Problem):
        return parse()
    return None


PARTS = st.sampled_from([*"/.%;?#\\:@a", "..", "%2e", "%2E", "%25", "2e", "%2f", "%5c", "%3b", "../", "/.."])


@given(st.sampled_from(BEFORE), st.lists(PARTS, max_size=8).map("".join))
def test_the_api_server_takes_nothing_less_than_the_operator(before: str, path: str) -> None:
    """What CEL refuses for its dots is refused here too; the other way round, odd encodings need a program."""
    if not validation.NO_DOTS.holds(SourceSpec.model_construct(url=before + path)):
        assert understood(lambda: parse_url(before + path, allow_file=True)) is None


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
