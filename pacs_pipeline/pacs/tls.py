"""TLS for DICOM connections by the non-downgrading BCP 195 profile (PS3.15 B.9), and its failures in words."""

from __future__ import annotations

import ssl
from pathlib import Path

from pacs_pipeline.errors import Permanent, PipelineError, SettingsError, Transient
from pacs_pipeline.pacs.endpoint import Endpoint
from pacs_pipeline.settings import TlsSettings

_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all of this kind
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_EXPIRED, _NOT_YET_VALID = 10, 9  # X509_V_ERR_…
_OTHER_NAME = frozenset({62, 64})  # a host name, an address
_PLAIN = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "RECORD_LAYER_FAILURE"})


def client_context(tls: TlsSettings, of: str) -> ssl.SSLContext:
    """For connections that we open: the peer's certificate must be signed by ``ca`` and bear its name.

    ``of`` names the section of the settings for messages. Raises SettingsError for files that cannot be used.
    """
    return _context(tls, ssl.PROTOCOL_TLS_CLIENT, of)


def server_context(tls: TlsSettings, of: str) -> ssl.SSLContext:
    """For connections that others open: nobody comes in without a certificate signed by ``ca``.

    Raises SettingsError.
    """
    if tls.certificate is None:
        raise SettingsError(
            f"{of} has no certificate", fix="who listens over TLS needs one: add certificate and key, or remove tls"
        )
    context = _context(tls, ssl.PROTOCOL_TLS_SERVER, of)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(tls: TlsSettings, protocol: int, of: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = _VERSIONS[tls.minimum]
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # what stands in the file is trusted, also an intermediate or the peer's own certificate
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cafile=tls.ca)
    except OSError as error:
        raise _unusable(of, "ca", tls.ca, error) from error
    if tls.certificate is not None:
        password = _password(tls, of)
        try:
            context.load_cert_chain(tls.certificate, tls.key, lambda: password)  # without one OpenSSL would ask
        except OSError as error:
            raise _unusable(of, "certificate, key or key_password_file", tls.certificate, error) from error
    return context


def _password(tls: TlsSettings, of: str) -> str:
    if tls.key_password_file is None:
        return ""
    try:
        return tls.key_password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(of, "key_password_file", tls.key_password_file, error) from error


def _unusable(of: str, key: str, path: Path, error: Exception) -> SettingsError:
    reason = getattr(error, "strerror", None) if not isinstance(error, ssl.SSLError) else error.reason
    return SettingsError(
        f"{of}: {path} cannot be used ({reason or type(error).__name__})",
        fix=f"correct {key}: PEM files that this program's user can read, the key with the certificate's own",
    )


def failure(endpoint: Endpoint, error: BaseException | None) -> PipelineError:
    """Why a connection over TLS did not come about, or ended before the association was granted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _mistrusted(endpoint, error)
    if isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError):  # it hung up, or was silent
        return Transient(
            f"{endpoint.where} ended the TLS connection without a reason",
            fix="check that this port speaks TLS and that the PACS trusts the certificate in pacs.tls; the run may be "
            "retried",
        )
    reason = error.reason or ""
    if reason in _PLAIN:
        return Permanent(
            f"{endpoint.where} does not speak TLS on this port",
            fix="correct the site's pacs.port to the TLS port (often 2762), or remove pacs.tls",
        )
    return Permanent(
        f"{endpoint.where} refused the TLS connection ({reason.replace('_', ' ').lower() or 'no reason given'})",
        fix="ask the PACS team for TLS 1.2 or newer with the BCP 195 profile, and to trust the certificate in the "
        "site's pacs.tls",
    )


def _mistrusted(endpoint: Endpoint, error: ssl.SSLCertVerificationError) -> PipelineError:
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        what, fix = "has expired or is not valid yet", "ask the PACS team to renew it, and check this machine's clock"
    elif error.verify_code in _OTHER_NAME:
        what = "bears another name"
        fix = "set the site's pacs.tls.server_name to the name in the PACS's certificate"
    else:
        what = f"is not trusted ({error.verify_message})"
        fix = "ask the PACS team who signed it, and set the site's pacs.tls.ca to that certificate"
    return Permanent(f"the certificate of {endpoint.where} {what}", fix=fix)
