"""The spot exchange: pure, driven by calls, telling events; no network in here."""
