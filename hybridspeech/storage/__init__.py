"""Where locations are opened, listed, locked and written: no other package renames, locks or publishes a file of one."""
