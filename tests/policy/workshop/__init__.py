"""Tests of the policy workshop."""
