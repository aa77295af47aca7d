"""gRPC as every part of framemesh speaks it: servers, channels, status codes."""
