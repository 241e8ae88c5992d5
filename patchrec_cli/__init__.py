"""The command line: parse, call one operation, print. All knowledge of terminals is here, none of recommending."""
