"""Reads addresses in whatever form they are written, and finds the IPv4 addresses in IPv6 ones (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def networks(*texts: str) -> tuple[Network, ...]:
    """Read networks and single addresses."""
    return tuple(ip_network(each) for each in texts)


# Where an IPv6 address holds the IPv4 address that it leads to: network, and by how many bits it is shifted.
_TEREDO, _LOCAL_NAT64 = networks("2001::/32", "64:ff9b:1::/48")  # RFC 4380, RFC 8215
# Mapped (RFC 4291), NAT64 (RFC 6052).
_SAME = tuple((each, 0) for each in networks("::ffff:0:0/96", "64:ff9b::/96"))
# Translated (RFC 2765), compatible (RFC 4291), 6to4 (RFC 3056), the server of Teredo.
_HELD = tuple(
    zip(networks("::ffff:0:0:0/96", "::/96", "2002::/16", "2001::/32"), (0, 0, 80, 64), strict=True)
)
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214
_LOW = 2**32 - 1


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


def looks_numeric(name: str) -> bool:
    """Return whether a host ends like a number, as no name does (RFC 3696, 2)."""
    return bool(_NUMBER.fullmatch(name.rpartition(".")[2]))


def same_as(address: Address) -> tuple[Address, ...]:
    """Return an address, without its zone, and the IPv4 address that it is another form of."""
    if isinstance(address, IPv4Address):
        return (address,)
    number = int(address)
    return IPv6Address(number), *_shifted(number, _SAME)


def held_by(address: Address) -> tuple[Address, ...]:
    """Return an address and each IPv4 address in it that it may lead to."""
    found = same_as(address)
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


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") and text != "0" else 10)
