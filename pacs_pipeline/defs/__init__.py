"""Everything Dagster: assets, checks, schedules, sensors, jobs, resources."""
