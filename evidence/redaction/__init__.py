"""Redaction: regions proposed by models, confirmed by people, burned into a rendition of its own. See docs/redaction.md."""
