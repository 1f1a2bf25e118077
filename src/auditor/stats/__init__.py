"""Estimators: counts in, numbers out. Nothing here knows of episodes or audits."""
