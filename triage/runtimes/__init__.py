"""Where models run: a confined process that can be killed and replaced. process.py is our end, host.py the other."""
