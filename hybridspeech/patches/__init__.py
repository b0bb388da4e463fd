"""Every change to another package that is made at run time, one file a package."""
