"""The public Merkle log over what is kept: tree, tiles, signed notes, proofs. Pure: values in, values out."""
