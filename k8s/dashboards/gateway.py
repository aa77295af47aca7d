"""The gateway: from NATS to the lake, and what callers get."""

from grafana_foundation_sdk.models import units

from k8s.dashboards.building import BAD, WARN, Board, Lines, Section, Stat, quantile, rate, ratio

BOARD = Board(
    "gateway",
    "Gateway and delivery",
    "Storing frames, and answering callers.",
    [
        Section(
            "Is the objective kept?",
            [
                Stat(
                    "Stored within 5 s",
                    "Of the last six hours; the objective is 99.9 %.",
                    "1 - (framemesh:frames_stored_late:ratio_rate6h >= 0) or vector(1)",
                    units.PercentUnit,
                    steps=[(0.99, WARN), (0.999, "green")],
                    falling=True,
                ),
                Stat(
                    "Budget spent at",
                    "How many times as fast as the objective allows, by the last hour. At 1 the budget just lasts; "
                    "at 14.4 a "
                    "month's is gone in two days.",
                    "((framemesh:frames_stored_late:ratio_rate1h >= 0) or vector(0)) / 0.001",
                    steps=[(1, WARN), (14.4, BAD)],
                ),
                Stat(
                    "Messages that are no frames",
                    "Dead letters within the time range.",
                    'sum(increase(framemesh_gateway_frames_total{outcome="dead_lettered"}[$__range])) or vector(0)',
                    steps=[(1, WARN)],
                ),
                Stat(
                    "Calls refused for want of room",
                    "Images, and streams of them, within the time range.",
                    "sum(increase(framemesh_gateway_analyze_shed_total[$__range])) or vector(0)",
                    steps=[(1, WARN)],
                ),
            ],
        ),
        Section(
            "How fast are frames stored?",
            [
                Lines(
                    "Frames by outcome",
                    "What is put off comes again: the lake or NATS did not take it just then.",
                    {
                        "{{outcome}}": rate("framemesh_gateway_frames_total", "outcome"),
                    },
                    units.CountsPerSecond,
                ),
                Lines(
                    "From NATS's acceptance until stored",
                    "What the objective is about: waiting in the stream, then storing.",
                    {
                        "p50": quantile(0.5, "framemesh_gateway_stored_age_seconds"),
                        "p99": quantile(0.99, "framemesh_gateway_stored_age_seconds"),
                    },
                    units.Seconds,
                    steps=[(5, BAD)],
                ),
                Lines(
                    "Storing itself",
                    "From taking a frame from the stream until it left it: stored, referred to and synced.",
                    {
                        "p50": quantile(0.5, "framemesh_gateway_store_duration_seconds"),
                        "p99": quantile(0.99, "framemesh_gateway_store_duration_seconds"),
                    },
                    units.Seconds,
                ),
                Lines(
                    "Being stored now",
                    "At most `FRAMEMESH_STORE_WORKERS` of each gateway: there, the lake is what frames wait for.",
                    {"{{instance}}": "framemesh_gateway_storing_frames"},
                ),
            ],
        ),
        Section(
            "What do callers get?",
            [
                Lines(
                    "Images by model and outcome",
                    "What clients asked about by `Analyze`, apart from frames.",
                    {
                        "{{model}} {{outcome}}": rate("framemesh_gateway_analyze_total", "model", "outcome"),
                    },
                    units.CountsPerSecond,
                    opens=("models", "model"),
                ),
                Lines(
                    "Refused",
                    "For want of room, by which limit; or of a token, by reason.",
                    {
                        "{{limit}}": rate("framemesh_gateway_analyze_shed_total", "limit"),
                        "{{reason}}": rate("framemesh_gateway_denied_calls_total", "reason"),
                    },
                    units.CountsPerSecond,
                    steps=[(0.001, WARN)],
                ),
                Lines(
                    "Images that calls hold",
                    "At most `FRAMEMESH_ANALYZE_IMAGES` of each gateway.",
                    {"{{instance}}": "framemesh_gateway_analyze_images"},
                ),
                Lines(
                    "Failed",
                    "Share of what callers asked about.",
                    {
                        "{{model}}": ratio(
                            rate("framemesh_gateway_analyze_total", "model", only='outcome="failed"'),
                            rate("framemesh_gateway_analyze_total", "model"),
                        )
                    },
                    units.PercentUnit,
                    steps=[(0.05, WARN)],
                ),
                Lines(
                    "Results that watchers missed",
                    "They read too slowly.",
                    {"missed": rate("framemesh_gateway_watch_missed_results_total")},
                    units.CountsPerSecond,
                ),
                Lines(
                    "Replayed frames",
                    "Of the past; `gone` ones are in no lake any more.",
                    {
                        "{{model}} {{outcome}}": rate("framemesh_gateway_replayed_frames_total", "model", "outcome"),
                    },
                    units.CountsPerSecond,
                ),
            ],
        ),
        Section(
            "What does a gateway hold?",
            [
                Lines(
                    "Memory for images",
                    "Each has a limit of its own: `FRAMEMESH_STORE_BYTES`, `_HOLD_BYTES`, `_ANALYZE_BYTES`.",
                    {
                        "{{instance}} being stored": "framemesh_gateway_storing_bytes",
                        "{{instance}} just stored": "framemesh_gateway_held_bytes",
                        "{{instance}} of callers": "framemesh_gateway_analyze_bytes",
                    },
                    units.BytesIEC,
                ),
                Lines(
                    "Memory of the process",
                    "Resident.",
                    {"{{instance}}": 'process_resident_memory_bytes{job="framemesh", service="gateway"}'},
                    units.BytesIEC,
                ),
            ],
        ),
    ],
)
