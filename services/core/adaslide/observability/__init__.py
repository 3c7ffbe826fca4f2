"""What a process tells about itself: logs, traces, metrics, and whether it can work."""
