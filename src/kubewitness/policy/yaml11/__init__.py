"""
YAML as kube-apiserver's decoder reads it: source -> scanner -> parser -> values.

The scanner is built of `cursor` (where it reads), `scalars` and `properties`; `resolve` says what a scalar means.
"""

from kubewitness.policy.yaml11.values import Decoded, decode

__all__ = ["Decoded", "decode"]
