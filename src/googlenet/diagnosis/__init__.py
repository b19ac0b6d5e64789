"""What is wrong with labelled images, and a clean copy."""
