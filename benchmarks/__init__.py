"""Ratio tables: kubewitness beside the tools people use today, in one interleaved run over one generated log."""
