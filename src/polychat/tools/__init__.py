"""What turns other programs' files into ours."""
