"""How fast instances come out of an archive, beside DCMTK, and how much memory they take."""
