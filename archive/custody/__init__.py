"""The custody log. Entry points: write, change, erase, record, Batch, sequence, publish, verify."""

from archive.custody.actor import Actor, is_unattended, unattended
from archive.custody.log import Private, change, erase, record, write

__all__ = ["Actor", "Private", "change", "erase", "is_unattended", "record", "unattended", "write"]
