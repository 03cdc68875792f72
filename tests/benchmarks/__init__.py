"""The benchmarks measure what they say: the generator is deterministic, the judge is strict."""
