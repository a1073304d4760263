"""Objectives and the gate that judges them: pure, on figures shaped like ``run.json``."""
