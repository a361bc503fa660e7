"""One module per stage of a partition; composes the rooms. Plain functions, no Dagster."""
