"""What runs out, and when: the stream, disks, the certificate, servers, processors, memory."""

from grafana_foundation_sdk.models import units

from k8s.dashboards.building import BAD, WARN, Board, Lines, Section, Stat, rate, ratio

BOARD = Board(
    "capacity",
    "Capacity",
    "What runs out, and when.",
    [
        Section(
            "When is the stream full?",
            [
                Stat(
                    "Stream full in",
                    "At the pace of the last ten minutes; then cameras are refused. A week stands for never.",
                    "framemesh:frames_stream_full:seconds",
                    units.Seconds,
                    steps=[(3600, WARN), (6 * 3600, "green")],
                    falling=True,
                ),
                Stat(
                    "Outage that the stream survives",
                    "Of the lake, at the pace at which frames come now: what is free of the stream.",
                    f"""clamp_max((max(framemesh_gateway_waiting_limit_bytes) - max(framemesh_gateway_waiting_bytes))
                    / ({rate("framemesh_gateway_stored_bytes_total")} > 0), 7 * 86400) or vector(7 * 86400)""",
                    units.Seconds,
                    steps=[(120, WARN), (600, "green")],
                    falling=True,
                ),
                Stat(
                    "Certificate ends in",
                    "Of the gateway's port or the console's, whichever is first. A year stands for plain text.",
                    """(min(framemesh_gateway_certificate_expiry_timestamp_seconds > 0
                    or framemesh_console_certificate_expiry_timestamp_seconds > 0) - time())
                    or vector(365 * 86400)""",
                    units.Seconds,
                    steps=[(3 * 86400, WARN), (14 * 86400, "green")],
                    falling=True,
                ),
                Stat(
                    "Disk with the least room",
                    "Of those that services on this machine say; a cluster's volumes are the kubelet's to watch.",
                    "min(framemesh_disk_free_bytes / framemesh_disk_size_bytes) or vector(1)",
                    units.PercentUnit,
                    steps=[(0.03, WARN), (0.1, "green")],
                    falling=True,
                ),
                Lines(
                    "Bytes that come",
                    "Of frames, as they are stored.",
                    {"stored": rate("framemesh_gateway_stored_bytes_total")},
                    units.BytesPerSecondIEC,
                ),
                Lines(
                    "Room on disks",
                    "By what is kept there.",
                    {"{{disk}} {{instance}}": "framemesh_disk_free_bytes"},
                    units.BytesIEC,
                ),
            ],
        ),
        Section(
            "Which model needs more servers?",
            [
                Lines(
                    "How busy servers are",
                    "What is at them, of the most that they take at once. Near 1 for long: more servers.",
                    {
                        "{{model}}": """sum by (model) (framemesh_gateway_model_in_flight_images)
                        / (sum by (model) (framemesh_gateway_model_images_at_once) > 0)"""
                    },
                    units.PercentUnit,
                    steps=[(0.9, WARN)],
                    opens=("models", "model"),
                ),
                Lines(
                    "Skipped",
                    "Share of the stored frames that `latest` let go for newer ones.",
                    {
                        "{{model}}": ratio(
                            rate("framemesh_gateway_model_frames_total", "model", only='outcome="skipped"'),
                            rate("framemesh_gateway_model_frames_total", "model"),
                        )
                    },
                    units.PercentUnit,
                    opens=("models", "model"),
                ),
                Lines(
                    "Images a second",
                    "That servers run, by model.",
                    {"{{model}}": rate("framemesh_model_server_batch_images_sum", "model")},
                    units.CountsPerSecond,
                    opens=("models", "model"),
                ),
                Lines(
                    "Time in inference for each second",
                    "Of all servers: how many batches run at once, on the average.",
                    {"{{model}}": rate("framemesh_model_server_inference_duration_seconds_sum", "model")},
                    opens=("models", "model"),
                ),
            ],
        ),
        Section(
            "What do the services take?",
            [
                Lines(
                    "Processor",
                    "Cores in use.",
                    {"{{service}}": rate("process_cpu_seconds_total", "service", only='job="framemesh"')},
                    stacked=True,
                ),
                Lines(
                    "Memory",
                    "Resident.",
                    {"{{service}}": 'sum by (service) (process_resident_memory_bytes{job="framemesh"})'},
                    units.BytesIEC,
                    stacked=True,
                ),
                Lines(
                    "Files open",
                    "Of what the process may have.",
                    {
                        "{{service}} {{instance}}": """process_open_fds{job="framemesh"}
                        / process_max_fds{job="framemesh"}"""
                    },
                    units.PercentUnit,
                    steps=[(0.8, BAD)],
                ),
                Lines(
                    "Machines of model servers",
                    "Share of their processors in use, by whoever uses them.",
                    {"{{instance}}": "nv_cpu_utilization"},
                    units.PercentUnit,
                    most=1,
                ),
            ],
        ),
    ],
)
