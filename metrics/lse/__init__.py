"""LSE-C and LSE-D, lip-sync error by SyncNet, with and without face tracks (metrics.md 4)."""
