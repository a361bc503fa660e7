"""How fast the engine of the room ``deidentify`` is and how much memory it takes, beside other tools."""
