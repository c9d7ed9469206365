"""Routes of small classifier services, so that their clients work unchanged; served where gateway.classic says so."""
