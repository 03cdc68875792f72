"""Where the parts of a server are put together: configuration, processes, certificates, signals."""
