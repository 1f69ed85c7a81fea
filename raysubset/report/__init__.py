"""From the files of a run to one offline page and a few plain rows; loads neither torch nor Ray."""
