"""NATS to the lake, frames to the models, and the public gRPC API."""
