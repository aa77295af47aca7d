"""What a model's servers have used of the CPU, as their pages tell."""

from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

from framemesh.comparing.comparison import CpuCost


def cpu_cost(pages: Iterable[str], model: str) -> CpuCost | None:
    """The CPU time and the answers of a model's servers together; none without a page, or an answer.

    Args:
        pages: What `/metrics` of each of them says.
        model: The model's name.
    """
    seconds, answers = 0.0, 0
    for page in pages:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == "process_cpu_seconds_total":
                    seconds += sample.value
                elif sample.name == "framemesh_model_server_requests_total" and sample.labels == {
                    "model": model,
                    "outcome": "succeeded",
                }:
                    answers += round(sample.value)
    return CpuCost(seconds, answers) if answers else None
