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
from ipaddress import ip_address, ip_network

from setpoint.api.addresses import Address, Network, held_by, literal, looks_numeric, networks, same_as

ALLOWED, DENIED = "settings.gitAllowedHosts", "settings.gitDeniedHosts"
ANY = "*"
_NAME = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
# What they are called, and which they are.
RESERVED: Sequence[tuple[str, tuple[Network, ...]]] = (
    ("a loopback address", networks("127.0.0.0/8", "::1")),
    ("an unspecified address", networks("0.0.0.0/8", "::")),
    ("a multicast address", networks("224.0.0.0/4", "ff00::/8")),
    ("a link-local address", networks("169.254.0.0/16", "fe80::/10")),
    (
        "where a cloud keeps the credentials of its machines",
        # Azure, Alibaba, Oracle; AWS (of machines, and of pods), Google, Oracle, Scaleway, Akamai. All others are link-local.
        networks("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23")
        + networks("fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fd00:a9fe:a9fe::1"),
    ),
)


@dataclass(frozen=True, slots=True)
class HostRules:
    """What is allowed and denied: names, `*.` and what they end in, addresses, networks, or `*`.

    Without `allowed` all is, but for what is reserved. `api`: host and port of each place of the API server.
    """

    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    api: tuple[tuple[str, int], ...] = ()


LOOPBACK = ip_address("127.0.0.1")
RESERVED_ALONE = HostRules()
"""The rules of an administrator who says nothing."""


def entry(text: str) -> str:
    """Return an entry of a list of hosts as it is compared. Raises ValueError, in words for people."""
    lower = text.lower().removesuffix(".")
    if "/" in lower or ":" in lower or looks_numeric(lower):
        return str(ip_network(lower))
    if lower != ANY and not _NAME.fullmatch(lower):
        raise ValueError(f"{text} is no host name, *.domain, address, network or *")
    return lower


def refusal(rules: HostRules, host: str, address: Address | None, port: int) -> str | None:
    """Return why a host may not be connected to, or None if it may; `address` is what its name resolves to.

    Without an address, as behind a proxy, the host itself is judged as far as it is one.
    """
    name = host.rstrip(".").lower()
    if address is None:
        address = LOOPBACK if f".{name}".endswith(".localhost") else literal(host) or literal(name)
        if address is None and (looks_numeric(name) or ":" in name):
            return "it is written as a number, and is no address"
    held = held_by(address) if address else ()
    if _named(rules.denied, name) or _within(rules.denied, held):
        return f"{DENIED} denies it"
    if (name, port) in rules.api and literal(name) is None and name not in rules.allowed:
        return f"it is the API server; {ALLOWED} does not list it"
    for each in held:
        if why := _reserved(rules, each, port):
            return f"{why}; {ALLOWED} does not list it"
    same = same_as(address) if address else ()
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
    for what, reserved in RESERVED:
        for network in reserved:
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
    known = _of(entries)
    return any(address in network for address in addresses for network in known)


@lru_cache(maxsize=8)
def _of(entries: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the networks among entries."""
    found = []
    for each in entries:
        with suppress(ValueError):
            found.append(ip_network(each))
    return tuple(found)
