"""What an investigator does: ask, notice, follow up, see."""
