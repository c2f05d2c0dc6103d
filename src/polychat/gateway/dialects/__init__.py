"""The APIs that clients speak, a folder each: what a dialect makes of a request, and how it describes itself."""
