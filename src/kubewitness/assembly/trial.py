"""A server to try out: one cluster, loopback, certificates made beside the data, nothing to configure."""

import dataclasses
from pathlib import Path

from kubewitness.assembly.config import Config, read_config
from kubewitness.assembly.initserver import init_server

CLUSTER = "main"
SERVER = "server"


def trial_config(data: Path, address: tuple[str, int]) -> Config:
    """Make certificates in `<data>.server` if there are none, and give a configuration. Raises OSError, ConfigError."""
    place = data.parent / f"{data.name}.{SERVER}"
    host = "127.0.0.1" if address[0] == "::" else address[0]
    init_server(place, [CLUSTER], [host, "localhost"], data=str(data.absolute()), port=address[1])
    config = read_config(place / "kubewitness.yaml")
    any_port = ("127.0.0.1", 0)
    return dataclasses.replace(
        config, data=data, keys=data.parent / f"{data.name}.keys", events=[address], operate=any_port, tiles=any_port
    )
