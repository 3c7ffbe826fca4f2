"""Where the files of slides are: a folder, or a bucket with a cache on each machine."""
