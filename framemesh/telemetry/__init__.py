"""What services tell of themselves: logs, metrics, health, traces."""
