"""Files that outlive a job: stores, prompts, checksums, fingerprints; and what a job has around it."""
