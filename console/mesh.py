"""What pages may use of the mesh: the gateway as the caller, NATS and the lake to read."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from console.hearing import Hearing
from console.looking import Looking
from console.settings import ConsoleSettings
from console.tables import TableReader
from framemesh import specs
from framemesh.bus import Bus, connect
from framemesh.client import AsyncClient
from framemesh.errors import ConfigurationError, InvalidSpecError
from framemesh.lake import Lake
from framemesh.rpc.channels import Tls
from framemesh.settings import LakeSettings


class Mesh:
    """The mesh as its console reaches it. Made by `mesh`."""

    def __init__(self, stack: AsyncExitStack, bus: Bus, tables: TableReader, settings: ConsoleSettings) -> None:
        self._stack = stack
        self._address, self._tls = settings.gateway()
        self._clients: dict[str | None, AsyncClient] = {}
        self._looking: dict[AsyncClient, Looking] = {}
        self.bus = bus
        """To listen to frames, results, also of shadows, corrections and log lines; nothing else is permitted."""
        self.hearing = Hearing(bus)
        """What results and logs say of models, and people of frames."""
        self.quick_models = _sources(settings.quick_models)
        """Models to offer at a click."""
        self.lake_settings: LakeSettings = settings
        """Where the lake is, for what reads its tables."""
        self.frames = Lake.from_settings(settings, bucket=settings.s3_frames_bucket)
        """The bucket of frames, to read."""
        self.tables = tables
        """The lake's tables, to ask."""
        self.max_upload_bytes = settings.max_upload_bytes
        """The largest picture that may be uploaded."""
        self.grafana_url = settings.grafana_url and settings.grafana_url.rstrip("/")
        """For links; none where there is no Grafana."""

    @property
    def address(self) -> str:
        """The gateway's `host:port`."""
        return self._address

    @property
    def tls(self) -> Tls:
        """How the gateway is spoken to."""
        return self._tls

    async def client(self, token: str | None) -> AsyncClient:
        """The gateway as the bearer of a token sees it: what it lets them do is its decision. Shared by their pages."""
        if token not in self._clients:  # as many as the tokens file has, at most
            client = AsyncClient(self._address, token=token, tls=self._tls)
            self._clients[token] = await self._stack.enter_async_context(client)
        return self._clients[token]

    def looking(self, client: AsyncClient) -> Looking:
        """How the mesh is, as one caller sees it. Shared by their pages."""
        if client not in self._looking:
            self._looking[client] = Looking(client)
        return self._looking[client]


def _sources(listed: str) -> tuple[str, ...]:
    sources = tuple(source.strip() for source in listed.split(",") if source.strip())
    for source in sources:
        try:
            specs.made(source, ())
        except InvalidSpecError as error:
            raise ConfigurationError(f"FRAMEMESH_QUICK_MODELS: {error}", source=source) from error
    return sources


@asynccontextmanager
async def mesh(settings: ConsoleSettings) -> AsyncIterator[Mesh]:
    """Connections around the block. Neither the gateway nor the lake need be there yet.

    Raises:
        ConfigurationError: NATS refuses the credentials, or the gateway's address or authority, or a model to offer,
            can't be used.
        BusUnavailableError: No NATS server answers.
    """
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(settings.nats_url.get_secret_value(), name="console"))
        tables = await stack.enter_async_context(TableReader(settings))
        yield Mesh(stack, bus, tables, settings)
