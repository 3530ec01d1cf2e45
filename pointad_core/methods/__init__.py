"""The systems of the tables, a module for each, and what they are made of (Sec. 3.4 to 3.6)."""
