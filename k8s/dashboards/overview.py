"""One look: are frames lost or late, which model is slow, when is the stream full, does everything run?"""

from grafana_foundation_sdk.models import units

from k8s.dashboards.building import BAD, WARN, Board, Lines, Section, Stat, quantile, rate

LOST = 'outcome=~"refused|disk_failed|damaged|cut|too_large|unreadable"'
"""How frames end that never reach NATS."""

BOARD = Board(
    "overview",
    "Overview",
    "Start here: each row is a question, and each panel leads to the dashboard with the details.",
    [
        Section(
            "Are frames lost?",
            [
                Stat(
                    "Frames lost",
                    "Within the time range, on their way from the cameras to NATS. Once NATS has a frame, none is "
                    "lost.",
                    f"sum(increase(framemesh_ingest_frames_total{{{LOST}}}[$__range])) or vector(0)",
                    steps=[(1, BAD)],
                ),
                Stat(
                    "Dead letters",
                    "Messages within the time range that are no frames, and frames on which a model failed; each is "
                    "kept "
                    "with its reason: `framemesh deadletters list`.",
                    """(sum(increase(framemesh_gateway_frames_total{outcome="dead_lettered"}[$__range])) or vector(0))
                    + (sum(increase(framemesh_gateway_model_frames_total{outcome="failed"}[$__range])) or vector(0))""",
                    steps=[(1, WARN)],
                ),
                Stat(
                    "Stored late",
                    "Frames of the last five minutes that took over 5 s from NATS to the lake. The objective is 0.1 %.",
                    "(framemesh:frames_stored_late:ratio_rate5m >= 0) or vector(0)",
                    units.PercentUnit,
                    steps=[(0.001, WARN), (0.0144, BAD)],
                ),
                Stat(
                    "Oldest frame not stored",
                    "Below a second as long as the lake keeps up.",
                    "max(framemesh_gateway_waiting_oldest_seconds)",
                    units.Seconds,
                    steps=[(5, WARN), (30, BAD)],
                ),
                Stat(
                    "Stream full in",
                    "At the pace of the last ten minutes; then cameras are refused. A week stands for never.",
                    "framemesh:frames_stream_full:seconds",
                    units.Seconds,
                    steps=[(3600, WARN), (6 * 3600, "green")],
                    falling=True,
                ),
                Stat(
                    "Alerts",
                    "How many of framemesh's alerts fire. docs/runbooks has a page for each.",
                    'count(ALERTS{alertname=~"Framemesh.*", alertstate="firing"}) or vector(0)',
                    steps=[(1, BAD)],
                ),
                Lines(
                    "Frames",
                    "What cameras send and what is stored are the same as long as nothing waits.",
                    {
                        "published": rate("framemesh_ingest_frames_total", only='outcome="published"'),
                        "stored": rate("framemesh_gateway_frames_total", only='outcome="stored"'),
                        "put off": rate("framemesh_gateway_frames_total", only='outcome="put_off"'),
                    },
                    units.CountsPerSecond,
                ),
                Lines(
                    "Alerts that fire",
                    "By name; docs/runbooks/<name>.md says what each means and how to mend it.",
                    {
                        "{{alertname}} {{severity}}": """sum by (alertname, severity)
                        (ALERTS{alertname=~"Framemesh.*", alertstate="firing"}) or vector(0)"""
                    },
                ),
            ],
        ),
        Section(
            "Which model is slow?",
            [
                Lines(
                    "Age of answers (p99)",
                    "Since the frame was taken. The objective is 2.5 s; under `every` a model may be behind. Click "
                    "for why.",
                    {"{{model}}": quantile(0.99, "framemesh_gateway_model_staleness_seconds", "model")},
                    units.Seconds,
                    steps=[(2.5, BAD)],
                    opens=("models", "model"),
                ),
                Lines(
                    "Answers",
                    "Stored frames by model, and how each ended. `latest` skips frames that a newer one has overtaken.",
                    {"{{model}} {{outcome}}": rate("framemesh_gateway_model_frames_total", "model", "outcome")},
                    units.CountsPerSecond,
                    opens=("models", "model"),
                ),
                Lines(
                    "Behind",
                    "Seconds of frames, at today's pace, that wait for the model.",
                    {"{{model}}": "model:framemesh_backlog:seconds"},
                    units.Seconds,
                    steps=[(60, WARN)],
                    opens=("models", "model"),
                ),
                Lines(
                    "Servers that answer, of those wanted",
                    "1 is all of them.",
                    {
                        "{{model}}": """max by (model) (framemesh_gateway_model_replicas)
                        / (max by (model) (framemesh_gateway_model_wanted_replicas) > 0)"""
                    },
                    units.PercentUnit,
                    opens=("models", "model"),
                ),
            ],
        ),
        Section(
            "Does everything run?",
            [
                Lines(
                    "Services that answer",
                    "By kind; each is asked by Prometheus.",
                    {"{{service}}": 'sum by (service) (up{job="framemesh"})'},
                ),
                Lines(
                    "Services that don't",
                    "0, but for the moment of a roll-out.",
                    {
                        "{{service}}": """count by (service) (up{job="framemesh"})
                        - sum by (service) (up{job="framemesh"})"""
                    },
                    steps=[(1, BAD)],
                ),
                Lines(
                    "Processor",
                    "Cores in use.",
                    {"{{service}}": rate("process_cpu_seconds_total", "service", only='job="framemesh"')},
                    stacked=True,
                ),
                Lines(
                    "Restarts",
                    "Within 15 minutes.",
                    {"{{service}} {{instance}}": 'changes(process_start_time_seconds{job="framemesh"}[15m])'},
                    steps=[(3, WARN)],
                ),
            ],
        ),
    ],
)
