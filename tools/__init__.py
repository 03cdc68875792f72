"""What builds and checks the house itself: generated pages, executed documentation, the wheel in a clean place."""
