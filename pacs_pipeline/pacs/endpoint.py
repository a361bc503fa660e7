"""Who talks to whom: the plain facts of one PACS connection, whatever the protocol."""

from __future__ import annotations

from dataclasses import dataclass

from pacs_pipeline.errors import SettingsError
from pacs_pipeline.settings import SiteSettings, TlsSettings, UserIdentitySettings


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One PACS as one site sees it. ``timeout`` is the longest silence that is waited for, in seconds."""

    site: str
    host: str
    port: int
    ae_title: str  # the PACS's own, "called"
    calling_ae_title: str  # ours
    timeout: float = 60.0
    tls: TlsSettings | None = None
    user_identity: UserIdentitySettings | None = None

    @classmethod
    def of(cls, site: SiteSettings) -> Endpoint:
        """The endpoint that the settings of a site describe. Raises SettingsError for a site without a PACS."""
        if site.pacs is None:
            raise SettingsError(f"site {site.name} has no PACS to talk to", fix="add the section pacs to the site")
        return cls(
            site=site.name,
            host=site.pacs.host,
            port=site.pacs.port,
            ae_title=site.pacs.ae_title,
            calling_ae_title=site.ae_title,
            timeout=site.timeout_seconds,
            tls=site.pacs.tls,
            user_identity=site.pacs.user_identity,
        )

    @property
    def where(self) -> str:
        """The PACS in words, for messages."""
        return f"the PACS of {self.site} ({self.ae_title} at {self.host}:{self.port})"
