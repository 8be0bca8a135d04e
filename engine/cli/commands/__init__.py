"""The commands of the command line, one file each; `console`, `inputs` and `display` serve them."""
