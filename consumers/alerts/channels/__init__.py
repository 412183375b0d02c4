"""The ways that alerts take: Slack, e-mail, and signed webhooks."""
