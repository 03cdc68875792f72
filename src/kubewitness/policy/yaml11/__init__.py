"""YAML as kube-apiserver's decoder reads it: source -> scanner -> parser -> nodes -> values, one module each."""

from kubewitness.policy.yaml11.values import Decoded, decode

__all__ = ["Decoded", "decode"]
