"""CLIP: the towers with V-V attention and learnable prompts, and how its weights are loaded (Sec. 3.4)."""
