"""
Make a small certificate authority, and certificates for the server and for those who send to it.

Keys are ECDSA on P-256, which every kube-apiserver accepts. One authority signs both sides: the server's certificate is
good for servers only, a client's for clients only, so neither can pass for the other.
"""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
LEAF_DAYS = 397
_SKEW = dt.timedelta(hours=1)  # clocks of a control plane may be a little behind ours


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as PEM."""

    certificate: bytes
    key: bytes


def make_ca(name: str, now: dt.datetime, days: int = CA_DAYS) -> Pair:
    """Make an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = (
        _builder(subject, subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def make_server(ca: Pair, names: Sequence[str], now: dt.datetime, days: int = LEAF_DAYS) -> Pair:
    """Make the certificate of a server that is reached under these names or addresses."""
    alternatives = [_alternative(name) for name in names]
    return _leaf(ca, names[0], ExtendedKeyUsageOID.SERVER_AUTH, alternatives, now, days)


def make_client(ca: Pair, name: str, now: dt.datetime, days: int = LEAF_DAYS) -> Pair:
    """Make the certificate of a client with this common name."""
    return _leaf(ca, name, ExtendedKeyUsageOID.CLIENT_AUTH, [], now, days)


def expires(certificate: bytes) -> dt.datetime:
    """Say when a certificate ends. Raises ValueError."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def common_name(certificate: bytes) -> str:
    """Give the common name of a certificate's subject. Raises ValueError."""
    names = x509.load_pem_x509_certificate(certificate).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def names_of(certificate: bytes) -> list[str]:
    """Give the names and addresses that a server's certificate is good for. Raises ValueError."""
    try:
        found = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in found.value]


def _leaf(
    ca: Pair,
    name: str,
    purpose: x509.ObjectIdentifier,
    alternatives: Sequence[x509.GeneralName],
    now: dt.datetime,
    days: int,
) -> Pair:
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    issuer_key = serialization.load_pem_private_key(ca.key, None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the key of the authority is not ECDSA")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(name), issuer.subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
