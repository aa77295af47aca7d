"""Makes the desired models real: local processes, or Kubernetes objects."""
