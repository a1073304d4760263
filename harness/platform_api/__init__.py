"""The service's Platform API: what its operators see, and can end. Plain blocking HTTP."""
