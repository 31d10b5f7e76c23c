"""What every process needs: settings, logs, lifecycle, ops endpoints, Redis, HTTP/2. No product noun."""
