"""Mend a policy file: the smallest changes of its text, each proved to change only what it says."""
