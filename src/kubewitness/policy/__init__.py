"""What is decided: request attributes, load, validate, match, evaluate, explain."""
