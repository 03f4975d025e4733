"""What it takes to install the systemd service, and to take it away again (pure).

The command finds out what is there, asks for the steps, tells them and does them.

    plan        the steps, by what is there
    unit_files  what each file of an installation holds
    places      where a machine, or a user, keeps what belongs to a service
    reach       what the service could not reach, refused before anything is written
"""
