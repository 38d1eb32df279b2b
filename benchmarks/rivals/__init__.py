"""Other ways to get rid of a backdoor, for tables that compare: none of them is a command of the app."""
