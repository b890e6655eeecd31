"""What the program tells the shell."""

SUCCESS = 0
OUR_FAULT = 1
"""A fault of the program, or too little memory."""

USERS_MISTAKE = 2
"""Something asked for cannot be done as asked; also what argparse uses."""

INTERRUPTED = 130
"""What shells report for a program ended by Ctrl-C."""
