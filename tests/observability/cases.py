"""For each alert: series under which it fires, and series much like them under which it does not.

Series are promtool's: `0+10x6` is 0, 10, ... 60, one value a minute; `_` is none, `stale` the end of one.
"""

from dataclasses import dataclass, field

Series = dict[str, str]

_AGE = "framemesh_gateway_stored_age_seconds"
_STALE = "framemesh_gateway_model_staleness_seconds"
_GATEWAY, _ARCHIVER = 'up{job="framemesh", service="gateway"}', 'up{job="framemesh", service="archiver"}'
_RUNS = {_GATEWAY: "1x999", _ARCHIVER: "1x999"}


@dataclass(frozen=True, slots=True)
class Case:
    """When an alert fires, and when it doesn't.

    Attributes:
        alert: Its name.
        fires: Series under which it fires.
        silent: Series under which it doesn't.
        at: Minutes after which both are looked at.
        severity: As which it fires.
        labels: Others that it then has.
    """

    alert: str
    fires: Series
    silent: Series
    at: int = 10
    severity: str = "warning"
    labels: dict[str, str] = field(default_factory=dict)


def _answers(policy: str, late_per_minute: int, *, model: str = "m") -> Series:
    return {
        f'{_STALE}_bucket{{model="{model}", le="2.5"}}': f"0+{600 - late_per_minute}x400",
        f'{_STALE}_count{{model="{model}"}}': "0+600x400",
        f'framemesh_gateway_model_info{{model="{model}", policy="{policy}"}}': "1x400",
    }


def _frames(outcome: str, values: str, camera: str = "gate") -> Series:
    return {f'framemesh_gateway_frames_total{{camera="{camera}", outcome="{outcome}"}}': values}


def _expiry(service: str, instance: str = "a") -> str:
    name = f"framemesh_{service}_certificate_expiry_timestamp_seconds"
    return f'{name}{{service="{service}", instance="{instance}"}}'


def _model(values: dict[str, str]) -> Series:
    return {f'framemesh_gateway_model_{name}{{model="m"}}': series for name, series in values.items()}


_M, _GATE = {"model": "m"}, {"camera": "gate"}
_DAY = 86_400

CASES = (
    Case(
        "FramemeshFramesStoredLate",
        {f'{_AGE}_bucket{{le="5.0"}}': "0+980x70", f"{_AGE}_count": "0+1000x70"},
        {f'{_AGE}_bucket{{le="5.0"}}': "0+990x70", f"{_AGE}_count": "0+1000x70"},
        at=65,
        severity="critical",
    ),
    Case(
        "FramemeshFramesStoredLate",
        {f'{_AGE}_bucket{{le="5.0"}}': "0+993x400", f"{_AGE}_count": "0+1000x400"},
        {f'{_AGE}_bucket{{le="5.0"}}': "0+995x400", f"{_AGE}_count": "0+1000x400"},
        at=390,
    ),
    Case(
        "FramemeshFramesNotStored",
        {"framemesh_gateway_waiting_oldest_seconds": "0 60 120 180x9"},
        {"framemesh_gateway_waiting_oldest_seconds": "20x12"},
        severity="critical",
    ),
    Case(
        "FramemeshStreamFilling",
        {
            "framemesh_gateway_waiting_oldest_seconds": "60+60x20",
            "framemesh_gateway_waiting_bytes": "0+1e8x20",
            "framemesh_gateway_waiting_limit_bytes": "4e9x20",
        },
        {  # as fast, but what comes goes again
            "framemesh_gateway_waiting_oldest_seconds": "1x20",
            "framemesh_gateway_waiting_bytes": "0+1e8x20",
            "framemesh_gateway_waiting_limit_bytes": "4e9x20",
        },
        at=15,
    ),
    Case(
        "FramemeshStreamFilling",
        {  # a slow lake, and a small stream
            "framemesh_gateway_waiting_oldest_seconds": "60x20",
            "framemesh_gateway_waiting_bytes": "0+1e6x20",
            "framemesh_gateway_waiting_limit_bytes": "6e7x20",
        },
        {  # an outage that is over, and drains
            "framemesh_gateway_waiting_oldest_seconds": "60x20",
            "framemesh_gateway_waiting_bytes": "5e7-1e6x20",
            "framemesh_gateway_waiting_limit_bytes": "6e7x20",
        },
        at=15,
    ),
    Case(
        "FramemeshStreamNearlyFull",
        {"framemesh_gateway_waiting_bytes": "9e8x12", "framemesh_gateway_waiting_limit_bytes": "1e9x12"},
        {"framemesh_gateway_waiting_bytes": "7e8x12", "framemesh_gateway_waiting_limit_bytes": "1e9x12"},
        severity="critical",
    ),
    Case(
        "FramemeshFramesLost",
        {'framemesh_ingest_frames_total{camera="gate", outcome="refused"}': "0x7 5x5"},
        {'framemesh_ingest_frames_total{camera="gate", outcome="late"}': "0x7 5x5"},
        severity="critical",
        labels={**_GATE, "outcome": "refused"},
    ),
    Case(
        "FramemeshFramesLost",
        {'framemesh_ingest_frames_total{camera="gate", outcome="unreadable"}': "0+5x12"},
        {'framemesh_ingest_frames_total{camera="gate", outcome="unreadable"}': "0x7 1x5"},  # one, just now
        labels={**_GATE, "outcome": "unreadable"},
    ),
    Case(
        "FramemeshDeadLetters",
        _frames("dead_lettered", "0x7 1x5"),
        _frames("dead_lettered", "3x12"),
        labels=_GATE,
    ),
    Case(
        "FramemeshCameraSilent",
        {'framemesh_ingest_source_up{camera="gate"}': "1x5 0x7"},
        {'framemesh_ingest_source_up{camera="gate"}': "1x7 0 1x5"},
        labels=_GATE,
    ),
    Case(
        "FramemeshCameraSilent",
        _frames("stored", "0+60x20 1200x20"),
        # One that an agent had and gave up, and one that was never there but as a label.
        {
            **_frames("stored", "0+60x20 1200x20"),
            'framemesh_ingest_source_up{camera="gate"}': "1x20 stale",
            **_frames("stored", "0x40", camera="unknown"),
        },
        at=35,
        labels=_GATE,
    ),
    Case(
        "FramemeshCameraBuffering",
        {'framemesh_ingest_buffered_frames{camera="gate"}': "5x12"},
        {'framemesh_ingest_buffered_frames{camera="gate"}': "5x3 0x9"},
        labels=_GATE,
    ),
    Case(
        "FramemeshCamerasFileRefused",
        {'framemesh_ingest_cameras_file_refused{instance="a"}': "1x12"},
        {'framemesh_ingest_cameras_file_refused{instance="a"}': "1x3 0x9"},
        labels={"instance": "a"},
    ),
    Case(
        "FramemeshAnswersStale",
        _answers("latest", 120),
        {**_answers("latest", 60), **_answers("every", 600, model="n")},
        at=65,
        severity="critical",
        labels=_M,
    ),
    Case("FramemeshAnswersStale", _answers("latest", 60), _answers("latest", 30), at=390, labels=_M),
    Case(
        "FramemeshModelBehind",
        {
            **_model({"waiting_frames": "0+600x40"}),
            'framemesh_gateway_model_info{model="m", policy="every"}': "1x40",
            **_frames("stored", "0+1800x40"),
        },
        {  # as much waits, and gets less
            **_model({"waiting_frames": "24000-300x40"}),
            'framemesh_gateway_model_info{model="m", policy="every"}': "1x40",
            **_frames("stored", "0+1800x40"),
        },
        at=35,
        labels=_M,
    ),
    Case(
        "FramemeshModelServersMissing",
        _model({"replicas": "2x3 0x9", "wanted_replicas": "2x12"}),
        {  # one that nobody wants to serve, a shadow, and one that is being prepared
            **_model({"replicas": "2x3 0x9", "wanted_replicas": "0x12"}),
            'framemesh_gateway_model_replicas{model="shadow"}': "2x3 0x9",
            'framemesh_gateway_model_wanted_replicas{model="shadow"}': "2x12",
            'framemesh_gateway_model_info{model="shadow", policy="latest", shadow="true"}': "1x12",
            'framemesh_gateway_model_replicas{model="new"}': "0x12",
            'framemesh_gateway_model_wanted_replicas{model="new"}': "2x12",
        },
        severity="critical",
        labels=_M,
    ),
    Case(
        "FramemeshModelServersMissing",
        _model({"replicas": "1x15", "wanted_replicas": "2x15"}),
        _model({"replicas": "1x5 2x10", "wanted_replicas": "2x15"}),
        at=13,
        labels=_M,
    ),
    Case(
        "FramemeshModelServerUnreachable",
        _model({"servers_away": "1x12"}),
        _model({"servers_away": "0x7 1 0x4"}),
        labels=_M,
    ),
    Case(
        "FramemeshModelFailing",
        {
            'framemesh_gateway_model_frames_total{model="m", outcome="succeeded"}': "0+540x20",
            'framemesh_gateway_model_frames_total{model="m", outcome="failed"}': "0+60x20",
        },
        {
            'framemesh_gateway_model_frames_total{model="m", outcome="succeeded"}': "0+540x20",
            'framemesh_gateway_model_frames_total{model="m", outcome="failed"}': "0+6x20",
        },
        at=15,
        labels=_M,
    ),
    Case(
        "FramemeshShadowFailing",
        {
            'framemesh_gateway_shadow_frames_total{model="m", outcome="succeeded"}': "0+540x30",
            'framemesh_gateway_shadow_frames_total{model="m", outcome="failed"}': "0+60x30",
        },
        {  # one that fails now and then, and a model that fails and is no shadow
            'framemesh_gateway_shadow_frames_total{model="m", outcome="succeeded"}': "0+540x30",
            'framemesh_gateway_shadow_frames_total{model="m", outcome="failed"}': "0+6x30",
            'framemesh_gateway_model_frames_total{model="n", outcome="failed"}': "0+60x30",
        },
        at=25,
        labels=_M,
    ),
    Case(
        "FramemeshModelFallback",
        {'framemesh_model_server_fallback{model="m", instance="a"}': "1x12"},
        {'framemesh_model_server_fallback{model="m", instance="a"}': "0x12"},
        labels=_M,
    ),
    Case(
        "FramemeshDeploymentFailing",
        {'framemesh_deployer_model_failing{model="m"}': "1x12"},
        {'framemesh_deployer_model_failing{model="m"}': "1x2 0x10"},
        labels=_M,
    ),
    Case(
        "FramemeshCallsRefused",
        {'framemesh_gateway_analyze_shed_total{limit="images"}': "0+10x20"},
        {'framemesh_gateway_analyze_shed_total{limit="images"}': "0x5 10x15"},
        at=15,
        labels={"limit": "images"},
    ),
    Case(
        "FramemeshServiceDown",
        {**_RUNS, 'up{job="framemesh", service="ingest", instance="a"}': "1x5 0x7"},
        {**_RUNS, 'up{job="framemesh", service="ingest", instance="a"}': "1x7 0 1x5", 'up{job="other"}': "0x12"},
        severity="critical",
        labels={"job": "framemesh", "service": "ingest", "instance": "a"},
    ),
    Case(
        "FramemeshServiceDown",
        {_GATEWAY: "1x4 stale", _ARCHIVER: "1x12"},
        _RUNS,
        severity="critical",
        labels={"job": "framemesh", "service": "gateway"},
    ),
    Case(
        "FramemeshRestarting",
        {'process_start_time_seconds{job="framemesh", service="model-server", instance="a"}': "1 2 3 4x9"},
        {'process_start_time_seconds{job="framemesh", service="model-server", instance="a"}': "1x4 2x4 3x4"},
        labels={"job": "framemesh", "service": "model-server", "instance": "a"},
    ),
    Case(
        "FramemeshTablesBehind",
        {
            'framemesh_archiver_waiting_messages{table="frames"}': "0x5 100+10x30",
            'framemesh_archiver_rows_total{table="frames"}': "500x40",
        },
        {
            'framemesh_archiver_waiting_messages{table="frames"}': "100x40",
            'framemesh_archiver_rows_total{table="frames"}': "0+60x40",
        },
        at=35,
        labels={"table": "frames"},
    ),
    Case(
        "FramemeshCertificateExpires",
        {_expiry("gateway"): f"{10 * _DAY}x90", _expiry("console"): f"{30 * _DAY}x90"},
        {  # one that is good for a month, and a gateway without
            _expiry("gateway", "a"): f"{30 * _DAY}x90",
            _expiry("gateway", "b"): "0x90",
            _expiry("console"): "0x90",
        },
        at=80,
        labels={"service": "gateway"},
    ),
    Case(
        "FramemeshCertificateExpires",
        {_expiry("gateway"): f"{30 * _DAY}x12", _expiry("console"): f"{2 * _DAY}x12"},
        {_expiry("gateway"): f"{5 * _DAY}x12", _expiry("console"): f"{5 * _DAY}x12"},
        severity="critical",
        labels={"service": "console"},
    ),
    Case(
        "FramemeshDiskNearlyFull",
        {'framemesh_disk_free_bytes{disk="lake"}': "8x12", 'framemesh_disk_size_bytes{disk="lake"}': "100x12"},
        {'framemesh_disk_free_bytes{disk="lake"}': "12x12", 'framemesh_disk_size_bytes{disk="lake"}': "100x12"},
        labels={"disk": "lake"},
    ),
    Case(
        "FramemeshDiskNearlyFull",
        {'framemesh_disk_free_bytes{disk="spill"}': "2x12", 'framemesh_disk_size_bytes{disk="spill"}': "100x12"},
        {'framemesh_disk_free_bytes{disk="spill"}': "4x12", 'framemesh_disk_size_bytes{disk="spill"}': "100x12"},
        severity="critical",
        labels={"disk": "spill"},
    ),
)
