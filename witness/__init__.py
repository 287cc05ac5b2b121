"""A witness for transparency logs (C2SP tlog-witness): see README.md. Needs Python and `cryptography`, nothing else."""
