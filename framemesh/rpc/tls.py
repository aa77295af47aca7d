"""TLS on a server's port: a certificate and its key in PEM files, taken up anew when they are renewed."""

import ssl
from pathlib import Path

import grpc

from framemesh.errors import ConfigurationError
from framemesh.rpc.reloading import Reloaded


def server_credentials(cert_file: Path, key_file: Path) -> grpc.ServerCredentials:
    """What a server needs to speak TLS. Each new connection gets the certificate that the files hold by then.

    Args:
        cert_file: The certificate, followed by those of the authorities between it and the root, in PEM.
        key_file: Its private key, in PEM, without a password.

    Raises:
        ConfigurationError: One can't be read, or they don't belong together.
    """

    def load() -> grpc.ServerCertificateConfiguration:
        return _load(cert_file, key_file)

    files = Reloaded((cert_file, key_file), load)
    given = files.now()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        before, given = given, files.now()
        return None if given is before else given  # none keeps what there is, without parsing it anew

    return grpc.dynamic_ssl_server_credentials(given, renewed)  # type: ignore[arg-type]  # the stubs forget the none


def _load(cert_file: Path, key_file: Path) -> grpc.ServerCertificateConfiguration:
    """Read the pair and prove that it fits: gRPC itself would only log, and then refuse every connection."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file, password=_no_password)
        return grpc.ssl_server_certificate_configuration([(key_file.read_bytes(), cert_file.read_bytes())])
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"can't serve TLS with the certificate {cert_file} and the key {key_file}: {error.reason or error}; "
            "both must be PEM, belong together, and need no password"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"can't serve TLS with the certificate {cert_file} and the key {key_file}: {error.strerror}"
        ) from error


def _no_password() -> str:
    return ""  # else OpenSSL asks the terminal
