"""Tests of what is generated, against real API servers and the real Helm."""
