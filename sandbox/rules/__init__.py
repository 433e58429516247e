"""What each provider refuses: the rules written out, and the official descriptions as a second opinion."""
