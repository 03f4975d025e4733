"""From jobs to outcomes: one bounded queue and one lane of workers for each kind."""
