"""Where snapshots come from: each module that yields them is a source, the rest are its parts."""
