"""The index of a store: columns of its Events in Parquet, made again from the segments whenever that is wanted."""
