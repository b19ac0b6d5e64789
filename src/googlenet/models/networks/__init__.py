"""The networks as data: files of declarations only."""
