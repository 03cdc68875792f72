"""RFC 9162 section 2.1 as written: recursive, slow, over the list of all entries."""

import hashlib


def mth(entries):
    """MTH of section 2.1.1."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = largest_power_of_two_below(len(entries))
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m, entries):
    """PATH of section 2.1.3.1."""
    if len(entries) == 1:
        return []
    k = largest_power_of_two_below(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def proof(m, entries):
    """PROOF of section 2.1.4.1."""
    return subproof(m, entries, known=True)


def subproof(m, entries, *, known):
    """SUBPROOF of section 2.1.4.1."""
    if m == len(entries):
        return [] if known else [mth(entries)]
    k = largest_power_of_two_below(len(entries))
    if m <= k:
        return [*subproof(m, entries[:k], known=known), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], known=False), mth(entries[:k])]


def largest_power_of_two_below(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k
