"""From outcomes to durable results, retired inputs and quarantine."""
