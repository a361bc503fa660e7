"""Makes an instance publishable, or says why it is not: profile, single pass, pseudonyms, residue scan."""

from pacs_pipeline.deidentify.engine import Deidentifier, code_version
from pacs_pipeline.deidentify.folder import Summary, deidentify_folder
from pacs_pipeline.deidentify.identity import IdentityRule, load_identity
from pacs_pipeline.deidentify.keys import Keys
from pacs_pipeline.deidentify.outcome import Outcome
from pacs_pipeline.deidentify.profile import Profile, load_profile
from pacs_pipeline.deidentify.released_documents import DocumentReleases, load_releases

__all__ = [
    "Deidentifier",
    "DocumentReleases",
    "IdentityRule",
    "Keys",
    "Outcome",
    "Profile",
    "Summary",
    "code_version",
    "deidentify_folder",
    "load_identity",
    "load_profile",
    "load_releases",
]
