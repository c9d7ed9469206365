"""What builds, measures and attacks Sluice: servers of one machine, a throwaway cluster, benchmarks, storms."""
