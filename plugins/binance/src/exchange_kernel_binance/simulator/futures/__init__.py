"""The USD-M futures exchange: pure, driven by calls, telling events; no network in here."""
