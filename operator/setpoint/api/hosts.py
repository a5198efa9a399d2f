"""Decides where Git may connect to (pure): by the name of the host, the address behind it, and the port.

In: what an administrator allows and denies, and where the API server is. Out: nothing, or why not, in words that name the rule and the
setting. An address counts in whatever form it is written, and with the IPv4 address that lies in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

ALLOWED, DENIED = "settings.gitAllowedHosts", "settings.gitDeniedHosts"
ANY = "*"
_NAME = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(each) for each in texts)


# What they are called, and which they are.
RESERVED: Sequence[tuple[str, tuple[Network, ...]]] = (
    ("a loopback address", _networks("127.0.0.0/8", "::1")),
    ("an unspecified address", _networks("0.0.0.0/8", "::")),
    ("a multicast address", _networks("224.0.0.0/4", "ff00::/8")),
    ("a link-local address", _networks("169.254.0.0/16", "fe80::/10")),
    (
        "where a cloud keeps the credentials of its machines",
        # Azure, Alibaba, Oracle; AWS (of machines, and of pods), Google, Oracle, Scaleway, Akamai. All others are link-local.
        _networks("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23")
        + _networks("fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fd00:a9fe:a9fe::1"),
    ),
)
# Where an IPv6 address holds the IPv4 address that it leads to: network, and by how many bits it is shifted.
_TEREDO, _LOCAL_NAT64 = _networks("2001::/32", "64:ff9b:1::/48")  # RFC 4380, RFC 8215
# Mapped (RFC 4291), NAT64 (RFC 6052).
_SAME = tuple((each, 0) for each in _networks("::ffff:0:0/96", "64:ff9b::/96"))
# Translated (RFC 2765), compatible (RFC 4291), 6to4 (RFC 3056), the server of Teredo.
_HELD = tuple(
    zip(_networks("::ffff:0:0:0/96", "::/96", "2002::/16", "2001::/32"), (0, 0, 80, 64), strict=True)
)
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214
_LOW = 2**32 - 1


@dataclass(frozen=True, slots=True)
class HostRules:
    """What is allowed and denied: names, `*.` and what they end in, addresses, networks, or `*`.

    Without `allowed` all is, but for what is reserved. `api`: host and port of each place of the API server.
    """

    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    api: tuple[tuple[str, int], ...] = ()


RESERVED_ALONE = HostRules()
"""The rules of an administrator who says nothing."""


def entry(text: str) -> str:
    """Return an entry of a list of hosts as it is compared. Raises ValueError, in words for people."""
    lower = text.lower().removesuffix(".")
    if "/" in lower or ":" in lower or _looks_numeric(lower):
        return str(ip_network(lower))
    if lower != ANY and not _NAME.fullmatch(lower):
        raise ValueError(f"{text} is no host name, *.domain, address, network or *")
    return lower


def literal(host: str) -> Address | None:
    """Return the address that a host is, in any form that C libraries read: 0x7f.1, 017700000001, 2130706433."""
    host = host.removesuffix(".").strip("[]").lower()
    with suppress(ValueError):
        return ip_address(host)
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(each) for each in parts):
        return None
    try:
        *head, last = [_number(each) for each in parts]
    except ValueError:
        return None
    if any(each > 255 for each in head) or last >= 256 ** (4 - len(head)):
        return None
    return IPv4Address(sum(each << 8 * (3 - n) for n, each in enumerate(head)) + last)


def refusal(rules: HostRules, host: str, address: Address | None, port: int) -> str | None:
    """Return why a host may not be connected to, or None if it may; `address` is what its name resolves to.

    Without an address, as behind a proxy, the host itself is judged as far as it is one.
    """
    name = host.removesuffix(".").lower()
    if address is None:
        address = literal(host)
        if address is None and _looks_numeric(name):
            return "it is written as a number, and is no address"
    held = _held(address) if address else ()
    if _named(rules.denied, name) or _within(rules.denied, held):
        return f"{DENIED} denies it"
    if (name, port) in rules.api and name not in rules.allowed:
        return f"it is the API server; {ALLOWED} does not list it"
    for each in held:
        if why := _reserved(rules, each, port):
            return f"{why}; {ALLOWED} does not list it"
    same = _same(address) if address else ()
    if rules.allowed and not (_named(rules.allowed, name) or _within(rules.allowed, same)):
        return f"{ALLOWED} does not list it"
    return None


def choose(
    rules: HostRules, host: str, addresses: Iterable[Address], port: int
) -> tuple[list[Address], str | None]:
    """Return those of a name's addresses that may be connected to, and why another may not."""
    found, why = [], None
    for each in addresses:
        refused = refusal(rules, host, each, port)
        if refused is None:
            found.append(each)
        why = why or refused
    return found, why


def _reserved(rules: HostRules, address: Address, port: int) -> str | None:
    """Return what keeps an address that no list denies from being used, unless an entry opens it.

    An entry does so that lies within what is reserved: who allows 0.0.0.0/0 does not mean the metadata of a cloud.
    """
    for what, networks in RESERVED:
        for network in networks:
            if address in network and not _opened(rules, address, network):
                return f"it is {what}"
    if any(p == port and literal(h) == address for h, p in rules.api):
        alone = ip_network(str(address))
        return None if _opened(rules, address, alone) else "it is the API server"
    return None


def _opened(rules: HostRules, address: Address, network: Network) -> bool:
    return any(
        address in each and each.version == network.version and each.prefixlen >= network.prefixlen
        for each in _of(rules.allowed)
    )


def _named(entries: tuple[str, ...], name: str) -> bool:
    return any(each in (ANY, name) or (each.startswith("*.") and name.endswith(each[1:])) for each in entries)


def _within(entries: tuple[str, ...], addresses: Iterable[Address]) -> bool:
    networks = _of(entries)
    return any(address in network for address in addresses for network in networks)


@lru_cache(maxsize=8)
def _of(entries: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the networks among entries."""
    found = []
    for each in entries:
        with suppress(ValueError):
            found.append(ip_network(each))
    return tuple(found)


def _same(address: Address) -> tuple[Address, ...]:
    """Return an address, without its zone, and the IPv4 address that it is another form of."""
    if isinstance(address, IPv4Address):
        return (address,)
    number = int(address)
    return IPv6Address(number), *_shifted(number, _SAME)


def _held(address: Address) -> tuple[Address, ...]:
    """Return an address and each IPv4 address in it that it may lead to."""
    found = _same(address)
    if isinstance(address, IPv4Address):
        return found
    number = int(address)
    more = [*_shifted(number, _HELD)]
    if IPv6Address(number) in _TEREDO:
        more.append(IPv4Address(~number & _LOW))
    if IPv6Address(number) in _LOCAL_NAT64:  # one of four lengths of prefix (RFC 6052, 2.2)
        bits = f"{number:0128b}"
        parts = (bits[48:64] + bits[72:88], bits[56:64] + bits[72:96], bits[72:104], bits[96:])
        more += [IPv4Address(int(each, 2)) for each in parts]
    if (number >> 32) & _LOW in _ISATAP:
        more.append(IPv4Address(number & _LOW))
    # Bits that stand for nothing look like 0.0.0.0/8, which leads nowhere from afar.
    return *found, *(each for each in more if int(each) >= 2**24)


def _shifted(number: int, table: Iterable[tuple[Network, int]]) -> Iterable[IPv4Address]:
    for network, shift in table:
        if IPv6Address(number) in network:
            yield IPv4Address(number >> shift & _LOW)


def _looks_numeric(name: str) -> bool:
    return bool(_NUMBER.fullmatch(name.rpartition(".")[2]))


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") and text != "0" else 10)
