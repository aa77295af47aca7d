"""Fine-tunes a model on what the cameras saw: from an exported dataset to a version in the lake's model store."""
