"""Real servers for tests: started when a test first asks, gone when the session ends."""
