"""NATS and the lake: what waits, what is kept, how far the tables are."""

from grafana_foundation_sdk.models import units

from k8s.dashboards.building import BAD, WARN, Board, Lines, Section, Stat, rate

BOARD = Board(
    "storage",
    "Storage",
    "What waits in NATS, what the lake gets, how far the tables are.",
    [
        Section(
            "Does the lake keep up?",
            [
                Stat(
                    "Frames that wait",
                    "In NATS, to be stored.",
                    "max(framemesh_gateway_waiting_frames)",
                    steps=[(500, WARN)],
                ),
                Stat(
                    "The oldest",
                    "Below a second as long as the lake keeps up.",
                    "max(framemesh_gateway_waiting_oldest_seconds)",
                    units.Seconds,
                    steps=[(5, WARN), (30, BAD)],
                ),
                Stat(
                    "Stream of frames",
                    "How full it is. Full, it refuses cameras.",
                    "max(framemesh_gateway_waiting_bytes) / max(framemesh_gateway_waiting_limit_bytes)",
                    units.PercentUnit,
                    steps=[(0.5, WARN), (0.8, BAD)],
                ),
                Stat(
                    "Rows not in the tables",
                    "Of references and results. The archiver writes every ten seconds.",
                    "sum(max by (table) (framemesh_archiver_waiting_messages))",
                    steps=[(100_000, WARN)],
                ),
                Lines(
                    "Waiting frames over time",
                    "A hump is an outage of the lake that is over; a slope, a lake that is too slow.",
                    {"frames": "max(framemesh_gateway_waiting_frames)"},
                ),
                Lines(
                    "Bytes that wait",
                    "Against what NATS may hold.",
                    {
                        "waiting": "max(framemesh_gateway_waiting_bytes)",
                        "limit": "max(framemesh_gateway_waiting_limit_bytes)",
                    },
                    units.BytesIEC,
                ),
                Lines(
                    "Put off",
                    "Frames that the lake or NATS did not take just then; each comes again.",
                    {"put off": rate("framemesh_gateway_frames_total", only='outcome="put_off"')},
                    units.CountsPerSecond,
                    steps=[(0.001, WARN)],
                ),
                Lines(
                    "Into the lake",
                    "Bytes of frames, by camera.",
                    {"{{camera}}": rate("framemesh_gateway_stored_bytes_total", "camera")},
                    units.BytesPerSecondIEC,
                    stacked=True,
                    opens=("cameras", "camera"),
                ),
            ],
        ),
        Section(
            "What do the streams keep?",
            [
                Lines(
                    "How full they are",
                    "These let their oldest go when full, or after `FRAMEMESH_KEEP_DAYS`.",
                    {
                        "{{stream}}": """max by (stream) (framemesh_gateway_stream_bytes)
                        / max by (stream) (framemesh_gateway_stream_limit_bytes)"""
                    },
                    units.PercentUnit,
                    most=1,
                ),
                Lines(
                    "Messages",
                    "Dead letters that are kept are to be looked at: `framemesh deadletters list`.",
                    {"{{stream}}": "max by (stream) (framemesh_gateway_stream_messages)"},
                ),
            ],
        ),
        Section(
            "How far are the tables, and what is deleted?",
            [
                Lines(
                    "Rows not written yet",
                    "By table.",
                    {"{{table}}": "max by (table) (framemesh_archiver_waiting_messages)"},
                ),
                Lines(
                    "Rows written",
                    "By table.",
                    {"{{table}}": rate("framemesh_archiver_rows_total", "table")},
                    units.CountsPerSecond,
                ),
                Lines(
                    "Files written",
                    "New ones, and those that merge older ones.",
                    {"{{table}} {{kind}}": rate("framemesh_archiver_files_total", "table", "kind")},
                    units.CountsPerSecond,
                ),
                Lines(
                    "Messages that are not ours",
                    "Passed over by the archiver.",
                    {"{{table}}": rate("framemesh_archiver_foreign_messages_total", "table")},
                    units.CountsPerSecond,
                ),
                Lines(
                    "Deleted by retention",
                    "Bytes of frames that need not be kept any longer.",
                    {"deleted": f"{rate('framemesh_archiver_deleted_bytes_total')} or vector(0)"},
                    units.BytesPerSecondIEC,
                ),
                Lines(
                    "Kept of cameras with a limit in bytes",
                    "All of them together.",
                    {"kept": "sum(framemesh_archiver_kept_bytes) or vector(0)"},
                    units.BytesIEC,
                ),
            ],
        ),
    ],
)
