"""Our model server beside others: the same model, the same JPEGs, the same machine, in interleaved rounds."""
