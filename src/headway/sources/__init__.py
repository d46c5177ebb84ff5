"""Sources: CSV, JSON Lines, Parquet, SQL, iterables → batches of rows; and the mapping of their columns."""

from headway.sources.files import refuse_changed
from headway.sources.mapping import Mapping
from headway.sources.model import BadLine, Batch, MappedRow, Source, SourceRow
from headway.sources.opening import open_source as open  # noqa: A004  # `sources.open(…)` reads as it should

__all__ = ["BadLine", "Batch", "MappedRow", "Mapping", "Source", "SourceRow", "open", "refuse_changed"]
