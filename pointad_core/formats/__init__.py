"""Files with points as people have them, a module for each kind, and the one notion of a missing point."""
