"""Requests come in: `asgi` wraps a Python web application, `auditing` puts policy and backends together by flags."""
