CREATE TABLE IF NOT EXISTS schema_version (
    version    INTEGER     NOT NULL PRIMARY KEY,
    name       VARCHAR     NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE schema_version IS 'Migrations that were applied to this database.';
COMMENT ON COLUMN schema_version.version IS 'Number of the migration.';
COMMENT ON COLUMN schema_version.name IS 'Name of the migration.';
COMMENT ON COLUMN schema_version.applied_at IS 'When it was applied.';
