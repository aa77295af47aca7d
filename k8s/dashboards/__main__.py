"""Writes k8s/components/dashboards/*.json: `make dashboards`. A test compares them with what this would write."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from k8s.dashboards import cameras, capacity, gateway, models, overview, storage

FOLDER = Path(__file__).parents[1] / "components/dashboards"
BOARDS = (overview.BOARD, cameras.BOARD, gateway.BOARD, models.BOARD, storage.BOARD, capacity.BOARD)


def files() -> dict[Path, str]:
    """Every dashboard's file, and what belongs into it."""
    encoder = JSONEncoder(sort_keys=True, indent=1)
    return {FOLDER / f"{board.name}.json": encoder.encode(board.build()) + "\n" for board in BOARDS}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
