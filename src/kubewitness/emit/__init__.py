"""
What an API server does: a request becomes Events (`stages/`), and the Events leave (`backends/`).

The two meet in `event.flow.Sink` only. Below both: `wire` (the bytes kube-apiserver writes), `legacy` (its one-line
text form), `metrics` (what it counts).
"""
