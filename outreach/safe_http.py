"""HTTP to addresses that operators typed in: it reaches the public internet and nothing of ours.

The name is resolved once, every address it has is checked, and the connection goes to a checked address with
the original Host and SNI: a name that changes its mind in between (DNS rebinding) gains nothing. No redirects,
https on the usual port, at most 1 MB back, a deadline for the body. What is meant to be reached on
this machine or in our network (the sandbox, a help desk on premises) must be named origin by origin.
"""

import ipaddress
import re
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from outreach.errors import InvalidInput, TooLarge, Unavailable

LARGEST_ANSWER = 1024 * 1024
TIMEOUT_SECONDS = 15.0
DEFAULT_PORTS = frozenset({443})
# There is no such name, or none with an address (RFC 3493, 6.1; the second is glibc's). All else may pass.
_NOBODYS = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

Resolver = Callable[[str, int], list[str]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?|[0-9A-Fa-f:.]{2,45}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_V4_COMPATIBLE = ipaddress.IPv6Network("::/96")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names in lower case. A redirect is an answer like any other: it is not followed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """An address that passed every check: the parts to ask for, and the one IP address to connect to."""

    scheme: str
    host: str
    port: int
    path: str
    address: str


class NoSuchName(Unavailable):
    """The name servers know no such host; it may exist later, so that what is under way is tried again."""


def resolve_host(host: str, port: int) -> list[str]:
    """Return every IP address of the name, as the operating system resolves it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check_url(
    url: str,
    *,
    allow: Collection[str] = (),
    ports: Collection[int] = DEFAULT_PORTS,
    resolve: Resolver = resolve_host,
) -> Target:
    """Return where to connect; raises `InvalidInput` (never allowed), `NoSuchName`, or `Unavailable` (no name server).

    `allow` holds origins such as `http://127.0.0.1:8322` that may be reached whatever they resolve to.
    """
    if not url.isascii() or re.search(r"[\x00-\x20\x7f\\]", url) or len(url) > 2000:
        raise InvalidInput("The address holds characters that no web address has, or is too long.", where="url")
    try:
        parts = urlsplit(url)
        usual = 443 if parts.scheme == "https" else 80
        port = usual if parts.port is None else parts.port
    except ValueError as error:
        raise InvalidInput(f"The address cannot be read: {error}.", where="url") from None
    host = (parts.hostname or "").lower()
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("The address must not carry a user name or password.", where="url")
    if not _HOST.fullmatch(host):
        raise InvalidInput("The address has no host name that we can read.", where="url")
    shown = f"[{host}]" if ":" in host else host
    permitted = f"{parts.scheme}://{shown}:{port}" in {_with_port(origin) for origin in allow}
    if not permitted and (parts.scheme != "https" or port not in ports):
        raise InvalidInput(f"The address must start with https:// and use port {sorted(ports)}.", where="url")
    addresses = _resolve(host, port, resolve)
    hidden = [] if permitted else [one for one in addresses if not is_public(one)]
    if hidden:
        raise InvalidInput(f"{host} points to {hidden[0]}, which is not on the public internet.", where="url")
    path = parts.path or "/"
    return Target(parts.scheme, host, port, f"{path}?{parts.query}" if parts.query else path, addresses[0])


def check_typed_url(
    url: str,
    *,
    where: str,
    allow: Collection[str] = (),
    ports: Collection[int] = DEFAULT_PORTS,
    resolve: Resolver = resolve_host,
) -> None:
    """Check an address that somebody is just typing in, in the field `where`: for them a wrong name is `InvalidInput`.

    A name server that does not answer is not their mistake: that raises `Unavailable`.
    """
    try:
        check_url(url, allow=allow, ports=ports, resolve=resolve)
    except NoSuchName as error:
        said = f"{error.message} Check how it is written; a name of your own network must be known to our name server."
        raise InvalidInput(said, where=where) from None
    except InvalidInput as error:
        raise InvalidInput(error.message, where=where) from None
    except Unavailable as error:
        raise Unavailable(f"{error.message} Nothing was saved: try again in a minute.", where=where) from None


def is_public(address: str) -> bool:
    """Tell whether an IP address is a host of the public internet, seen through every way of wrapping IPv4."""
    try:
        ip: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = _wrapped(ip)
        if inner is not None:
            return is_public(str(inner))
        if ip in _V4_COMPATIBLE or ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    allow: Collection[str] = (),
    ports: Collection[int] = DEFAULT_PORTS,
    timeout_seconds: float = TIMEOUT_SECONDS,
    largest_answer: int = LARGEST_ANSWER,
    ca_file: Path | None = None,
    resolve: Resolver = resolve_host,
) -> Answer:
    """Make one request and return the answer, whatever its status.

    Raises `InvalidInput` for an address that is not allowed, `TooLarge` for an answer over the cap and
    `Unavailable` when nobody answers in time. `ca_file`: the certificate authority of a desk on premises.
    """
    target = check_url(url, allow=allow, ports=ports, resolve=resolve)
    deadline = time.monotonic() + timeout_seconds
    sent = {**_checked(headers or {}), "Host": _host_header(target)}
    pool = _pool(target, timeout_seconds, ca_file)
    try:
        response = pool.urlopen(
            method.upper(),
            target.path,
            body=body,
            headers=sent,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )
        received = _read(response, deadline, largest_answer)
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, received)
    except (HTTPError, OSError) as error:
        # The class says what happened; the text could repeat an address with its query.
        raise Unavailable(f"{target.host} did not answer: {type(error).__name__}.") from None
    finally:
        pool.close()


def _resolve(host: str, port: int, resolve: Resolver) -> list[str]:
    nobody = NoSuchName(f"The name {host} does not resolve: no such host is known.", where="url")
    try:
        addresses = resolve(host, port)
    except UnicodeError:  # a part of it is empty, or longer than 63 letters
        raise nobody from None
    except OSError as error:
        if isinstance(error, socket.gaierror) and error.errno in _NOBODYS:
            raise nobody from None
        raise Unavailable(f"The name {host} does not resolve: no name server answers.", where="url") from None
    if not addresses:
        raise nobody
    return addresses


def _wrapped(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address inside an IPv6 one: mapped, 6to4, Teredo (its client), NAT64."""
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    if any(ip in network for network in _NAT64):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


def _with_port(origin: str) -> str:
    parts = urlsplit(origin.rstrip("/"))
    host = (parts.hostname or "").lower()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _host_header(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    usual = 443 if target.scheme == "https" else 80
    return host if target.port == usual else f"{host}:{target.port}"


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers, refusing any that could smuggle another one."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or re.search(r"[\x00-\x1f\x7f]", value):
            raise InvalidInput(
                f"The header {name[:50]!r} holds characters that headers must not have.", where=name[:50]
            )
    return {name: value for name, value in headers.items() if name.lower() != "host"}


def _pool(target: Target, timeout_seconds: float, ca_file: Path | None) -> urllib3.HTTPConnectionPool:
    timeout = urllib3.Timeout(connect=min(timeout_seconds, 5.0), read=timeout_seconds)
    if target.scheme == "http":
        return urllib3.HTTPConnectionPool(target.address, target.port, timeout=timeout)
    return urllib3.HTTPSConnectionPool(
        target.address,
        target.port,
        timeout=timeout,
        cert_reqs="CERT_REQUIRED",
        ca_certs=str(ca_file) if ca_file is not None else None,
        server_hostname=target.host,
        assert_hostname=target.host,
    )


def _read(response: urllib3.BaseHTTPResponse, deadline: float, largest: int) -> bytes:
    """Return the body, stopping at the cap and at the deadline: a drip of bytes resets no clock here."""
    received = bytearray()
    while chunk := response.read1(65536):
        received += chunk
        if len(received) > largest:
            raise TooLarge(f"The answer is larger than {largest} bytes.")
        if time.monotonic() > deadline:
            raise Unavailable("The answer took too long.")
    return bytes(received)
