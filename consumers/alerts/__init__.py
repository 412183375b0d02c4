"""The role that tells people what needs them: from what is watched to messages in channels."""
