"""Makes an instance publishable, or says why it is not: profile, single pass, pseudonyms, residue scan."""
