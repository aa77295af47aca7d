"""Grafana dashboards as code: a module for each, which says its questions and their panels in the order of asking."""
