"""The viewing stack (collector, Jaeger, Prometheus, Grafana) on this machine: with Docker, or as plain programs."""
