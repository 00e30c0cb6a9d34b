"""One file for each command; `main(args)` takes the arguments behind the command's name and may return an exit code."""
