"""Editing methods, one paper a file. Found by their entry points, as a stranger's are."""
