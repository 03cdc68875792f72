"""Identities: HMAC of the canonical bytes, whichever way they are hashed."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.event.identity import USUAL_TYPE_META, canonical_bytes
from kubewitness.keep.store.dedupe import Window

_HEADS = st.sampled_from([
    b"", b"{", USUAL_TYPE_META, USUAL_TYPE_META[:-1], b'{"kind":"Event","apiVersion":"audit.k8s.io/v1beta1",',
    b'{"kind":"Event","apiVersion":"audit.k8s.io/",', b" " + USUAL_TYPE_META,
])  # fmt: skip


@given(key=st.binary(min_size=32, max_size=100), head=_HEADS, rest=st.binary(max_size=200))
def test_an_identity_is_the_hmac_of_canonical_bytes(key: bytes, head: bytes, rest: bytes) -> None:
    """As stores that were written before hold them; for keys of any length."""
    raw = head + rest
    assert Window(key).identity(raw) == hmac.digest(key, canonical_bytes(raw), "sha256")[:16]


def test_both_doors_give_one_identity() -> None:
    """A line of a log, and the item of a webhook body without its type."""
    window = Window(b"k" * 32)
    assert window.identity(USUAL_TYPE_META + b'"level":"Metadata"}') == window.identity(b'{"level":"Metadata"}')
    with pytest.raises(ValueError, match="31 bytes"):
        Window(b"k" * 31)
