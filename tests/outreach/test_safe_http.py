import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from outreach.errors import InvalidInput, TooLarge, Unavailable
from outreach.safe_http import NoSuchName, check_typed_url, check_url, is_public, request


class Server:
    """A real HTTP server on loopback that notes what it was asked."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.seen: list[tuple[str, str, str, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.seen.append((self.command, self.path, self.headers["Host"], body))
                if self.path.startswith("/redirect"):
                    self.send_response(302)
                    self.send_header("Location", f"http://127.0.0.1:{outer.port}/secret")
                    self.end_headers()
                    return
                self.send_response(200)
                self.end_headers()
                if self.path == "/drip":
                    for _ in range(100):
                        self.wfile.write(b".")
                        self.wfile.flush()
                        time.sleep(0.05)
                self.wfile.write(b"x" * 3_000_000 if self.path == "/huge" else b"hello")

            do_POST = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

            def finish(self) -> None:
                with contextlib.suppress(OSError):
                    super().finish()

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
            self.scheme = "https"
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def origin(self, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


def certificate_for(name: str, folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


LOOPBACK_NAMES = [
    "127.0.0.1", "localhost", "localhost.", "LOCALHOST", "127.1", "0x7f000001", "2130706433", "0177.0.0.1",
    "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "127.0.0.1.",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK_NAMES)
def test_no_way_of_writing_loopback_reaches_this_machine(server: Server, host: str) -> None:
    for scheme in ("http", "https"):
        with pytest.raises((InvalidInput, Unavailable)):
            request("GET", f"{scheme}://{host}:{server.port}/secret", ports={server.port})
    assert server.seen == []


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "127.0.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
     "fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "2002:0a00:0001::1",
     "2002:7f00:0001::", "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2001:0:1:1:1:1:f5ff:fffe",
     "2001:db8::1", "fec0::1", "not an address", ""],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)
    with pytest.raises((InvalidInput, Unavailable)):
        check_url("https://shop.example/", resolve=lambda host, port: [address])


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_public_address_is_allowed(address: str) -> None:
    assert check_url("https://shop.example/x?y=1", resolve=lambda host, port: [address]).address == address


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(InvalidInput, match="not on the public internet"):
        check_url("https://shop.example/", resolve=lambda host, port: ["8.8.8.8", "10.0.0.1"])


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "gopher://8.8.8.8/", "ftp://8.8.8.8/", "http://8.8.8.8/", "https://8.8.8.8:22/",
     "https://user:secret@8.8.8.8/", "https://@8.8.8.8/", "//8.8.8.8/", "8.8.8.8", "", "https://", "https:///x",
     "https://8.8.8.8\\@127.0.0.1/", "https://8.8.8.8/\r\nHost: x", "https://8.8.8.8/ x", "https://exämple.com/",
     "https://8.8.8.8:99999/", "https://8.8.8.8:x/", "https://[::1/", "https://a..b/" + "x" * 3000,
     "javascript:alert(1)",
     "https://%31%32%37.0.0.1/", "https://8.8.8.8:0/"],
)  # fmt: skip
def test_what_is_no_plain_https_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_url(url, resolve=lambda host, port: ["8.8.8.8"])


def test_a_name_that_does_not_resolve_may_resolve_later() -> None:
    def fails(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(Unavailable, match="does not resolve"):
        check_url("https://shop.example/", resolve=fails)
    with pytest.raises(Unavailable, match="does not resolve"):
        check_url("https://shop.example/", resolve=lambda host, port: [])


def failing(error: OSError | UnicodeError) -> Callable[[str, int], list[str]]:
    """A name server that answers so."""

    def resolve(host: str, port: int) -> list[str]:
        raise error

    return resolve


NOBODY = [socket.gaierror(socket.EAI_NONAME, "not known"), UnicodeError("label empty or too long")]
PASSING = [
    socket.gaierror(socket.EAI_AGAIN, "again"),
    socket.gaierror(socket.EAI_FAIL, "failed"),
    OSError("no network"),
]


@pytest.mark.parametrize("error", NOBODY, ids=repr)
def test_a_name_that_nobody_has_is_the_mistake_of_whoever_types_it_and_waited_for_later(
    error: OSError | UnicodeError,
) -> None:
    with pytest.raises(InvalidInput, match=r"shop\.example does not resolve.* Check how it is written") as refused:
        check_typed_url("https://shop.example/", where="base_url", resolve=failing(error))
    assert refused.value.where == "base_url"
    with pytest.raises(NoSuchName):
        check_url("https://shop.example/", resolve=failing(error))
    with pytest.raises(Unavailable):
        request("GET", "https://shop.example/", resolve=failing(error))


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_a_name_server_that_does_not_answer_is_nobodys_mistake(error: OSError) -> None:
    with pytest.raises(Unavailable, match=r"no name server answers.* try again in a minute") as passing:
        check_typed_url("https://shop.example/", where="base_url", resolve=failing(error))
    assert (type(passing.value), passing.value.where) == (Unavailable, "base_url")


def test_what_else_is_wrong_with_a_typed_address_names_its_field() -> None:
    with pytest.raises(InvalidInput, match="not on the public internet") as refused:
        check_typed_url("https://shop.example/", where="base_url", resolve=lambda host, port: ["10.0.0.1"])
    assert refused.value.where == "base_url"


def test_the_name_is_resolved_once_and_the_checked_address_is_used(server: Server) -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"], ["10.0.0.1"]]
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    origin = server.origin("desk.internal")
    answer = request("post", f"{origin}/hook?a=1", body=b"{}", allow=[origin], resolve=resolve)
    assert (answer.status, answer.body, asked) == (200, b"hello", ["desk.internal"])
    assert server.seen == [("POST", "/hook?a=1", f"desk.internal:{server.port}", b"{}")]


def test_only_the_named_origin_is_allowed(server: Server) -> None:
    allow = [server.origin()]
    assert request("GET", f"{server.origin()}/", allow=allow).status == 200
    for url in (server.origin("localhost"), f"https://127.0.0.1:{server.port}", "http://127.0.0.1:1"):
        with pytest.raises(InvalidInput):
            request("GET", url, allow=allow)
    assert len(server.seen) == 1


def test_a_redirect_is_not_followed(server: Server) -> None:
    answer = request("GET", f"{server.origin()}/redirect", allow=[server.origin()])
    assert (answer.status, len(server.seen)) == (302, 1)
    assert answer.headers["location"].endswith("/secret")


def test_an_answer_over_the_cap_is_cut_off(server: Server) -> None:
    with pytest.raises(TooLarge, match="1048576 bytes"):
        request("GET", f"{server.origin()}/huge", allow=[server.origin()])


def test_a_drip_of_bytes_does_not_outlast_the_deadline(server: Server) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match="too long"):
        request("GET", f"{server.origin()}/drip", allow=[server.origin()], timeout_seconds=0.5)
    assert time.monotonic() - started < 3


def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1 did not answer"):
        request("GET", "http://127.0.0.1:1/secret?token=x", allow=["http://127.0.0.1:1"])


def test_certificates_are_checked_against_the_name_not_the_address(tmp_path: Path) -> None:
    server = Server(certificate_for("desk.internal", tmp_path))
    authority = tmp_path / "certificate.pem"
    try:
        for name, trusted, works in (
            ("desk.internal", authority, True),
            ("desk.internal", None, False),
            ("other.internal", authority, False),
        ):
            origin = server.origin(name)
            call = {"allow": [origin], "ca_file": trusted, "resolve": lambda host, port: ["127.0.0.1"]}
            if works:
                assert request("GET", origin, **call).body == b"hello"  # type: ignore[arg-type]
            else:
                with pytest.raises(Unavailable, match="did not answer"):
                    request("GET", origin, **call)  # type: ignore[arg-type]
    finally:
        server.close()


@pytest.mark.parametrize("headers", [{"A": "b\r\nC: d"}, {"A\r\nB": "c"}, {"A b": "c"}, {"": "c"}, {"A": "b\x00"}])
def test_a_header_cannot_smuggle_another(server: Server, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="header"):
        request("GET", server.origin(), headers=headers, allow=[server.origin()])
    assert server.seen == []


def test_the_host_header_cannot_be_replaced(server: Server) -> None:
    request("GET", server.origin(), headers={"host": "evil.example"}, allow=[server.origin()])
    assert server.seen[0][2] == f"127.0.0.1:{server.port}"


@given(st.text(max_size=80) | st.text(max_size=60).map(lambda rest: "https://" + rest))
def test_no_address_whatever_it_holds_raises_anything_else(url: str) -> None:
    try:
        target = check_url(url, resolve=lambda host, port: ["8.8.8.8"])
    except (InvalidInput, Unavailable):
        return
    assert (target.scheme, target.port) == ("https", 443)
