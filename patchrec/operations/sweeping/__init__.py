"""Many runs from one file: what it may say, what it comes to, and the work shared between processes."""
