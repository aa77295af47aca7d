"""The desired models as Kubernetes objects."""
