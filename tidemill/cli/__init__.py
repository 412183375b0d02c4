"""The command line: one module a command, registered in `tidemill.cli.main`."""
