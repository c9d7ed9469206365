"""Tools that build, measure and attack Sluice: local servers, a throwaway cluster, benchmarks, storms."""
