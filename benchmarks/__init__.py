"""Programs that set the project beside simple baselines and print the tables that the docs quote."""
