"""Each model: is it slow, why, does it keep up, does it answer as it should?"""

from grafana_foundation_sdk.models import units

from k8s.dashboards.building import BAD, WARN, Board, Lines, Section, Stat, quantile, rate, ratio

_OF = 'model=~"$model"'


def _mean(histogram: str) -> str:
    total, count = (rate(f"{histogram}_{part}", "model", only=_OF) for part in ("sum", "count"))
    return ratio(total, count)


_SERVER = "framemesh_model_server"
_STAGES = {
    "{{model}} queue": _mean(f"{_SERVER}_queue_duration_seconds"),
    "{{model}} decode": _mean(f"{_SERVER}_preprocess_duration_seconds"),
    "{{model}} inference": _mean(f"{_SERVER}_inference_duration_seconds"),
    "{{model}} answer": _mean(f"{_SERVER}_postprocess_duration_seconds"),
    "{{model}} network and gateway": f"""clamp_min(
        ({_mean("framemesh_gateway_model_latency_seconds")}) - ({_mean(f"{_SERVER}_request_duration_seconds")}), 0)""",
}

BOARD = Board(
    "models",
    "Models",
    "Which model is slow, and why: its queue, decoding, the network under inference, or the way there and back.",
    [
        Section(
            "Is it slow?",
            [
                Stat(
                    "Stale answers",
                    "Of the last five minutes, about frames of over 2.5 s ago. The objective is 1 %; `every` may be "
                    "behind.",
                    f"max((model:framemesh_answers_stale:ratio_rate5m{{{_OF}}} >= 0)) or vector(0)",
                    units.PercentUnit,
                    steps=[(0.01, WARN), (0.144, BAD)],
                ),
                Stat(
                    "Servers missing",
                    "Wanted, and not answering.",
                    f"""sum(max by (model) (framemesh_gateway_model_wanted_replicas{{{_OF}}})
                    - max by (model) (framemesh_gateway_model_replicas{{{_OF}}})) or vector(0)""",
                    steps=[(1, BAD)],
                ),
                Stat(
                    "Servers out of reach",
                    "They say that they serve, but a gateway leaves them out, as they don't answer it.",
                    f"sum(framemesh_gateway_model_servers_away{{{_OF}}}) or vector(0)",
                    steps=[(1, BAD)],
                ),
                Stat(
                    "Run otherwise than asked",
                    "Servers whose export failed, or answered otherwise than torch (parity).",
                    f"sum(framemesh_model_server_fallback{{{_OF}}}) or vector(0)",
                    steps=[(1, WARN)],
                ),
                Stat(
                    "Can't be deployed",
                    "Models whose last deployment failed.",
                    f"sum(framemesh_deployer_model_failing{{{_OF}}}) or vector(0)",
                    steps=[(1, BAD)],
                ),
                Lines(
                    "Age of answers",
                    "Since the frame was taken, by the camera's clock. The objective is 2.5 s.",
                    {
                        "{{model}} p50": quantile(0.5, "framemesh_gateway_model_staleness_seconds", "model", only=_OF),
                        "{{model}} p99": quantile(0.99, "framemesh_gateway_model_staleness_seconds", "model", only=_OF),
                    },
                    units.Seconds,
                    steps=[(2.5, BAD)],
                ),
                Lines(
                    "Latency",
                    "From sending a frame to the model until its answer came.",
                    {
                        "{{model}} p50": quantile(0.5, "framemesh_gateway_model_latency_seconds", "model", only=_OF),
                        "{{model}} p99": quantile(0.99, "framemesh_gateway_model_latency_seconds", "model", only=_OF),
                    },
                    units.Seconds,
                ),
            ],
        ),
        Section(
            "Why?",
            [
                Lines(
                    "Where the time goes",
                    "Means. A long queue: more servers, or a smaller model; decode: smaller frames; inference: another "
                    "precision or machine; network and gateway: a busy gateway, or frames read from the lake.",
                    _STAGES,
                    units.Seconds,
                    stacked=True,
                ),
                Lines(
                    "Images that wait at servers",
                    "Some keep a server busy; ever more of them are too many.",
                    {"{{model}}": f"sum by (model) (framemesh_model_server_queued_images{{{_OF}}})"},
                ),
                Lines(
                    "At servers at once",
                    "What the gateways have there, and the most that they allow as servers are now. There, servers "
                    "are busy.",
                    {
                        "{{model}}": f"sum by (model) (framemesh_gateway_model_in_flight_images{{{_OF}}})",
                        "{{model}} most": f"sum by (model) (framemesh_gateway_model_images_at_once{{{_OF}}})",
                    },
                ),
                Lines(
                    "Images in a batch",
                    "Mean.",
                    {"{{model}}": _mean(f"{_SERVER}_batch_images")},
                ),
                Lines(
                    "Stages (p99)",
                    "At the servers.",
                    {
                        "{{model}} queue": quantile(0.99, f"{_SERVER}_queue_duration_seconds", "model", only=_OF),
                        "{{model}} decode": quantile(0.99, f"{_SERVER}_preprocess_duration_seconds", "model", only=_OF),
                        "{{model}} inference": quantile(
                            0.99, f"{_SERVER}_inference_duration_seconds", "model", only=_OF
                        ),
                    },
                    units.Seconds,
                ),
                Lines(
                    "Frames read from the lake",
                    "The gateway's memory no longer held them: the model is behind, or `FRAMEMESH_HOLD_BYTES` is "
                    "small.",
                    {"{{model}}": rate("framemesh_gateway_lake_reads_total", "model", only=_OF)},
                    units.CountsPerSecond,
                ),
            ],
        ),
        Section(
            "Does it keep up?",
            [
                Lines(
                    "Behind",
                    "Seconds of frames, at today's pace, that wait for it.",
                    {"{{model}}": f"model:framemesh_backlog:seconds{{{_OF}}}"},
                    units.Seconds,
                    steps=[(60, WARN)],
                ),
                Lines(
                    "Frames by outcome",
                    "`latest` skips frames that a newer one has overtaken.",
                    {
                        "{{model}} {{outcome}}": rate(
                            "framemesh_gateway_model_frames_total", "model", "outcome", only=_OF
                        )
                    },
                    units.CountsPerSecond,
                ),
                Lines(
                    "Servers",
                    "That answer, and that are wanted.",
                    {
                        "{{model}} answer": f"max by (model) (framemesh_gateway_model_replicas{{{_OF}}})",
                        "{{model}} wanted": f"max by (model) (framemesh_gateway_model_wanted_replicas{{{_OF}}})",
                    },
                ),
                Lines(
                    "Tried again",
                    "Frames sent once more after a passing error.",
                    {"{{model}}": rate("framemesh_gateway_model_retries_total", "model", only=_OF)},
                    units.CountsPerSecond,
                ),
            ],
        ),
        Section(
            "Does it answer as it should?",
            [
                Lines(
                    "Failed",
                    "Share of the frames that it was asked about. `framemesh deadletters list` has each with its "
                    "reason.",
                    {
                        "{{model}}": ratio(
                            rate("framemesh_gateway_model_frames_total", "model", only=f'{_OF}, outcome="failed"'),
                            rate("framemesh_gateway_model_frames_total", "model", only=f'{_OF}, outcome!="skipped"'),
                        )
                    },
                    units.PercentUnit,
                    steps=[(0.05, WARN)],
                ),
                Lines(
                    "Calls at servers by outcome",
                    "`refused`: the queue was full; `expired`: the caller's time was up; `invalid`: no image.",
                    {
                        "{{model}} {{outcome}}": rate(
                            "framemesh_model_server_requests_total", "model", "outcome", only=_OF
                        )
                    },
                    units.CountsPerSecond,
                ),
                Lines(
                    "Shadows",
                    "Their frames by outcome. Nobody is told their answers, and what gateways count of models above "
                    "leaves them out.",
                    {
                        "{{model}} {{outcome}}": rate(
                            "framemesh_gateway_shadow_frames_total", "model", "outcome", only=_OF
                        )
                        + " or vector(0)"
                    },
                    units.CountsPerSecond,
                ),
                Lines(
                    "What is served",
                    "Servers by version, and what runs it. Two versions are a roll-out.",
                    {
                        "{{model}} {{version}} {{runtime}}": f"""count by (model, version, runtime)
                        (framemesh_model_server_model_info{{{_OF}}})"""
                    },
                ),
                Lines(
                    "Time to come up",
                    "From a server's start to its first answer: what a new server costs.",
                    {"{{model}}": f"max by (model) (framemesh_model_server_load_duration_seconds{{{_OF}}})"},
                    units.Seconds,
                ),
                Lines(
                    "Deployments",
                    "And scalings, within the last hour, by how they ended.",
                    {"{{outcome}}": "sum by (outcome) (increase(framemesh_deployer_deployments_total[1h]))"},
                ),
                Lines(
                    "Trainings",
                    "Of each name the last, by state.",
                    {"{{state}}": "max by (state) (framemesh_deployer_trainings)"},
                ),
            ],
        ),
    ],
    {"model": "framemesh_gateway_model_info"},
)
