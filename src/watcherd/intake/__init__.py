"""From a folder to admitted jobs: events are hints, scans are truth, and one gate for completeness."""
