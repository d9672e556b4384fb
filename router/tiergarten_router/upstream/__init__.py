"""Connections to llama-servers, the streams on them, and the probes of their health."""
