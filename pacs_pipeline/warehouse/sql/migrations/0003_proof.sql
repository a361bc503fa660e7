-- What was done to each instance, and that it was searched. Rows of before have none of it until they are published again.

ALTER TABLE instance ADD COLUMN actions JSON;
ALTER TABLE instance ADD COLUMN regions_redacted BIGINT;
ALTER TABLE instance ADD COLUMN residue_scan VARCHAR;
ALTER TABLE instance ADD COLUMN identifiers_sought BIGINT;

COMMENT ON COLUMN instance.actions IS 'How often each action of PS3.15 E.1 was applied, by letter (R: regions of pixels): (actions->>''X'')::INT.';
COMMENT ON COLUMN instance.regions_redacted IS 'Regions of pixels that were blanked.';
COMMENT ON COLUMN instance.residue_scan IS 'clean: the written file was searched for the identifiers of its original, and none was found.';
COMMENT ON COLUMN instance.identifiers_sought IS 'How many identifiers of the original the residue scan searched for.';
