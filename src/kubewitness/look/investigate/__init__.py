"""Follow up: who did it, and how sure the log can be of that."""
