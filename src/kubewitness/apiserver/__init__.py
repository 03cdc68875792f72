"""The server to be audited: read how it is set up, set it up, judge it, probe it, watch over it."""
