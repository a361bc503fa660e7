"""One DICOMweb service as one site sees it: the plain facts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pacs_pipeline.errors import SettingsError
from pacs_pipeline.settings import SiteSettings


@dataclass(frozen=True, slots=True)
class Service:
    """Where a service is and who we are to it. ``timeout`` is the longest silence that is waited for, in seconds."""

    site: str
    url: str
    timeout: float = 60.0
    username: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    ca_bundle: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, site: SiteSettings) -> Service:
        """The service that the settings of a site describe. Raises SettingsError for one that cannot be used."""
        if site.dicomweb is None:
            raise SettingsError(f"site {site.name} has no DICOMweb service", fix="add the section dicomweb to the site")
        try:
            parts = urlsplit(site.dicomweb.url)
            usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable or "@" in parts.netloc:
            raise SettingsError(
                f"site {site.name}: dicomweb.url is no address of a service",
                fix="write it like https://pacs.example.org/dicom-web, and a password into a file of its own",
            )
        return cls(
            site=site.name,
            url=site.dicomweb.url.rstrip("/"),
            timeout=site.timeout_seconds,
            username=site.dicomweb.username,
            password_file=site.dicomweb.password_file,
            token_file=site.dicomweb.token_file,
            ca_bundle=site.dicomweb.ca_bundle,
            certificate=site.dicomweb.certificate,
            key=site.dicomweb.key,
        )

    @property
    def where(self) -> str:
        """The service in words, for messages."""
        return f"the DICOMweb service of {self.site} ({self.url})"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: whom credentials are for."""
        return origin_of(self.url)


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address (RFC 6454 4). Raises ValueError when it is none."""
    parts = urlsplit(url)
    port = {"http": 80, "https": 443}.get(parts.scheme, 0) if parts.port is None else parts.port
    return parts.scheme.lower(), (parts.hostname or "").lower(), port
