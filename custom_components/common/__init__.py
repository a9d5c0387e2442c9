"""What every room may use: errors, messages, stopping, processes, weights."""
