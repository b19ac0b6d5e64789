"""What is wrong with labelled pictures, and a clean copy of them. Imports inference, data and below; never torch."""
