"""Tests of the endpoint for a local МИС."""
