"""TLS on a server's port: a certificate and its key in PEM files, taken up anew when they are renewed."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509

from framemesh.errors import ConfigurationError
from framemesh.rpc.reloading import Reloaded


@dataclass(frozen=True, slots=True)
class _Pair:
    configuration: grpc.ServerCertificateConfiguration
    expiry: float


class ServerCertificate:
    """A gRPC server's certificate, as the files hold it now: they are read again when they change.

    Args:
        cert_file: The certificate, followed by those of the authorities between it and the root, in PEM.
        key_file: Its private key, in PEM, without a password.

    Raises:
        ConfigurationError: One can't be read, or they don't belong together.
    """

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._files = Reloaded((cert_file, key_file), lambda: _load(cert_file, key_file))

    def credentials(self) -> grpc.ServerCredentials:
        """What a server needs to speak TLS. Each new connection gets the certificate of that moment."""
        given = self._files.now()

        def renewed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            before, given = given, self._files.now()
            return None if given is before else given.configuration  # none keeps what there is, without parsing it anew

        first = given.configuration
        return grpc.dynamic_ssl_server_credentials(first, renewed)  # type: ignore[arg-type]  # the stubs forget the none

    def expiry(self) -> float:
        """When the certificate ends that callers are shown now, in Unix seconds."""
        return self._files.now().expiry


class WebCertificate:
    """The same for a server that speaks HTTP, by Python's own TLS.

    Args:
        cert_file: As `ServerCertificate`'s.
        key_file: As `ServerCertificate`'s.

    Raises:
        ConfigurationError: As `ServerCertificate`.
    """

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """What encrypts. Each new connection gets the certificate that was there when somebody last looked."""
        self._expiry = Reloaded((cert_file, key_file), lambda: self._load(cert_file, key_file))

    def expiry(self) -> float:
        """Look at the files: when the certificate ends that browsers are shown from now on, in Unix seconds."""
        return self._expiry.now()

    def _load(self, cert_file: Path, key_file: Path) -> float:
        with _reporting(cert_file, key_file):
            expiry = _proven(cert_file, key_file)
            self.context.load_cert_chain(cert_file, key_file, password=_no_password)
            return expiry


def _load(cert_file: Path, key_file: Path) -> _Pair:
    with _reporting(cert_file, key_file):
        expiry = _proven(cert_file, key_file)
        pair = [(key_file.read_bytes(), cert_file.read_bytes())]
        return _Pair(grpc.ssl_server_certificate_configuration(pair), expiry)


def _proven(cert_file: Path, key_file: Path) -> float:
    """When the certificate of a pair ends, in Unix seconds, where the pair fits.

    gRPC would only log one that doesn't, and then refuse every connection; a context that serves would lose its key.
    """
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file, password=_no_password)
    return x509.load_pem_x509_certificate(cert_file.read_bytes()).not_valid_after_utc.timestamp()


@contextmanager
def _reporting(cert_file: Path, key_file: Path) -> Iterator[None]:
    try:
        yield
    except (ssl.SSLError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise ConfigurationError(
            f"can't serve TLS with the certificate {cert_file} and the key {key_file}: {why}; "
            "both must be PEM, belong together, and need no password"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"can't serve TLS with the certificate {cert_file} and the key {key_file}: {error.strerror}"
        ) from error


def _no_password() -> str:
    return ""  # else OpenSSL asks the terminal
