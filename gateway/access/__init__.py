"""Who may do what on the control listener: identities, rights, logins, and the record of changes."""
