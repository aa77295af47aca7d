"""The web UI: see the cameras, name a model, watch it answer. A client of the mesh like any other."""
