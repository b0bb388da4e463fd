"""Run-time changes to other packages, and every use of their private names; docs/design/patches.md lists them."""
