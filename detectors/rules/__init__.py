"""One detector a file; nothing else has to be edited to add one."""
