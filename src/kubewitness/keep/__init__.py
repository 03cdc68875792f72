"""What the log server does: Events arrive, stay, and show tampering."""
