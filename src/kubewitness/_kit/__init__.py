"""What the standard library lacks: clock, opening and decompressing, units."""
