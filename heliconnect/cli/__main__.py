"""`python -m heliconnect.cli` is the `heliconnect` command."""

from heliconnect.cli import main

main()
