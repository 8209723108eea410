"""What is open in this process just now, for `rlm-otel ps` in another terminal: no collector, nothing on the way."""
