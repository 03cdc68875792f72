"""kubewitness: the Kubernetes audit log as evidence."""

__version__ = "0.1.0"
