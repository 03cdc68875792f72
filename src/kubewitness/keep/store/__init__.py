"""Events on disk: segments appended to, synced, recovered and read. Exact bytes; the seal is made from them."""
