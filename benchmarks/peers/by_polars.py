"""Polars, lazily and streaming, with the columns that the question needs: `by_polars.py QUESTION LOG`."""

import sys

import polars as pl

TEXT = pl.String
SCHEMA = pl.Schema(
    {
        "verb": TEXT,
        "user": pl.Struct({"username": TEXT}),
        "objectRef": pl.Struct({"resource": TEXT, "namespace": TEXT, "name": TEXT}),
        "responseStatus": pl.Struct({"code": pl.Int64}),
        "requestReceivedTimestamp": TEXT,
    }
)
USED = {
    "T1": ("verb", "user", "objectRef", "requestReceivedTimestamp"),
    "T2": ("verb", "user", "objectRef"),
    "T4": ("user", "responseStatus"),
}


def main() -> None:
    """Print the answer as tab-separated lines."""
    question, path = sys.argv[1:]
    log = pl.scan_ndjson(path, schema=pl.Schema({name: SCHEMA[name] for name in USED[question]}))
    user = pl.col("user").struct.field("username")
    ref = pl.col("objectRef").struct
    if question == "T1":
        found = log.filter((ref.field("resource") == "secrets") & (pl.col("verb") == "get"))
        out = found.select(user, ref.field("name"), ref.field("namespace"), "requestReceivedTimestamp")
    elif question == "T2":
        out = log.group_by(user, "verb", ref.field("resource")).len()
    else:
        out = log.filter(pl.col("responseStatus").struct.field("code") >= 400).group_by(user).len()
    sys.stdout.write(out.collect(engine="streaming").write_csv(separator="\t", include_header=False))


if __name__ == "__main__":
    main()
