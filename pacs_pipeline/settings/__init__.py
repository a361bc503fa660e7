"""One model of ``pacs_pipeline.yaml`` plus the environment. Nothing is read at import.

Precedence: environment (``PACS_PIPELINE_…``, nested keys joined by ``__``), then the file, then defaults.
Secrets come only from the environment or from files it names.
"""

from pacs_pipeline.settings.access import AccessSettings, Window
from pacs_pipeline.settings.connection import (
    DicomwebSettings,
    FolderSettings,
    PacsSettings,
    ReceiverSettings,
    S3PrefixSettings,
    TlsSettings,
    UserIdentitySettings,
)
from pacs_pipeline.settings.load import (
    CONFIG_VARIABLE,
    DEFAULT_CONFIG,
    is_configured,
    load_settings,
    settings_from_text,
)
from pacs_pipeline.settings.project import (
    MINIMUM_SECRET_BYTES,
    SECRET_FILE_VARIABLE,
    SECRET_VARIABLE,
    BucketSettings,
    ComputeSettings,
    DeidentifySettings,
    Settings,
    WarehouseSettings,
    ZoneSettings,
    secret_from_environment,
)
from pacs_pipeline.settings.site import CensusSettings, FilterSettings, SiteSettings

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_CONFIG",
    "MINIMUM_SECRET_BYTES",
    "SECRET_FILE_VARIABLE",
    "SECRET_VARIABLE",
    "AccessSettings",
    "BucketSettings",
    "CensusSettings",
    "ComputeSettings",
    "DeidentifySettings",
    "DicomwebSettings",
    "FilterSettings",
    "FolderSettings",
    "PacsSettings",
    "ReceiverSettings",
    "S3PrefixSettings",
    "Settings",
    "SiteSettings",
    "TlsSettings",
    "UserIdentitySettings",
    "WarehouseSettings",
    "Window",
    "ZoneSettings",
    "is_configured",
    "load_settings",
    "secret_from_environment",
    "settings_from_text",
]
