"""
jq over audit logs: what jq prints, sooner.

`run` runs the jq on PATH over sifted inputs; `program`, `silence` and `values` prove which inputs a filter passes over;
`sift` takes them out of the stream; `arguments` and `sources` read jq's command line and its inputs.
"""
