"""TLS on a server's port: a certificate and its key in PEM files, taken up anew when they are renewed."""

import ssl
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
    """A server's certificate, as the files hold it now: they are read again when they change.

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


def _load(cert_file: Path, key_file: Path) -> _Pair:
    """Read the pair and prove that it fits: gRPC itself would only log, and then refuse every connection."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file, password=_no_password)
        certificate = cert_file.read_bytes()
        configuration = grpc.ssl_server_certificate_configuration([(key_file.read_bytes(), certificate)])
        return _Pair(configuration, x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp())
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
