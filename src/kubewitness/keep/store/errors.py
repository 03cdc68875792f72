"""What can be wrong with a store."""


class StoreError(Exception):
    """Base of everything that a store can refuse."""


class DamagedError(StoreError):
    """Something that was stored is not there, or is not what was stored; nothing may be appended over it."""


class UnavailableError(StoreError):
    """The disk would not take it now. Nothing was acknowledged; the same may be tried again."""


class BrokenIndexError(StoreError):
    """The index of a log cannot be read. It can be made again from the segments."""


class NoKeyError(StoreError):
    """Heads of a log were signed, and no key that signs them is where its keys are looked for."""


class LockedError(StoreError):
    """Another process writes to this store."""
