"""Events leave: the log file and its rotation, and the wrappers that truncate, buffer and join; flags as data."""
