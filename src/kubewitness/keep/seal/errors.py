"""What can be wrong with a log that is being verified."""


class SealError(Exception):
    """Base of everything that verification can refuse."""


class ProofError(SealError):
    """A proof does not lead to the root it should."""


class NoteError(SealError):
    """A signed note or checkpoint is malformed, or nobody known signed it."""


class TileError(SealError):
    """A tile is missing, cut short or named wrongly."""


class LeafError(SealError):
    """An Event, or what is left of it, is not what its leaf commits to."""
