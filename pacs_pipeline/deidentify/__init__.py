"""Makes an instance publishable, or says why it is not: profile, single pass, pseudonyms, residue scan."""

from pacs_pipeline.deidentify.engine import CODE_VERSION, Deidentifier, Outcome
from pacs_pipeline.deidentify.keys import Keys
from pacs_pipeline.deidentify.profile import Profile, load_profile

__all__ = ["CODE_VERSION", "Deidentifier", "Keys", "Outcome", "Profile", "load_profile"]
