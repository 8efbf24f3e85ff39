"""Verifies one leaf with cryptography's X.509 verifier; refuses by a non-zero exit.

usage: verify.py ROOT LEAF EPOCH server NAME... | verify.py ROOT LEAF EPOCH client URI...
"""

import ipaddress
import sys
from datetime import datetime, timezone

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store


def subject(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def main(root, leaf, epoch, side, *names):
    with open(root, "rb") as file:
        store = Store([x509.load_pem_x509_certificate(file.read())])
    with open(leaf, "rb") as file:
        leaf = x509.load_pem_x509_certificate(file.read())
    now = datetime.fromtimestamp(int(epoch), timezone.utc).replace(tzinfo=None)
    builder = PolicyBuilder().store(store).time(now)
    assert names, "name what the leaf must stand for"
    if side == "server":
        for name in names:
            builder.build_server_verifier(subject(name)).verify(leaf, [])
    else:
        subjects = builder.build_client_verifier().verify(leaf, []).subjects
        found = [name.value for name in subjects]
        assert found == list(names), f"verified {found}, expected {names}"


main(*sys.argv[1:])
