"""What every command shares: options, output, progress. It knows no command and no lake."""
