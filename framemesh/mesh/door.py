"""How the mesh's own clients get in at its gateway, whose port may be encrypted and may want tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from framemesh.errors import ConfigurationError
from framemesh.rpc.tokens import Role, load_tokens


@dataclass(frozen=True, slots=True)
class Door:
    """What a client needs, read from the settings that the gateway gets too.

    Attributes:
        ca_file: What to trust of its certificate; none where it speaks plain text.
        token: One that may deploy models; none where it wants no token.
    """

    ca_file: Path | None = None
    token: str | None = None

    @staticmethod
    def from_environment(env: Mapping[str, str]) -> "Door":
        """The door that the variables make.

        Raises:
            ConfigurationError: There is no token with which the mesh could deploy its models.
        """
        certificate = env.get("FRAMEMESH_TLS_CERT_FILE")
        # A certificate can be trusted by itself: whoever runs the mesh need not have its authority at hand.
        ca_file = Path(env.get("FRAMEMESH_TLS_CA_FILE") or certificate).absolute() if certificate else None
        tokens_file = env.get("FRAMEMESH_TOKENS_FILE")
        if not tokens_file:
            return Door(ca_file)
        admins = [token.value for token in load_tokens(Path(tokens_file)) if token.role == Role.ADMIN]
        if not admins:
            raise ConfigurationError(
                f"{tokens_file} has no token of role admin, with which `framemesh up` deploys its models: add one"
            )
        return Door(ca_file, admins[0])
