"""`python -m archiver`."""

from archiver.app import archiver
from archiver.settings import ArchiverSettings
from framemesh.service import main

if __name__ == "__main__":
    main("archiver", ArchiverSettings, archiver)
