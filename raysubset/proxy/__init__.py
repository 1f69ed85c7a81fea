"""What training reveals about each sample, remembered: signals, memory, and a trial's stream of subsets."""
