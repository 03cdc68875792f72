"""One relation, `events`, over raw files; questions compile to SQL or to Python."""
