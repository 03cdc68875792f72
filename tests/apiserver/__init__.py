"""Tests of kubewitness.apiserver."""
