SELECT SOPInstanceUID, sha256 FROM instance WHERE partition_id = $partition_id;
