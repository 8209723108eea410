"""What people look at in a terminal: spans as trees, figures by model, traces from Jaeger, cost from Prometheus."""
