"""Each camera on its way to NATS: is it silent, are its frames lost, where do they wait?"""

from grafana_foundation_sdk.models import units

from k8s.dashboards.building import BAD, WARN, Board, Lines, Section, Stat, quantile, rate
from k8s.dashboards.overview import LOST

_OF = 'camera=~"$camera"'

BOARD = Board(
    "cameras",
    "Cameras",
    "From the picture to NATS, by camera. Cameras that no agent of ours runs show under `Stored` alone.",
    [
        Section(
            "Which cameras are silent?",
            [
                Stat(
                    "Cameras that give pictures",
                    "Of those that agents run.",
                    f"sum(max by (camera) (framemesh_ingest_source_up{{{_OF}}})) or vector(0)",
                ),
                Stat(
                    "Silent cameras",
                    "Lost, stalled, or not connected yet.",
                    f"""count(max by (camera) (framemesh_ingest_source_up{{{_OF}}}) == 0) or vector(0)""",
                    steps=[(1, BAD)],
                ),
                Stat(
                    "Files of cameras refused",
                    "Agents that run on with the cameras of before, as their file can't be used.",
                    "sum(framemesh_ingest_cameras_file_refused) or vector(0)",
                    steps=[(1, WARN)],
                ),
                Lines(
                    "Pictures",
                    "What each source gives.",
                    {"{{camera}}": rate("framemesh_ingest_captured_frames_total", "camera", only=_OF)},
                    units.CountsPerSecond,
                ),
                Lines(
                    "Age of the newest picture",
                    "It grows while a camera is silent.",
                    {
                        "{{camera}}": f"""time() - max by (camera)
                        (framemesh_ingest_newest_captured_timestamp_seconds{{{_OF}}} > 0)"""
                    },
                    units.Seconds,
                    steps=[(60, WARN)],
                ),
                Lines(
                    "Trouble with sources",
                    "Failed tries to open or read one, reopenings, and stalls.",
                    {
                        "{{camera}} errors": rate("framemesh_ingest_source_errors_total", "camera", only=_OF),
                        "{{camera}} reopened": rate("framemesh_ingest_source_reconnects_total", "camera", only=_OF),
                        "{{camera}} stalls": rate("framemesh_ingest_source_stalls_total", "camera", only=_OF),
                    },
                    units.CountsPerSecond,
                ),
                Lines(
                    "Stored",
                    "Every camera, those that no agent of ours runs too.",
                    {"{{camera}}": rate("framemesh_gateway_frames_total", "camera", only=f'{_OF}, outcome="stored"')},
                    units.CountsPerSecond,
                ),
            ],
        ),
        Section(
            "Are frames lost?",
            [
                Lines(
                    "Lost",
                    "By what became of them. `refused`: as many waited for NATS as may; `disk_failed`: had to wait "
                    "and the "
                    "disk took none; `cut`: by a stop without a disk.",
                    {
                        "{{camera}} {{outcome}}": rate(
                            "framemesh_ingest_frames_total", "camera", "outcome", only=f"{_OF}, {LOST}"
                        )
                    },
                    units.CountsPerSecond,
                    steps=[(0.001, BAD)],
                ),
                Lines(
                    "Not sent on purpose, or too late",
                    "`unchanged` pictures need not be sent; `late` ones never were there: source or machine were too "
                    "slow.",
                    {
                        "{{camera}} {{outcome}}": rate(
                            "framemesh_ingest_frames_total",
                            "camera",
                            "outcome",
                            only=f'{_OF}, outcome=~"late|unchanged|untimed"',
                        )
                    },
                    units.CountsPerSecond,
                ),
            ],
        ),
        Section(
            "Where do frames wait?",
            [
                Lines(
                    "From the picture to NATS (p99)",
                    "Until NATS has it on disk, with every retry; the backlog after an outage counts in full.",
                    {"{{camera}}": quantile(0.99, "framemesh_ingest_publish_duration_seconds", "camera", only=_OF)},
                    units.Seconds,
                    steps=[(1, WARN)],
                ),
                Lines(
                    "On the agent's disk",
                    "Frames that NATS could not take at once. They go first once it can.",
                    {"{{camera}}": f"sum by (camera) (framemesh_ingest_buffered_frames{{{_OF}}})"},
                    steps=[(1, WARN)],
                ),
                Lines(
                    "Bytes on the agent's disk",
                    "At most `spill_bytes` of each camera.",
                    {"{{camera}}": f"sum by (camera) (framemesh_ingest_buffered_bytes{{{_OF}}})"},
                    units.BytesIEC,
                ),
                Lines(
                    "Under way to NATS",
                    "Captured, and not acknowledged yet.",
                    {"{{camera}}": f"sum by (camera) (framemesh_ingest_in_flight_frames{{{_OF}}})"},
                ),
                Lines(
                    "Tried again, and made smaller",
                    "Publishes that failed; frames that were encoded anew because NATS takes none of their size.",
                    {
                        "{{camera}} retries": rate("framemesh_ingest_publish_retries_total", "camera", only=_OF),
                        "{{camera}} smaller": rate("framemesh_ingest_reencoded_frames_total", "camera", only=_OF),
                        "{{camera}} to disk": rate("framemesh_ingest_spilled_frames_total", "camera", only=_OF),
                    },
                    units.CountsPerSecond,
                ),
                Lines(
                    "Room on agents' disks",
                    "Where frames wait for NATS.",
                    {
                        "{{instance}}": """framemesh_disk_free_bytes{disk="spill"}
                        / framemesh_disk_size_bytes{disk="spill"}"""
                    },
                    units.PercentUnit,
                    most=1,
                ),
            ],
        ),
    ],
    {"camera": 'framemesh_gateway_frames_total{camera!="unknown"}'},
)
