"""Whether a door may be opened as it is set: tokens don't go over a network in plain text."""

from pathlib import Path

import structlog

from framemesh.errors import ConfigurationError
from framemesh.rpc.channels import is_loopback

log = structlog.get_logger()


def check_exposure(
    service: str,
    address: str,
    *,
    cert_file: Path | None,
    key_file: Path | None,
    tokens_file: Path | None,
    tokens_in_plain_text: bool,
) -> None:
    """Pass a door that keeps tokens secret; one that is open to anybody on the network is logged.

    Args:
        service: Whose door it is, in a word.
        address: Where it listens, as `host:port`.
        cert_file: Its certificate.
        key_file: The certificate's key.
        tokens_file: The tokens that are wanted there.
        tokens_in_plain_text: Whether a proxy before it speaks TLS.

    Raises:
        ConfigurationError: Tokens would go over the network in plain text, or half of a certificate is set.
    """
    if (cert_file is None) != (key_file is None):
        raise ConfigurationError("set both FRAMEMESH_TLS_CERT_FILE and FRAMEMESH_TLS_KEY_FILE, or neither")
    if cert_file is not None or is_loopback(address):
        return
    if tokens_file is None:
        log.warning("door.open", address=address, problem="anybody who reaches it may do anything")
    elif not tokens_in_plain_text:
        raise ConfigurationError(
            f"FRAMEMESH_TOKENS_FILE is set and {address} can be reached from other machines, which would send their "
            "tokens in plain text: set FRAMEMESH_TLS_CERT_FILE and FRAMEMESH_TLS_KEY_FILE, or, where a proxy before "
            f"the {service} speaks TLS, FRAMEMESH_TOKENS_IN_PLAIN_TEXT=true",
            address=address,
        )
