"""The dashboards as code: `python scripts/dashboards.py` writes what is checked in under grafana/dashboards."""
