"""Camera agents: cameras, videos, folders and stills become JPEG frames on NATS."""
