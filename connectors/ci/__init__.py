"""Logs that lie behind the API of a CI system: GitHub Actions, GitLab and Jenkins."""
