"""How a site is reached: the ways to an archive, and the receiver that archives send to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pacs_pipeline.settings.section import AETitle, Port, Section


class TlsSettings(Section):
    """TLS for DICOM connections by the BCP 195 profile (PS3.15 B.9): 1.2 or newer, both sides with certificates."""

    ca: Path  # who signs the certificates of the peers that are trusted, PEM
    certificate: Path | None = None  # ours, PEM
    key: Path | None = None
    key_password_file: Path | None = None
    server_name: str = ""  # the name in the PACS's certificate, where it is not the host
    minimum: Literal["1.2", "1.3"] = "1.2"

    @model_validator(mode="after")
    def _pair(self) -> TlsSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class UserIdentitySettings(Section):
    """User identity of the association (PS3.7 D.3.3.7): a name, alone or with a passcode from a file."""

    username: Annotated[str, Field(min_length=1, max_length=256)]
    passcode_file: Path | None = None


class PacsSettings(Section):
    """Where the PACS of a site listens."""

    host: str
    port: Port
    ae_title: AETitle
    tls: TlsSettings | None = None
    user_identity: UserIdentitySettings | None = None


class DicomwebSettings(Section):
    """A DICOMweb service (PS3.18): QIDO-RS and WADO-RS below one address."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")]
    username: str = ""  # with password_file: HTTP basic authentication
    password_file: Path | None = None
    token_file: Path | None = None  # bearer authentication; read again when the service refuses it
    ca_bundle: Path | None = None
    certificate: Path | None = None  # ours, PEM, for mutual TLS
    key: Path | None = None

    @model_validator(mode="after")
    def _one_way(self) -> DicomwebSettings:
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("username and password_file go together")
        if self.username and self.token_file is not None:
            raise ValueError("choose one of username (basic) and token_file (bearer)")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class FolderSettings(Section):
    """A folder tree of DICOM files, such as an export."""

    path: Path


class S3PrefixSettings(Section):
    """The objects below a prefix of an S3 bucket, such as an export."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: str = ""
    endpoint_url: str | None = None
    region: str = "us-east-1"
    addressing_style: Literal["path", "virtual", "auto"] = "path"
    ca_bundle: Path | None = None
    access_key_file: Path | None = None
    secret_key_file: Path | None = None


class ReceiverSettings(Section):
    """Our Storage SCP, which a C-MOVE or whoever pushes sends to; peers must know its AE title, host and port."""

    ae_title: AETitle
    port: Port
    bind: str = "0.0.0.0"  # noqa: S104 - the PACS must reach it; narrow it per site
    allowed_ae_titles: tuple[AETitle, ...] = ()  # who may send; empty: anyone who knows our title
    tls: TlsSettings | None = None
    maximum_associations: Annotated[int, Field(ge=1, le=256)] = 10
    maximum_associations_per_peer: Annotated[int, Field(ge=1, le=256)] = 10
