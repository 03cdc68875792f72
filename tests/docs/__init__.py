"""The documentation tells the truth: it is executed, generated and complete."""
