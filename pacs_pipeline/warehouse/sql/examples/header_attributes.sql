-- Any retained attribute, straight from the header: tube voltage and slice thickness by scanner
-- (the parentheses matter: ->> binds more loosely than the comparison after it)
SELECT
    ManufacturerModelName,
    Modality,
    (header->>'KVP')                                       AS KVP,
    min(TRY_CAST((header->>'SliceThickness') AS DOUBLE))   AS thinnest_slice_mm,
    max(TRY_CAST((header->>'SliceThickness') AS DOUBLE))   AS thickest_slice_mm,
    count(*)                                               AS instances
FROM instance
WHERE (header->>'KVP') IS NOT NULL OR (header->>'SliceThickness') IS NOT NULL
GROUP BY ALL
ORDER BY instances DESC, ManufacturerModelName, Modality, KVP
LIMIT 20;
