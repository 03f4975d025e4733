"""What is set aside because it cannot be processed, and its way back.

Quarantine itself is a batch's work, with a reason as the draft and the failed folder as the archive:

    quarantine  what is set aside, and where it lies
    reason      the error.json beside it
    wayback     the way back into its inbox
    crossing    that way from another file system
"""
