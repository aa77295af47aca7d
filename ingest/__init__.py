"""Camera agents: stills, folders and videos become JPEG frames on NATS."""
