"""The Open Inference Protocol v2 over gRPC, with those of Triton's extensions that its clients and load tools use."""
