"""Generated from `protos/framemesh/v1` by `make protos`; don't edit."""
