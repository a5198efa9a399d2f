"""Where Git may connect to: each address in each form that leads to it, names, the lists, and the API server."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api.addresses import literal
from setpoint.api.hosts import HostRules, choose, entry, refusal

NONE = HostRules()
LOOPBACK = HostRules(allowed=("127.0.0.0/8", "::1/128", "*"))
API = HostRules(api=(("10.96.0.1", 443), ("api.example.org", 6443), ("fd00::10", 443), ("192.0.2.9", 6443)))
ALLOWED, DENIED = "settings.gitAllowedHosts", "settings.gitDeniedHosts"


def judged(rules: HostRules, address: str, port: int = 443, host: str = "git.example.org") -> str | None:
    return refusal(rules, host, ip_address(address), port)


RESERVED = {
    "a loopback address": [
        *("127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::127.0.0.1"),
        *("::127.0.0.1", "::ffff:0:127.0.0.1", "2002:7f00:1::", "2002:7f00:1::5", "2001:0:7f00:1::"),
        *(
            "2001:0:808:808:0:0:80ff:fffe",
            "64:ff9b:1::127.0.0.1",
            "64:ff9b:1:7f00:0:100::",
            "64:ff9b:1:7f:0:1::",
        ),
        *("64:ff9b:1::7f:0:100:0", "2001:db8::5efe:127.0.0.1", "2001:db8::200:5efe:127.0.0.1"),
    ],
    "an unspecified address": ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"],
    "a multicast address": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff05::2", "::ffff:224.0.0.1"],
    "a link-local address": [
        *("169.254.0.1", "169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "febf::1"),
        *("::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
    ],
    "where a cloud keeps the credentials of its machines": [
        *("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
        *("fd00:c1::a9fe:a9fe", "::ffff:100.100.100.200", "64:ff9b::168.63.129.16"),
    ],
}


@pytest.mark.parametrize(("what", "address"), [(what, each) for what in RESERVED for each in RESERVED[what]])
def test_what_is_reserved_is_denied_in_each_form(what: str, address: str) -> None:
    assert judged(NONE, address) == f"it is {what}; {ALLOWED} does not list it"
    everything = HostRules(allowed=("0.0.0.0/0", "::/0", "*", "git.example.org", "0.0.0.0/1", "fe00::/7"))
    assert judged(everything, address) == f"it is {what}; {ALLOWED} does not list it"


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "8.8.8.8", "100.64.0.1", "169.253.255.255", "169.255.0.1"),
        *("2001:db8::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::10.1.2.3", "fec0::1"),
        *("2002:0808:0808::1", "126.255.255.255", "128.0.0.1", "223.255.255.255", "1.0.0.0"),
    ],
)
def test_all_others_are_allowed(address: str) -> None:
    assert judged(NONE, address) is None
    assert judged(LOOPBACK, address) is None


def test_a_network_within_what_is_reserved_opens_that_part() -> None:
    assert [judged(LOOPBACK, each) for each in ("127.0.0.1", "::1", "::ffff:127.9.9.9")] == [None] * 3
    assert judged(HostRules(allowed=("127.0.0.1/32", "*")), "127.0.0.1") is None
    assert "loopback" in str(judged(HostRules(allowed=("127.0.0.1/32", "*")), "127.0.0.2"))
    assert "link-local" in str(judged(LOOPBACK, "169.254.169.254"))
    assert judged(HostRules(allowed=("fe80::/16",)), "fe80::1%eth0") is None


def test_a_list_of_allowed_ones_leaves_no_others() -> None:
    rules = HostRules(allowed=("git.example.org", "*.corp.example", "10.1.0.0/16", "2001:db8::/32"))
    allowed = [
        *(("git.example.org", "8.8.8.8"), ("Git.Example.ORG.", "8.8.8.8"), ("a.b.corp.example", "8.8.8.8")),
        *(("other.org", "10.1.2.3"), ("other.org", "::ffff:10.1.2.3"), ("other.org", "2001:db8::7")),
    ]
    denied = [
        *(("other.org", "8.8.8.8"), ("corp.example", "8.8.8.8"), ("xgit.example.org", "8.8.8.8")),
        *(("git.example.org.evil.org", "8.8.8.8"), ("badcorp.example", "8.8.8.8"), ("other.org", "10.2.0.1")),
        # An address that merely holds an allowed one: anybody can have such a network.
        *(("other.org", "2002:0a01:0203::1"), ("other.org", "2a00::5efe:10.1.2.3")),
    ]
    assert [judged(rules, address, host=host) for host, address in allowed] == [None] * len(allowed)
    said = {judged(rules, address, host=host) for host, address in denied}
    assert said == {f"{ALLOWED} does not list it"}
    assert "link-local" in str(judged(rules, "169.254.169.254")), "the name alone opens nothing"


def test_what_is_denied_is_so_though_it_is_allowed_too() -> None:
    rules = HostRules(
        allowed=("*", "127.0.0.0/8"), denied=("git.example.org", "*.bad", "10.0.0.0/8", "127.0.0.9/32")
    )
    assert judged(rules, "8.8.8.8") == f"{DENIED} denies it"
    others = [
        ("a.bad", "8.8.8.8"),
        ("x", "10.1.1.1"),
        ("x", "::ffff:10.1.1.1"),
        ("x", "2002:a01:101::"),
        ("x", "127.0.0.9"),
    ]
    assert [judged(rules, address, host=host) for host, address in others] == [f"{DENIED} denies it"] * 5
    assert judged(rules, "127.0.0.8", host="x") is None


def test_the_api_server_is_denied_at_its_port_alone() -> None:
    said = f"it is the API server; {ALLOWED} does not list it"
    for address in ("10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::10.96.0.1", "fd00::10"):
        assert judged(API, address, 443) == said
        assert judged(API, address, 22) is None
    assert judged(API, "192.0.2.9", 6443) == said
    assert judged(API, "192.0.2.9", 443) is None
    assert refusal(API, "API.example.org.", None, 6443) == said
    assert refusal(API, "api.example.org", None, 443) is None
    for entries, expected in ((("10.0.0.0/8", "*"), said), (("10.96.0.1/32", "*"), None)):
        for host in ("git.example.org", "10.96.0.1"):
            assert judged(HostRules(entries, (), API.api), "10.96.0.1", 443, host) == expected
        assert refusal(HostRules(entries, (), API.api), "10.96.0.1", None, 443) == expected
    assert refusal(HostRules(("api.example.org",), (), API.api), "api.example.org", None, 6443) is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        *(("127.0.0.1", "127.0.0.1"), ("127.1", "127.0.0.1"), ("127.0.1", "127.0.0.1"), ("127.0.0.1.", "127.0.0.1")),
        *(("2130706433", "127.0.0.1"), ("0x7f000001", "127.0.0.1"), ("0X7F.1", "127.0.0.1"), ("017700000001", "127.0.0.1")),
        *(("0177.0.0.1", "127.0.0.1"), ("0177.0.0x0.0x1", "127.0.0.1"), ("127.0.256", "127.0.1.0"), ("0", "0.0.0.0")),
        *(("0x", "0.0.0.0"), ("010.0.0.1", "8.0.0.1"), ("[::]", "::"), ("::1", "::1"), ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1")),
        *(("fe80::1%eth0", "fe80::1%eth0"), ("4294967295", "255.255.255.255")),
    ],
)  # fmt: skip
def test_a_host_that_is_an_address_is_read_as_one(host: str, address: str) -> None:
    assert literal(host) == ip_address(address)
    if address.startswith("127."):
        assert refusal(NONE, host, None, 443) == f"it is a loopback address; {ALLOWED} does not list it"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1..", "0x7f.1.."])
def test_loopback_by_its_name_or_behind_dots_goes_to_no_proxy(host: str) -> None:
    assert refusal(NONE, host, None, 443) == f"it is a loopback address; {ALLOWED} does not list it"
    assert refusal(HostRules(("127.0.0.0/8", "*")), host, None, 443) is None


@pytest.mark.parametrize(
    "host", ["git.example.org", "1e100.net", "a.0x7f.example", "", ".", "7f000001", "x" * 2000, "git"]
)
def test_a_name_is_none_and_is_judged_by_the_lists_alone(host: str) -> None:
    assert literal(host) is None
    assert refusal(NONE, host, None, 443) is None


@pytest.mark.parametrize(
    "host",
    [
        "4294967296",
        "256.1.1.1",
        "1.2.3.4.5",
        "127.0.0.08",
        "1.2.3.256",
        "x.1",
        "1:2:3",
        "a:80",
        "0xff.0x100.1.1",
        "9" * 2000,
    ],
)
def test_a_number_that_is_no_address_is_given_to_no_proxy(host: str) -> None:
    """Each program reads such a one as it likes: cut off, or as a name."""
    assert literal(host) is None
    assert refusal(NONE, host, None, 443) == "it is written as a number, and is no address"


def test_of_the_addresses_of_a_name_the_allowed_ones_are_used_alone() -> None:
    all_of_them = [ip_address(each) for each in ("::1", "8.8.8.8", "127.0.0.1", "2001:db8::1", "10.0.0.1")]
    found, why = choose(HostRules(denied=("10.0.0.0/8",)), "git.example.org", all_of_them, 443)
    assert [str(each) for each in found] == ["8.8.8.8", "2001:db8::1"]
    assert why == f"it is a loopback address; {ALLOWED} does not list it"
    assert choose(NONE, "x", [ip_address("8.8.8.8")], 443) == ([IPv4Address("8.8.8.8")], None)


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:", "64:ff9b::"]))
def test_another_form_of_an_address_is_judged_as_the_address(address: IPv4Address, prefix: str) -> None:
    rules = HostRules(
        allowed=("128.0.0.0/1", "127.0.0.0/8"), denied=("192.0.0.0/4",), api=(("130.0.0.1", 443),)
    )
    assert judged(rules, f"{prefix}{address}") == judged(rules, str(address))


@given(st.ip_addresses(v=4))
def test_a_number_in_any_base_is_read_as_the_address(address: IPv4Address) -> None:
    number = int(address)
    assert {
        literal(text) for text in (str(number), hex(number), f"0{number:o}" if number else "0", str(address))
    } == {address}


def test_entries_are_read_when_the_operator_starts() -> None:
    pairs = {
        "Git.Example.org.": "git.example.org",
        "*.Corp.example": "*.corp.example",
        "*": "*",
        "git": "git",
        "10.0.0.0/8": "10.0.0.0/8",
        "192.0.2.7": "192.0.2.7/32",
        "::1": "::1/128",
        "FE80::/10": "fe80::/10",
    }
    assert {text: entry(text) for text in pairs} == pairs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "git.*",
        "**",
        "a b",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "0x7f.1",
        "127.1",
        "https://git",
        "git:22",
        "-a",
        "git.example.org/x",
    ],
)
def test_an_entry_that_says_nothing_clear_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        entry(text)
