"""Run real clients and this server on virtual time, in memory."""
