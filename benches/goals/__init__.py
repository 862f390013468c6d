"""What the benches found against what is aimed at."""
