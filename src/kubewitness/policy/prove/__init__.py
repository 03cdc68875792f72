"""Exact answers about audit policies over all possible requests: shadowing, diff, prove, minify."""
