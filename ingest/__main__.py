"""`python -m ingest`."""

from framemesh.service import main
from ingest.app import ingest
from ingest.settings import IngestSettings

if __name__ == "__main__":
    main("ingest", IngestSettings, ingest)
