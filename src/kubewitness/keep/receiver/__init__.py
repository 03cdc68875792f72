"""The door for kube-apiserver's webhook: who comes is known, what comes lasts before it is acknowledged."""
