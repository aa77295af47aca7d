"""The public port as the operator wants it: encrypted or not, for everybody or for tokens."""

from framemesh.rpc.calls import Admission
from framemesh.rpc.exposure import check_exposure
from framemesh.rpc.server import Connections
from framemesh.rpc.tls import server_credentials
from gateway.access import Access
from gateway.metrics import GatewayMetrics
from gateway.room import Room
from gateway.settings import GatewaySettings

_UNREAD_BYTES = 1024 * 1024


def connections(settings: GatewaySettings) -> Connections:
    """How callers' connections are encrypted and kept.

    Raises:
        ConfigurationError: The certificate can't be used, or tokens would go over the network in plain text.
    """
    certificate, key = settings.tls_cert_file, settings.tls_key_file
    check_exposure(
        "gateway",
        settings.grpc_address,
        cert_file=certificate,
        key_file=key,
        tokens_file=settings.tokens_file,
        tokens_in_plain_text=settings.tokens_in_plain_text,
    )
    return Connections(
        credentials=None if certificate is None or key is None else server_credentials(certificate, key),
        keepalive_seconds=settings.grpc_keepalive_seconds,
        max_age_seconds=settings.grpc_max_connection_age_seconds,
        max_age_grace_seconds=settings.grpc_max_connection_age_grace_seconds,
        unread_bytes=_UNREAD_BYTES,
    )


def admission(settings: GatewaySettings, room: Room, metrics: GatewayMetrics) -> Admission:
    """Which calls are let in: those with a token, where tokens are set; of images, as many as there is room for.

    Raises:
        ConfigurationError: The tokens can't be used.
    """
    at_the_door = {
        "/framemesh.v1.AnalysisService/Analyze": room.image,
        "/framemesh.v1.AnalysisService/AnalyzeStream": room.stream,
    }
    if settings.tokens_file is None:
        return Admission(room=at_the_door)
    return Admission(authorize=Access(settings.tokens_file, metrics).authorize, room=at_the_door)
