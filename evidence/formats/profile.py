"""The BagIt profile that every bundle keeps to (BagIt Profiles 1.4.0): published under docs/, shipped in each bag."""

from pathlib import Path

NAME = "bagit-profile.json"
IDENTIFIER = "urn:uuid:5f7f4377-58c1-5316-ac4a-c6a97de8b099"
FILE = Path(__file__).parent / "bagit-profile-v2.json"


def text() -> bytes:
    """The profile's bytes."""
    return FILE.read_bytes()
