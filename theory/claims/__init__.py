"""The claims: one file each, with an object ``CLAIM`` and its false variants ``FALSE``; there is no list to edit."""
